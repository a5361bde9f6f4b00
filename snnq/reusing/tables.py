"""Plans of reuse as tables: amounts and their factors, the product last."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from snnq.network.products import NOTATION

if TYPE_CHECKING:
    from snnq.reusing.records import ReuseCosts, ReusePlan

Cells = tuple[str, tuple[str, ...], list[tuple[str, ...]]]


def _shown(amount: float | None, unit: float, digits: int) -> str:
    return "" if amount is None else f"{amount / unit:,.{digits}f}"


# Column, key, what it is divided by, digits. The product comes last, behind its factors.
_AMOUNTS = (
    ("energy nJ", "energy_pj", 1e3, 1),
    ("delay µs", "delay_ns", 1e3, 2),
    ("area mm²", "area_um2", 1e6, 3),
    ("E·D·A µJ·ms·mm²", "product", 1.0, 3),
)


def _told(plan: ReusePlan) -> list[tuple[str, str, float, int]]:
    return [one for one in _AMOUNTS if getattr(plan.whole, one[1]) is not None]


def _row(one: ReuseCosts, plan: ReusePlan) -> tuple[str, ...]:
    shares, cells = one.shares(plan.whole), []
    for _, key, unit, digits in _told(plan):
        cells += [_shown(getattr(one, key), unit, digits), f"{100 * shares[key]:.1f}"]
    return tuple(cells)


def _columns(plan: ReusePlan) -> tuple[str, ...]:
    return tuple(column for name, *_ in _told(plan) for column in (name, "%"))


def sweep_table(plan: ReusePlan) -> Cells:
    """Return the costs by how many blocks reuse, and what of them is the transformation blocks'."""
    on_arrays = plan.target.kind == "arrays"
    columns = ("reuse", *_columns(plan), *(("blocks µs", "rows written") if on_arrays else ()))
    rows = [
        (
            str(count),
            *_row(one, plan),
            *((_shown(one.blocks_delay_ns, 1e3, 2), f"{one.rows_written:,}") if on_arrays else ()),
        )
        for count, one in enumerate(plan.sweep)
    ]
    return f"An inference on {plan.target.target}, by blocks that reuse", columns, rows


def candidate_table(plan: ReusePlan) -> Cells:
    """Return the patterns that keep the limits."""
    rows = [
        (one.pattern, ", ".join(_short(name) for name in one.attentions), *_row(one.costs, plan))
        for one in plan.candidates
    ]
    return "Patterns", ("pattern", "reusing", *_columns(plan)), rows


def written_table(plan: ReusePlan) -> Cells:
    """Return what each order of the products writes into cells in an inference."""
    number: Callable[[int], str] = "{:,}".format
    rows = [
        (
            f"{NOTATION[one.order]}{' (this model)' if one.own else ''}",
            str(one.chunk),
            *map(number, (one.rows, one.cells, one.bits)),
        )
        for one in plan.written
    ]
    columns = ("order", "steps at once", "rows", "cells", "bits")
    return "Written by all attentions of the model as given, an inference", columns, rows


def factors(costs: ReuseCosts, whole: ReuseCosts) -> str:
    """Return in a sentence how many times less a model takes, factor by factor, the product last."""
    names = {"energy_pj": "energy", "delay_ns": "delay", "area_um2": "area", "product": "all three multiplied"}
    shares: Sequence[tuple[str, float]] = list(costs.shares(whole).items())
    return "Predicted, times less: " + ", ".join(f"{names[key]} {1 / share:.2f}" for key, share in shares) + "."


def _short(name: str) -> str:
    return name.removesuffix(".attn")
