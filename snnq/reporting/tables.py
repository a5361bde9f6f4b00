"""A report as tables of text, each at most 80 columns wide; terminal, markdown, csv and the page show these.

Those of costs are in ``cost_tables``.
"""

from __future__ import annotations

from collections.abc import Sequence

from snnq.base.paired import LEVEL
from snnq.network.layers import Layer
from snnq.plan.views import per_cent
from snnq.reporting import adapted, array_summary, cost_tables, exit_tables, machine_tables
from snnq.reporting.cost_records import LayerRow
from snnq.reporting.records import Paired, Report
from snnq.reporting.table import Table, loss_text, table_of


def accuracy_table(report: Report) -> Table:
    """Return accuracies and losses of the float and the packed model."""
    title = f"{report.measured} ({report.validation_samples} validation and {report.test_samples} test samples)"
    clips = any(row.test_per_video is not None for row in report.accuracy)
    if clips:
        title = title.replace(report.measured, f"{report.measured} per clip and per video")
        title = title.replace("test samples", "test clips")
    cells = {
        "model": lambda row: row.model,
        "what it is": lambda row: row.what,
        "val. %": lambda row: per_cent(row.validation),
        "val. loss": lambda row: loss_text(row.validation_loss),
        "test %": lambda row: per_cent(row.test),
        "test loss": lambda row: loss_text(row.test_loss),
    }
    if clips:
        cells |= {
            "val. video %": lambda row: per_cent(row.validation_per_video),
            "test video %": lambda row: per_cent(row.test_per_video),
        }
    return table_of(title, report.accuracy, cells, "headline")


def paired_table(report: Report) -> Table:
    """Return this plan minus others over the same samples, where samples were kept."""
    title = (
        "This plan minus others on the same samples (float: finetuned, the rest: before finetuning); "
        "p: McNemar's exact test of the accuracies, from and to: 95 % of the loss"
    )
    cells = {
        "minus": lambda one: one.name,
        "points": lambda one: f"{100 * one.accuracy:+.2f}",
        "p": lambda one: f"{one.accuracy_p:.2g}",
        "loss": lambda one: loss_text(one.loss, "+"),
        "from": lambda one: loss_text(one.loss_low, "+"),
        "to": lambda one: loss_text(one.loss_high, "+"),
        "shows": _shown,
    }
    return table_of(title, report.paired, cells, "headline")


def _shown(one: Paired) -> str:
    """Return what a difference shows beyond chance; in two words each, for there is little room."""
    loss = 0 if one.loss_low is None or one.loss_high is None else int(one.loss_high < 0) - int(one.loss_low > 0)
    accuracy = 0 if one.accuracy_p >= LEVEL else 1 if one.accuracy > 0 else -1
    words = {1: "less loss", -1: "more loss"}.get(loss), {1: "more %", -1: "less %"}.get(accuracy)
    return ", ".join(word for word in words if word) or "nothing"


def inputs_table(title: str, layers: Sequence[LayerRow | Layer]) -> Table:
    """Return what each layer is and what it sees."""
    cells = {
        "layer": lambda row: row.name,
        "group": lambda row: row.group,
        "kind": lambda row: row.kind,
        "shape": lambda row: "×".join(map(str, row.shape)),
        "weights": lambda row: f"{row.weights:,}",
        "input": lambda row: row.input,
    }
    return table_of(title, layers, cells, "layers")


def levels_table(report: Report) -> Table:
    """Return the levels of each quantised layer."""
    title = "Levels of each layer: median over its channels, share of weights at the fullest"
    cells = {
        "layer": lambda one: one.layer,
        "scheme": lambda one: one.scheme,
        "channels": lambda one: str(one.channels),
        "levels used": lambda one: f"{sum(level.share > 0 for level in one.levels)} of {len(one.levels)}",
        "lowest": lambda one: f"{one.levels[0].value:.4g}",
        "highest": lambda one: f"{one.levels[-1].value:.4g}",
        "fullest %": lambda one: per_cent(max(level.share for level in one.levels)),
    }
    return table_of(title, report.levels, cells, "weights")


def probabilities_table(report: Report) -> Table:
    """Return what the search thought of each layer's schemes, where that is known."""
    rows = tuple(_ranking(row) for row in report.layers if row.probabilities)
    columns = ("layer", "takes", "probability", "most likely other", "probability of it")
    return Table("What the search thought", columns, rows, "search")


