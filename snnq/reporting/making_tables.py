"""Tables of what was measured and made: accuracy, search, finetuning, levels, and where everything comes from."""

from __future__ import annotations

from collections.abc import Sequence

from snnq.base.paired import LEVEL
from snnq.network.layers import Layer
from snnq.plan.views import per_cent
from snnq.reporting.records import LayerRow, Paired, Report
from snnq.reporting.table import Table, loss_text


def accuracy_table(report: Report) -> Table:
    """Return accuracies and losses of the float and the packed model."""
    title = f"Accuracy ({report.validation_samples} validation and {report.test_samples} test samples)"
    rows = [
        (
            row.model,
            row.what,
            per_cent(row.validation),
            loss_text(row.validation_loss),
            per_cent(row.test),
            loss_text(row.test_loss),
        )
        for row in report.accuracy
    ]
    return Table(title, ("model", "what it is", "val. %", "val. loss", "test %", "test loss"), tuple(rows), "headline")


def paired_tables(report: Report) -> tuple[Table, ...]:
    """Return this plan minus others over the same samples, where samples were kept."""
    rows = [
        (
            one.name,
            f"{100 * one.accuracy:+.2f}",
            f"{one.accuracy_p:.2g}",
            *("-" if loss is None else f"{loss:+.4f}" for loss in (one.loss, one.loss_low, one.loss_high)),
            _shown(one),
        )
        for one in report.paired
    ]
    title = (
        "This plan minus others on the same samples (float: finetuned, the rest: before finetuning); "
        "p: McNemar's exact test of the accuracies, from and to: 95 % of the loss"
    )
    columns = ("minus", "points", "p", "loss", "from", "to", "shows")
    return (Table(title, columns, tuple(rows), "headline"),) if rows else ()


def _shown(one: Paired) -> str:
    """Return what a difference shows beyond chance; in two words each, for there is little room."""
    loss = 0 if one.loss_low is None or one.loss_high is None else int(one.loss_high < 0) - int(one.loss_low > 0)
    accuracy = 0 if one.accuracy_p >= LEVEL else 1 if one.accuracy > 0 else -1
    words = {1: "less loss", -1: "more loss"}.get(loss), {1: "more %", -1: "less %"}.get(accuracy)
    return ", ".join(word for word in words if word) or "nothing"


def inputs_table(title: str, layers: Sequence[LayerRow | Layer]) -> Table:
    """Return what each layer is and what it sees."""
    rows = [
        (row.name, row.group, row.kind, "×".join(map(str, row.shape)), f"{row.weights:,}", row.input) for row in layers
    ]
    return Table(title, ("layer", "group", "kind", "shape", "weights", "input"), tuple(rows), "layers")


def levels_table(report: Report) -> Table:
    """Return the levels of each quantised layer."""
    rows = [
        (
            one.layer,
            one.scheme,
            str(one.channels),
            f"{sum(level.share > 0 for level in one.levels)} of {len(one.levels)}",
            f"{one.levels[0].value:.4g}",
            f"{one.levels[-1].value:.4g}",
            per_cent(max(level.share for level in one.levels)),
        )
        for one in report.levels
    ]
    columns = ("layer", "scheme", "channels", "levels used", "lowest", "highest", "fullest %")
    title = "Levels of each layer: median over its channels, share of weights at the fullest"
    return Table(title, columns, tuple(rows), "weights")


def probabilities_tables(report: Report) -> tuple[Table, ...]:
    """Return what the search thought of each layer's schemes, where that is known."""
    rows = [_ranking(row) for row in report.layers if row.probabilities]
    columns = ("layer", "takes", "probability", "most likely other", "probability of it")
    return (Table("What the search thought", columns, tuple(rows), "search"),) if rows else ()


def _ranking(row: LayerRow) -> tuple[str, ...]:
    thought = dict(row.probabilities or {})
    own = thought.pop(row.scheme, None)
    other = max(thought, key=lambda name: thought[name], default=None)
    share = f"{own:.4f}" if own is not None else "-"
    return (row.name, row.scheme, share, other or "-", f"{thought[other]:.4f}" if other else "-")


def search_tables(report: Report) -> tuple[Table, ...]:
    """Return the search by epoch, where it is known."""
    rows = [(str(one.epoch), f"{one.bits:.4f}", str(one.decided)) for one in report.search.epochs]
    columns = ("epoch", "expected bits per weight", "layers decided")
    return (Table("The search by epoch", columns, tuple(rows), "search"),) if rows else ()


def finetuning_table(report: Report) -> Table:
    """Return finetuning by epoch."""
    rows = [
        (
            str(one.epoch),
            loss_text(one.loss),
            per_cent(one.accuracy),
            loss_text(one.validation_loss),
            per_cent(one.validation_accuracy),
            "kept" if one.epoch == report.best_epoch else "-",
        )
        for one in report.finetuning
    ]
    columns = ("epoch", "loss", "training %", "val. loss", "val. %", "best epoch")
    return Table("Finetuning by epoch", columns, tuple(rows), "making")


def blocks_table(report: Report) -> Table:
    """Return how far each block that was quantised without finetuning is from the float one."""
    rows = [
        (one.block, str(one.layers), loss_text(one.loss_nearest), loss_text(one.loss), per_cent(one.flipped))
        for one in report.blocks
    ]
    columns = ("block", "layers", "loss, nearest", "loss", "not nearest %")
    return Table("Quantised block by block, without finetuning", columns, tuple(rows), "making")


def classes_tables(report: Report) -> tuple[Table, ...]:
    """Return the data's classes, where they are known."""
    rows = tuple((str(one.index), one.name) for one in report.classes)
    title = "Classes of the data, by the index of the model's output"
    return (Table(title, ("index", "class"), rows, "provenance"),) if rows else ()


def provenance_table(report: Report) -> Table:
    """Return where everything comes from."""
    return Table("Where it comes from", ("what", "value"), tuple(report.provenance.items()), "provenance")
