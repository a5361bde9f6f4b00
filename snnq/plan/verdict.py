"""Whether a plan is worth its search: it against every simple plan that costs no more."""

from __future__ import annotations

from snnq.plan.plan import Plan
from snnq.plan.records import Baseline
from snnq.schemes.names import FLOAT32

_ROUNDING = 1e-9


def rivals(plan: Plan) -> tuple[Baseline, ...]:
    """Return the measured plans that cost no more, best validation loss first.

    No more means: within the budget the search was given, or else no more storage and no more energy than this plan.
    """
    budget = plan.search.budget if plan.search and plan.search.budget else None
    limits = budget or {key: getattr(plan.totals, key) for key in ("avg_bits", "energy_fraction")}
    whole = plan.totals.energy_pj / plan.totals.energy_fraction if plan.totals.energy_fraction else 0.0

    def keeps(one: Baseline) -> bool:
        costs = {
            "avg_bits": one.avg_bits,
            "storage_fraction": one.storage_fraction,
            "storage_bits": one.avg_bits * plan.totals.weights,
            "energy_fraction": one.energy_fraction,
            "energy_pj": one.energy_fraction * whole,
        }
        return all(costs[key] <= limit * (1 + _ROUNDING) for key, limit in limits.items())

    found = [b for b in plan.baselines if b.scheme != FLOAT32 and b.validation_loss is not None and keeps(b)]
    return tuple(sorted(found, key=lambda b: b.validation_loss or 0.0))


def verdict(plan: Plan) -> str | None:
    """Return one sentence: the plan beats every simple plan of no greater cost, or which one wins; None if unmeasured.

    Judged by the loss on the validation split before finetuning, all plans with the same weights.
    """
    if plan.search is None or plan.search.validation_loss is None:
        return None
    cheaper = rivals(plan)
    if not cheaper:
        return "No simple plan that was scored costs as little as this one."
    best, own = cheaper[0], plan.search
    numbers = f"validation loss {own.validation_loss:.4f}, {best.scheme} {best.validation_loss:.4f}"
    if best.schemes is not None and best.schemes == plan.schemes():
        rest = f" ({len(cheaper) - 1} other plans of no greater cost were scored)" if len(cheaper) > 1 else ""
        return f"The {best.scheme} plan is this very plan{rest}."
    if (best.validation_loss or 0.0) < (own.validation_loss or 0.0):
        return f"The {best.scheme} plan wins: it costs no more and scores better before finetuning ({numbers})."
    return f"Better than every simple plan of no greater cost, before finetuning ({numbers}, the next best)."
