"""Budgets of finetuning: bits a weight by the plan, the size of the file that is written, or expected event energy.

What a budget limits is computed of what is packed, never of what was hoped for: ``Limits.excess``. Event energy is that
of the codes' rates with the float model's activity; what the packed model's makes of it is measured in the end.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from torch import nn

from snnq.base.errors import BudgetError, UsageError, nearest
from snnq.cost.quantities import EVENT_ENERGY
from snnq.packed.coding import Coded
from snnq.packing.finish import model_bytes
from snnq.plan import Plan
from snnq.plan.costing import event_limit
from snnq.schemes.scheme import rated, scheme
from snnq.training.job import Job

# What a limit is called, and how many bits one of it is for so many weights.
BUDGETS = {"avg_bits": lambda weights: weights, "file_bits": lambda weights: weights, "file_kib": lambda _: 8192}
# Limits on event energy: their keys, factors and signs.
EVENTS = {EVENT_ENERGY.name.replace("-", "_"): (EVENT_ENERGY.fraction, 0.01, "%")} | {
    name.replace("-", "_"): (EVENT_ENERGY.key, factor, "") for name, factor in EVENT_ENERGY.limits.items()
}


# The least rate that codes may be asked for, in bits a weight.
LEAST_RATE = 0.02


@dataclass(frozen=True)
class Limits:
    """Most bits of the plan, and most bits of model.safetensors; infinite where nothing is asked.

    ``events``: most event energy in pJ, which ``codes`` bits of the rated layers keep, each bit being ``bit_pj``.
    """

    plan: float = math.inf
    file: float = math.inf
    events: float = math.inf
    codes: float = math.inf
    bit_pj: float = 1.0

    def excess(self, folded: nn.Module, coded: Mapping[str, Coded], plan: Plan, job: Job) -> float:
        """Return by how many bits a finished model is above its limits, negative where it keeps them."""
        over = plan.totals.storage_bits - self.plan
        if self.events < math.inf:
            over = max(over, (getattr(plan.totals, EVENT_ENERGY.key) - self.events) / self.bit_pj)
        return over if self.file == math.inf else max(over, 8 * len(model_bytes(folded, coded, plan, job)) - self.file)


def limits_of(plan: Plan, budget: Mapping[str, float], codes: Collection[str]) -> Limits:
    """Return the limits of a budget in bits; without one, those of the plan itself. ``codes``: the rated layers.

    Raises BudgetError where no codes keep the event energy.
    """
    weights = plan.totals.weights
    bits = {name: limit * BUDGETS[name](weights) for name, limit in budget.items() if name in BUDGETS}
    files = [most for name, most in bits.items() if name != "avg_bits"]
    found = Limits(bits.get("avg_bits", math.inf if budget else plan.totals.storage_bits), min(files, default=math.inf))
    limit = event_limit(plan.totals, budget)
    return found if limit is None else replace(found, **_event_limits(plan, codes, limit))


def _event_limits(plan: Plan, codes: Collection[str], limit: float) -> dict[str, float]:
    """Return what a limit on event energy in pJ is in bits of the rated layers, at one rate for all of them."""
    grids = {name: scheme(plan.schemes()[name]) for name in codes}
    counts = {layer.name: layer.layer().weights for layer in plan.layers}

    def energy(rate: float) -> float:
        one = plan.with_schemes({name: rated(grid.name, rate) for name, grid in grids.items()})
        return getattr(one.totals, EVENT_ENERGY.key)

    low, high = LEAST_RATE, max(grid.code_width for grid in grids.values())
    least, most, count = energy(low), energy(high), sum(counts[name] for name in codes)
    if least > limit:
        small, asked = EVENT_ENERGY.short(least), EVENT_ENERGY.short(limit)
        raise BudgetError(f"no codes keep an event energy of {asked}: all else takes {small}", "allow more energy")
    bit_pj = (most - least) / (count * (high - low))
    for _ in range(20 if most > limit else 0):
        middle = (low + high) / 2
        low, high = (low, middle) if energy(middle) > limit else (middle, high)
    return {"events": limit, "codes": count * (low if most > limit else high), "bit_pj": bit_pj}


def parse_budget(words: Sequence[str]) -> dict[str, float]:
    """Return limits by name of words such as ``file-bits=1.0``; raises UsageError naming the first bad one."""
    limits: dict[str, float] = {}
    for word in ",".join(words).split(",") if words else ():
        name, sign, text = word.partition("=")
        typed, known = name.strip().replace("-", "_"), (*BUDGETS, *EVENTS)
        if typed not in known:
            allowed = ", ".join(one.replace("_", "-") for one in known)
            raise UsageError(f"--budget {word}: finetuning can keep {allowed}{nearest(typed, known)}")
        key, factor, unit = EVENTS.get(typed, (typed, 1.0, ""))
        if key in limits:
            raise UsageError(f"--budget {name} is given twice")
        try:
            limits[key] = float(text.strip().removesuffix(unit)) * factor if text.strip().endswith(unit) else math.nan
        except ValueError:
            limits[key] = math.nan
        if not (sign and 0 < limits[key] < math.inf):
            example = "8%" if unit else "1.0"
            raise UsageError(f"--budget {word}: a positive number is wanted, such as {name}={example}")
    return limits
