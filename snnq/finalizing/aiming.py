"""What a plan and settings ask of the codes: which layers are trained to a rate, and how far."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection

from snnq.base.errors import BudgetError, PlanError
from snnq.finalizing.budget import limits_of
from snnq.finalizing.settings import FinalizeSettings
from snnq.packed.numbers import coded_bits
from snnq.plan import Plan
from snnq.schemes.scheme import RATE_DECIMALS, scheme
from snnq.training.rate import Aim

# The entropy that grids begin with, over the target: contexts code in less, and the price only takes away.
FINER = 1.06


def aim_of(plan: Plan, settings: FinalizeSettings, rest: Callable[[Collection[str]], float]) -> Aim:
    """Return what a plan and settings ask of the codes.

    The rated layers are those whose scheme names a rate; without any, with a price or a budget, all that have a level
    at zero. ``rest`` gives the bits of the file that are not the codes of these layers, where the file is limited.

    Raises PlanError for a price or budget without such a layer, BudgetError where all else exceeds the budget alone.
    """
    entries = {layer.name: layer for layer in plan.layers}
    zeroed = {name: one for name, entry in entries.items() if (one := scheme(entry.scheme)).format.around_zero}
    named = {name: one for name, one in zeroed.items() if one.rate is not None}
    asked = settings.rate is not None or bool(settings.budget)
    rated = named or (zeroed if asked else {})
    weights = plan.totals.weights
    if settings.hold_rates and not named:
        raise PlanError("--hold-rates: no layer's scheme names a rate", "give layers one, such as uniform-4@1")
    if not rated:
        if asked:
            raise PlanError("no layer of the plan has a level at zero: there is no rate to train", "give one uniform-4")
        return Aim({}, weights)
    if settings.rate is not None:
        return Aim(rated, weights, price=settings.rate, coder=coded_bits)
    limits = limits_of(plan, settings.budget, rated)
    count = sum(math.prod(entries[name].shape) for name in rated)
    target = limits.plan - math.fsum(entry.storage_bits for name, entry in entries.items() if name not in rated)
    target -= count / 10**RATE_DECIMALS  # a rate is rounded up where it is written
    target = min(target, limits.codes - count / 10**RATE_DECIMALS)
    if limits.file < math.inf:
        target = min(target, limits.file - rest(rated))
    if target <= 0:
        raise BudgetError(
            f"the budget is kept by no codes: all else takes {-target / weights:.3f} bits a weight more than it allows",
            "allow more bits, or give the layers that are trained to no rate other schemes",
        )
    return Aim(rated, weights, target=target, first=FINER * target / count, coder=coded_bits, each=settings.hold_rates)
