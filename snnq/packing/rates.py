"""What the codes of rated layers have come to: the plan that is packed says the bits they take, not those hoped for."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

from snnq.packed.coding import Coded
from snnq.packed.numbers import coded_bits
from snnq.plan import Plan
from snnq.schemes.scheme import rated, scheme


def realised(plan: Plan, coded: Mapping[str, Coded], names: Collection[str] = ()) -> tuple[Plan, dict[str, Coded]]:
    """Return the plan and the codes under the rates that the codes have; ``names`` are layers that get one besides."""
    named = {name for name, one in coded.items() if name in names or scheme(one.scheme).rate is not None}
    if not named:
        return plan, dict(coded)
    schemes = {name: rated(coded[name].scheme, bits) for name, bits in layer_rates(plan, coded, named).items()}
    found = {name: one._replace(scheme=schemes.get(name, one.scheme)) for name, one in coded.items()}
    return plan.with_schemes(schemes), found


def layer_rates(plan: Plan, coded: Mapping[str, Coded], names: Collection[str]) -> dict[str, float]:
    """Return the bits that a weight of each of these layers takes in a file, tables included."""
    shapes = {layer.name: layer.shape for layer in plan.layers}
    found = {}
    for name in names:
        codes = coded[name].codes.cpu().numpy()
        found[name] = coded_bits(codes, math.prod(shapes[name][2:])) / codes.size
    return found
