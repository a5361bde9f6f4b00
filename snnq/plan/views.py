"""A plan as tables of text: columns and rows for the terminal. Units stand in the columns' names."""

from __future__ import annotations

import math
import shlex
from pathlib import Path

from snnq.plan.costing import TRAINED_FLOAT
from snnq.plan.measured import NOT_MEASURED, edited_layers
from snnq.plan.plan import Plan

Rows = list[list[str]]

LAYER_COLUMNS = ("layer", "scheme", "weights", "MACs M", "input", "KiB", "energy nJ", "energy %")
GROUP_COLUMNS = ("group", "weights", "bits avg", "KiB", "storage %", "float %", "energy nJ", "energy %", "float %")
TOTAL_COLUMNS = ("total", "value")
BASELINE_COLUMNS = ("plan", "bits avg", "storage %", "energy %", "val. %", "val. loss")


def kib(bits: float) -> str:
    """Return bits as kibibytes."""
    return f"{bits / 8 / 1024:,.2f}"


def nanojoules(energy_pj: float) -> str:
    """Return picojoules as nanojoules."""
    return f"{energy_pj / 1000:,.2f}"


def per_cent(share: float | None) -> str:
    """Return a fraction as per cent, a dash for None."""
    return "-" if share is None else f"{100 * share:.2f}"


def layer_rows(plan: Plan) -> Rows:
    """Return one row a layer, for ``LAYER_COLUMNS``."""
    whole = plan.totals.energy_pj
    return [
        [
            layer.name,
            layer.scheme,
            f"{math.prod(layer.shape):,}",
            f"{layer.macs / 1e6:,.3f}",
            layer.input,
            kib(layer.bits),
            nanojoules(layer.energy_pj),
            per_cent(layer.energy_pj / whole if whole else 0.0),
        ]
        for layer in plan.layers
    ]


def group_rows(plan: Plan) -> Rows:
    """Return one row a group, for ``GROUP_COLUMNS``; the columns called float are the float32 plan's shares."""
    return [
        [
            name,
            f"{group.weights:,}",
            f"{group.avg_bits:.3f}",
            kib(group.storage_bits),
            per_cent(group.storage_share),
            per_cent(group.storage_share_float),
            nanojoules(group.energy_pj),
            per_cent(group.energy_share),
            per_cent(group.energy_share_float),
        ]
        for name, group in plan.groups.items()
    ]


def total_rows(plan: Plan) -> Rows:
    """Return the plan's totals, for ``TOTAL_COLUMNS``."""
    totals = plan.totals
    rows = [
        ["weights", f"{totals.weights:,}"],
        ["bits per weight", f"{totals.avg_bits:.5f}"],
        ["storage KiB", kib(totals.storage_bits)],
        ["storage % of float32", f"{100 * totals.storage_fraction:.4f}"],
        ["times smaller than float32", f"{totals.compression:.4f}"],
        ["energy nJ", nanojoules(totals.energy_pj)],
        ["energy % of float32", f"{100 * totals.energy_fraction:.4f}"],
    ]
    if totals.asked.trade_off is not None:
        rows.append(["asked trade-off", f"{totals.asked.trade_off:g}"])
    for quantity, limit in (totals.asked.budget or {}).items():
        realised = (totals.asked.realised or {}).get(quantity)
        rows.append([f"asked {quantity}", f"{limit:g}" + ("" if realised is None else f", realised {realised:.5g}")])
    return rows


def weights_words(plan: Plan) -> str | None:
    """Return with which weights the plan and its baselines were scored; None where none was."""
    if all(baseline.validation_loss is None for baseline in plan.baselines):
        return None
    if any(baseline.scheme == TRAINED_FLOAT for baseline in plan.baselines):
        return "float32: the checkpoint as given; all others: the weights the search ended with"
    if plan.search and plan.search.method == "sensitivity":
        return "all with the checkpoint's weights"
    return "float32: the checkpoint as given; the quantised ones: the weights the search ended with"


def baseline_title(plan: Plan) -> str:
    """Return the title of ``baseline_rows``: what was scored, and with which weights."""
    words = weights_words(plan)
    return f"Beside simple plans, before finetuning; {words}" if words else "Beside simple plans"


def remarks(plan: Plan) -> list[str]:
    """Return what must be known of a plan's scores and sizes."""
    said = ["Bits per weight are the plan's; a packed file also holds scales, norms and its header."]
    if edited := edited_layers(plan.layers):
        said.append(
            f"{len(edited)} of {len(plan.layers)} layers do not take the scheme that the plan was made with, so this "
            f"plan is {NOT_MEASURED}: {', '.join(edited)}."
        )
    return said


def baseline_rows(plan: Plan) -> Rows:
    """Return the plan beside its baselines, for ``BASELINE_COLUMNS``."""
    blank = "-" if weights_words(plan) is None else NOT_MEASURED
    rows = [("this plan", plan.totals, plan.search), *((b.scheme, b, b) for b in plan.baselines)]
    return [
        [
            name,
            f"{costs.avg_bits:.3f}",
            per_cent(costs.storage_fraction),
            per_cent(costs.energy_fraction),
            blank if found is None or found.validation_accuracy is None else per_cent(found.validation_accuracy),
            "-" if found is None or found.validation_loss is None else f"{found.validation_loss:.4f}",
        ]
        for name, costs, found in rows
    ]


def next_command(plan: Plan, path: Path) -> str:
    """Return what to type after looking at a plan: finalize needs the float weights that a checkpoint brings."""
    file = shlex.quote(str(path))
    return f"snnq finalize --plan {file}" if plan.model.checkpoint else f"snnq plan diff {file} OTHER.json"
