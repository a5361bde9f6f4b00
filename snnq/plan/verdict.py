"""Whether a plan is worth its search: it against every simple plan that costs no more, as far as the samples tell."""

from __future__ import annotations

from collections.abc import Sequence

from snnq.plan.measured import edited_layers
from snnq.plan.plan import Plan
from snnq.plan.records import Baseline
from snnq.schemes.names import FLOAT32

_ROUNDING = 1e-9


def rivals(plan: Plan) -> tuple[Baseline, ...]:
    """Return the measured plans that cost no more, best validation loss first; none in float32 everywhere.

    No more means: within the budget the search was given, or else no more of any quantity than this plan.
    """
    limits = _budget(plan) or {one.relative: getattr(plan.totals, one.relative) for one in plan.quantities}

    def keeps(rival: Baseline) -> bool:
        costs = _costs(rival, plan)
        return all(costs[key] <= limit * (1 + _ROUNDING) for key, limit in limits.items())

    others = [b for b in plan.baselines if set((b.schemes or {"": b.scheme}).values()) != {FLOAT32}]
    found = [b for b in others if b.validation_loss is not None and keeps(b)]
    return tuple(sorted(found, key=lambda b: b.validation_loss or 0.0))


def _costs(rival: Baseline, plan: Plan) -> dict[str, float]:
    """Return what a rival costs, by every key that a budget may limit: amounts are its fractions of float32's."""
    costs: dict[str, float] = {}
    for one in plan.quantities:
        fraction, own = getattr(rival, one.fraction), getattr(plan.totals, one.fraction)
        whole = getattr(plan.totals, one.key) / own if own else 0.0
        costs |= {key: getattr(rival, key) for key in one.ratios} | {one.key: fraction * whole}
    return costs


def winner(plan: Plan) -> Baseline | None:
    """Return the simple plan of no greater cost whose loss is lower beyond chance; None where there is none."""
    measured = [rival for rival in rivals(plan) if rival.difference is not None and rival.difference.loss is not None]
    return next((rival for rival in measured if rival.difference and rival.difference.lower_loss < 0), None)


def winning_plan(plan: Plan) -> tuple[str, Plan] | None:
    """Return the name of ``winner`` and the plan it is; None where no simple plan wins."""
    found = winner(plan)
    if found is None:
        return None
    schemes = found.schemes or dict.fromkeys(plan.schemes(), found.scheme)
    return found.scheme, plan.with_schemes(schemes)


def verdict(plan: Plan) -> str | None:
    """Return what the validation split shows of a plan beside the simple plans that cost no more; None if unmeasured.

    Judged by the loss before finetuning, all plans with the same weights, paired over the samples: better or worse is
    said only where the 95 % interval of the difference leaves out zero.
    """
    if plan.search is None or all(baseline.validation_loss is None for baseline in plan.baselines):
        return None
    if plan.search.validation_loss is None:
        return _unmeasured(plan)
    cheaper = rivals(plan)
    if not cheaper:
        return f"No simple plan that was scored {_fits(plan)}."
    same = [rival.scheme for rival in cheaper if rival.schemes is not None and rival.schemes == plan.schemes()]
    others = [rival for rival in cheaper if rival.scheme not in same]
    said = [f"The {name} plan is this very plan." for name in same]
    return " ".join([*said, *([_judged(plan, others)] if others else [])])


def _judged(plan: Plan, cheaper: Sequence[Baseline]) -> str:
    if any(rival.difference is None or rival.difference.loss is None for rival in cheaper):
        return (
            f"Of the simple plans that {_fits(plan, plural=True)} {cheaper[0].scheme} scores best "
            f"({_numbers(plan, cheaper[0])}); whether that is more than chance cannot be told: results by sample were "
            "not kept."
        )
    signs = {rival.scheme: rival.difference.lower_loss for rival in cheaper if rival.difference}
    winner = next((rival for rival in cheaper if signs[rival.scheme] < 0), None)
    if winner:
        return f"The {winner.scheme} plan wins: it {_fits(plan)}, and its loss is lower ({_numbers(plan, winner)})."
    level = [rival for rival in cheaper if signs[rival.scheme] == 0]
    if not level:
        return f"Better than every simple plan that {_fits(plan)} (the next best: {_numbers(plan, cheaper[0])})."
    beaten, first = len(cheaper) - len(level), level[0]
    rest = {0: "", 1: " It is better than the other one."}.get(beaten, f" It is better than the {beaten} others.")
    samples = first.difference.samples if first.difference else 0
    return (
        f"No difference that {samples} samples can show between this plan and "
        f"{_listed([rival.scheme for rival in level])}, which {_fits(plan, plural=len(level) > 1)} "
        f"({_numbers(plan, first)}).{rest}"
    )


def _numbers(plan: Plan, rival: Baseline) -> str:
    """Return both losses, with their difference and its interval where that is known."""
    own, one = plan.search, rival.difference
    assert own is not None
    said = f"validation loss before finetuning {own.validation_loss:.4f}, {rival.scheme} {rival.validation_loss:.4f}"
    if one is None or one.loss is None:
        return said
    return (
        f"{said}; difference {one.loss:+.4f}, 95 % interval {one.loss_low:+.4f} to {one.loss_high:+.4f}, "
        f"{one.samples} samples"
    )


def _unmeasured(plan: Plan) -> str:
    edited = edited_layers(plan.layers)
    why = f": {len(edited)} of its layers were given another scheme after the search" if edited else ""
    return f"This plan was not measured before finetuning{why}, so it is not compared with the simple plans."


def _fits(plan: Plan, plural: bool = False) -> str:
    """Return in words what a plan does that costs no more."""
    budget = _budget(plan)
    if budget:
        names = dict.fromkeys(one.name for key in budget for one in plan.quantities if key in one.keys)
        return f"keep{'' if plural else 's'} the budget of {' and '.join(names)}"
    return f"take{'' if plural else 's'} {_listed([f'no more {one.name}' for one in plan.quantities])} than this one"


def _budget(plan: Plan) -> dict[str, float] | None:
    """Return the budget of the search; None without one, and where it limits what is not known of the plan."""
    budget = plan.search.budget if plan.search else None
    known = {key for one in plan.quantities for key in one.keys}
    return budget if budget and budget.keys() <= known else None


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]