def _ranking(row: LayerRow) -> tuple[str, ...]:
    thought = dict(row.probabilities or {})
    own = thought.pop(row.scheme, None)
    other = max(thought, key=lambda name: thought[name], default=None)
    return (row.name, row.scheme, loss_text(own), other or "-", loss_text(thought[other] if other else None))


def rates_table(report: Report) -> Table:
    """Return how many bits a weight each layer's codes took, after some epochs of a search that trained rates."""
    epochs = [one for one in report.search.epochs if one.rates]
    if not epochs:
        return Table("Bits a weight by layer", ("layer",), (), "search")
    shown = [epochs[i] for i in sorted({round(part * (len(epochs) - 1) / 4) for part in range(5)})]
    columns = ("layer", *(f"epoch {one.epoch}" for one in shown))
    rows = tuple((name, *(f"{one.rates[name]:.3f}" for one in shown)) for name in shown[-1].rates)
    return Table("Bits a weight by layer: the entropy of its codes", columns, rows, "search")


def search_table(report: Report) -> Table:
    """Return the search by epoch, where it is known."""
    cells = {
        "epoch": lambda one: str(one.epoch),
        "expected bits per weight": lambda one: f"{one.bits:.4f}",
        "layers decided": lambda one: "-" if one.rates else str(one.decided),
    }
    return table_of("The search by epoch", report.search.epochs, cells, "search")


def finetuning_table(report: Report) -> Table:
    """Return finetuning by epoch."""
    cells = {
        "epoch": lambda one: str(one.epoch),
        "loss": lambda one: loss_text(one.loss),
        "training %": lambda one: per_cent(one.accuracy),
        "val. loss": lambda one: loss_text(one.validation_loss),
        "val. %": lambda one: per_cent(one.validation_accuracy),
        "best epoch": lambda one: "kept" if one.epoch == report.best_epoch else "-",
    }
    return table_of("Finetuning by epoch", report.finetuning, cells, "making")


def blocks_table(report: Report) -> Table:
    """Return how far each block that was quantised without finetuning is from the float one."""
    cells = {
        "block": lambda one: one.block,
        "layers": lambda one: str(one.layers),
        "loss, nearest": lambda one: loss_text(one.loss_nearest),
        "loss": lambda one: loss_text(one.loss),
        "not nearest %": lambda one: per_cent(one.flipped),
    }
    return table_of("Quantised block by block, without finetuning", report.blocks, cells, "making")


def classes_table(report: Report) -> Table:
    """Return the data's classes, where they are known."""
    title = "Classes of the data, by the index of the model's output"
    cells = {"index": lambda one: str(one.index), "class": lambda one: one.name}
    return table_of(title, report.classes, cells, "provenance")


def provenance_table(report: Report) -> Table:
    """Return where everything comes from."""
    return Table("Where it comes from", ("what", "value"), tuple(report.provenance.items()), "provenance")


def main_tables(report: Report) -> tuple[Table, ...]:
    """Return what the terminal shows, and the long ones of the same; none without rows."""
    return _filled(
        accuracy_table(report),
        cost_tables.totals_table(report),
        *cost_tables.plans_tables(report),
        paired_table(report),
        *cost_tables.part_tables(report),
        *cost_tables.both_models_tables(report),
        *(machine_tables.main_tables(report.simulation)[:2] if report.simulation else ()),
        *(exit_tables.tables(report.exits) if report.exits else ()),
        *(array_summary.tables(report.arrays)[:1] if report.arrays else ()),
        *(adapted.report_tables(report.adapter) if report.adapter else ()),
        *cost_tables.layers_tables(report),
        cost_tables.disk_table(report),
    )


def detail_tables(report: Report) -> tuple[Table, ...]:
    """Return the rest: inputs and probabilities by layer, search, finetuning or blocks, where everything is from."""
    return _filled(
        inputs_table("What each layer is", report.layers),
        levels_table(report),
        *cost_tables.events_tables(report),
        *(machine_tables.detail_tables(report.simulation) if report.simulation else ()),
        *(array_summary.tables(report.arrays)[1:] if report.arrays else ()),
        probabilities_table(report),
        rates_table(report),
        search_table(report),
        *cost_tables.front_tables(report),
        finetuning_table(report),
        blocks_table(report),
        classes_table(report),
        provenance_table(report),
    )


def _filled(*tables: Table) -> tuple[Table, ...]:
    return tuple(one for one in tables if one.rows)
