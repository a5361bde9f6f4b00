"""What two plans disagree about."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from snnq.plan.plan import Plan


@dataclass(frozen=True)
class SchemeChange:
    """A layer whose scheme differs; None where a plan does not have the layer."""

    layer: str
    a: str | None
    b: str | None


@dataclass(frozen=True)
class TotalChange:
    """One of the plans' totals, side by side."""

    quantity: str
    a: float
    b: float


@dataclass(frozen=True)
class PlanDiff:
    """The layers whose scheme differs, in the order of the first plan, and every total side by side."""

    layers: tuple[SchemeChange, ...]
    totals: tuple[TotalChange, ...]
    same_cost_table: bool

    def to_dict(self) -> dict[str, Any]:
        """Return the difference as plain data."""
        return asdict(self)


def diff_plans(a: Plan, b: Plan) -> PlanDiff:
    """Return what two plans disagree about."""
    ours, theirs = a.schemes(), b.schemes()
    changes = (SchemeChange(name, ours.get(name), theirs.get(name)) for name in dict.fromkeys((*ours, *theirs)))
    before, after = a.totals.model_dump(exclude={"asked"}), b.totals.model_dump(exclude={"asked"})
    return PlanDiff(
        layers=tuple(change for change in changes if change.a != change.b),
        totals=tuple(TotalChange(name, before[name], after[name]) for name in before),
        same_cost_table=a.cost_table.sha256 == b.cost_table.sha256,
    )
