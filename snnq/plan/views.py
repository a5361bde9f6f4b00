"""A plan as tables of text: columns and rows for the terminal. Units stand in the columns' names."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from pathlib import Path

from snnq.base.parsing import is_calibration
from snnq.cost.quantities import STORAGE, Quantity, share_of, side_by_side
from snnq.plan.costing import TRAINED_FLOAT, amount_of
from snnq.plan.measured import NOT_MEASURED, edited_layers
from snnq.plan.plan import Plan

Rows = list[list[str]]

_DECIMALS = 2  # of every amount in a plan's tables


def per_cent(share: float | None) -> str:
    """Return a fraction as per cent, a dash for None."""
    return "-" if share is None else f"{100 * share:.2f}"


Titled = tuple[str, list[str], Rows]


def layer_tables(plan: Plan) -> list[Titled]:
    """Return titles, columns and rows of the layers: what they are, then the costs of each ``side_by_side``."""
    columns = ["layer", "scheme", "weights", "MACs M", "input"]
    rows = [
        [layer.name, layer.scheme, f"{math.prod(layer.shape):,}", f"{layer.macs / 1e6:,.3f}", layer.input]
        for layer in plan.layers
    ]
    costs = ((f"Costs by layer{_counted(shelf)}", *cost_table(plan, shelf)) for shelf in side_by_side(plan.quantities))
    return [("Layers", columns, rows), *costs]


def group_tables(plan: Plan) -> list[Titled]:
    """Return titles, columns and rows of every quantity by group."""
    return [(f"{one.name.capitalize()} by group{_counted((one,))}", *group_table(plan, one)) for one in plan.quantities]


def baseline_tables(plan: Plan) -> list[Titled]:
    """Return titles, columns and rows of the plan beside its baselines, by what stands ``side_by_side``."""
    title = baseline_title(plan)
    return [(f"{title}{_counted(shelf)}", *baseline_table(plan, shelf)) for shelf in side_by_side(plan.quantities)]


def _counted(shelf: Sequence[Quantity]) -> str:
    """Return what stands behind the title of a table of its own: whose figures it has."""
    return "" if shelf[0].main else "".join(f"; {one.name}: {one.counted}" for one in shelf if one.counted)


def cost_table(plan: Plan, shelf: Sequence[Quantity]) -> tuple[list[str], Rows]:
    """Return the columns and one row a layer; a share is left out where the weights tell it."""
    columns, rows = ["layer", "scheme"], [[layer.name, layer.scheme] for layer in plan.layers]
    for one in shelf:
        whole = amount_of(one, plan.layers)
        columns += [one.heading] if one.per_weight else [one.heading, f"{one.name} %"]
        for row, layer in zip(rows, plan.layers, strict=True):
            amount = getattr(layer, one.key)
            share = [] if one.per_weight else [per_cent(share_of(amount, whole))]
            row += [one.shown(amount, _DECIMALS), *share]
    return columns, rows


def group_table(plan: Plan, one: Quantity) -> tuple[list[str], Rows]:
    """Return the columns and one row a group; the column called float has the float32 plan's shares."""
    columns = ["group", "weights", *(f"{one.unit} avg" for _ in one.means), one.heading, f"{one.name} %", "float %"]
    rows = []
    for name, group in plan.groups.items():
        means = (f"{getattr(group, key):.3f}" for key in one.means)
        shares = (getattr(group, one.share), getattr(group, f"{one.share}_float"))
        amount = one.shown(getattr(group, one.key), _DECIMALS)
        rows.append([name, f"{group.weights:,}", *means, amount, *map(per_cent, shares)])
    return columns, rows


def total_table(plan: Plan) -> tuple[list[str], Rows]:
    """Return the columns and one row a total."""
    totals = plan.totals
    rows = [["weights", f"{totals.weights:,}"]]
    for one in plan.quantities:
        rows += [[f"{one.unit} per weight", f"{getattr(totals, key):.5f}"] for key in one.means]
        rows.append([f"{one.name} {one.column}", one.shown(getattr(totals, one.key), _DECIMALS)])
        rows.append([f"{one.name} % of float32", f"{100 * getattr(totals, one.fraction):.4f}"])
        rows += [["times smaller than float32", f"{totals.compression:.4f}"]] if one is STORAGE else []
    if totals.asked.trade_off is not None:
        rows.append(["asked trade-off", f"{totals.asked.trade_off:g}"])
    for quantity, limit in (totals.asked.budget or {}).items():
        realised = (totals.asked.realised or {}).get(quantity)
        rows.append([f"asked {quantity}", f"{limit:g}" + ("" if realised is None else f", realised {realised:.5g}")])
    return ["total", "value"], rows


def weights_words(plan: Plan) -> str | None:
    """Return with which weights the plan and its baselines were scored; None where none was."""
    if all(baseline.validation_loss is None for baseline in plan.baselines):
        return None
    if any(baseline.scheme == TRAINED_FLOAT for baseline in plan.baselines):
        return "float32: the checkpoint as given; all others: the weights the search ended with"
    if plan.search and plan.search.epochs == 0:
        return "all with the checkpoint's weights"
    return "float32: the checkpoint as given; the quantised ones: the weights the search ended with"


def baseline_title(plan: Plan) -> str:
    """Return the title of ``baseline_table``: what was scored, and with which weights."""
    words = weights_words(plan)
    return f"Beside simple plans, before finetuning; {words}" if words else "Beside simple plans"


def remarks(plan: Plan) -> list[str]:
    """Return what must be known of a plan's scores and sizes."""
    said = ["Bits per weight are the plan's; a packed file also holds scales, norms and its header."]
    if is_calibration(plan.data.spec if plan.data else None) and plan.search:
        said.append("Its data have no labels: val. % is how often the float model's own answers are given again.")
    if edited := edited_layers(plan.layers):
        said.append(
            f"{len(edited)} of {len(plan.layers)} layers do not take the scheme that the plan was made with, so this "
            f"plan is {NOT_MEASURED}: {', '.join(edited)}."
        )
    return said


def baseline_table(plan: Plan, shelf: Sequence[Quantity]) -> tuple[list[str], Rows]:
    """Return the columns and the rows of the plan beside its baselines."""
    means = [one for one in shelf if one.per_weight]
    columns = ["plan", *(f"{one.unit} avg" for one in means), *(f"{one.name} %" for one in shelf)]
    blank = "-" if weights_words(plan) is None else NOT_MEASURED
    rows = [("this plan", plan.totals, plan.search), *((b.scheme, b, b) for b in plan.baselines)]
    return [*columns, "val. %", "val. loss"], [
        [
            name,
            *(f"{getattr(costs, one.relative):.3f}" for one in means),
            *(per_cent(getattr(costs, one.fraction)) for one in shelf),
            blank if found is None or found.validation_accuracy is None else per_cent(found.validation_accuracy),
            "-" if found is None or found.validation_loss is None else f"{found.validation_loss:.4f}",
        ]
        for name, costs, found in rows
    ]


def next_command(plan: Plan, path: Path) -> str:
    """Return what to type after looking at a plan: finalize needs the float weights that a checkpoint brings."""
    file = shlex.quote(str(path))
    return f"snnq finalize --plan {file}" if plan.model.checkpoint else f"snnq plan diff {file} OTHER.json"
