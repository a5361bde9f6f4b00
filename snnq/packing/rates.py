"""What the codes of rated layers have come to: the plan that is packed says the bits they take, not those hoped for."""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Mapping

from snnq.packed.coding import Coded
from snnq.packed.numbers import coded_bits
from snnq.plan import Plan
from snnq.schemes.scheme import rated, scheme

_log = logging.getLogger(__name__)


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


def say_above(asked: Plan, taken: Plan) -> None:
    """Warn where the rated layers of a plan together take more bits than it asks for: without training they may."""
    due, bits = ({layer.name: layer.bits for layer in plan.layers} for plan in (asked, taken))
    names = [layer.name for layer in asked.layers if scheme(layer.scheme).rate is not None]
    more, less = (math.fsum(of[name] for name in names) for of in (bits, due))
    if more > less * 1.001:
        weights = sum(layer.weights for layer in asked.layer_table() if layer.name in names)
        _log.warning(
            "the codes of rated layers take %.3g bits a weight, the plan asks for %.3g: no rate was trained; "
            "snnq finalize --plan PLAN --start FOLDER trains it",
            more / weights,
            less / weights,
        )
