"""A report as tables of text, each at most 80 columns wide; terminal, markdown, csv and the page show these.

Storage is in KiB (8192 bits) and energy in nJ per time step and sample; units stand in the columns' names.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from snnq.base.paired import LEVEL
from snnq.cost import event_views
from snnq.network import products
from snnq.network.products import Products
from snnq.plan.measured import NOT_MEASURED
from snnq.plan.views import kib, per_cent
from snnq.reporting.records import LayerRow, Paired, Part, Report
from snnq.reporting.text import nanojoules

DIFFERS, YES = "differs", "yes"


@dataclass(frozen=True)
class Table:
    """A title, the columns and the rows, all text."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @property
    def marked(self) -> tuple[bool, ...]:
        """Which rows are marked: those that say ``YES`` where the last column is ``DIFFERS``."""
        return tuple(self.columns[-1] == DIFFERS and row[-1] == YES for row in self.rows)


def main_tables(report: Report) -> tuple[Table, ...]:
    """Return what the terminal shows."""
    tables = [_accuracy(report), _totals(report), _plans(report), *_paired(report)]
    for what, column, parts in (("group", "group", report.groups), ("attention linear", "linear", report.attention)):
        if parts:
            tables.append(_storage(f"Storage by {what}", column, parts))
            tables.append(_energy(f"Energy by {what}; {energy_label(report)}", column, parts))
    return (*tables, *_both_models(report), _layers(report), _disk(report))


def detail_tables(report: Report) -> tuple[Table, ...]:
    """Return the rest: inputs and probabilities by layer, search, finetuning or blocks, where everything is from."""
    front = (front_table(report),) if report.front else ()
    searched = (*_probabilities(report), *_search(report), *front)
    made = (_finetuning(report),) if report.finetuning else (_blocks(report),)
    return (
        _inputs(report),
        _levels(report),
        *_events(report),
        *searched,
        *made,
        *_classes(report),
        _provenance(report),
    )


def energy_label(report: Report) -> str:
    """Return what the energies are, briefly; ``report.energy_model`` says it in full."""
    return f"paper's model, per time step and sample, {report.provenance['cost table']}"


def _loss(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _accuracy(report: Report) -> Table:
    title = f"Accuracy ({report.validation_samples} validation and {report.test_samples} test samples)"
    rows = [
        (
            row.model,
            row.what,
            per_cent(row.validation),
            _loss(row.validation_loss),
            per_cent(row.test),
            _loss(row.test_loss),
        )
        for row in report.accuracy
    ]
    return Table(title, ("model", "what it is", "val. %", "val. loss", "test %", "test loss"), tuple(rows))


def _totals(report: Report) -> Table:
    own = report.totals
    rows = (
        ("weights", f"{own.weights:,}", f"{own.weights:,}", ""),
        ("bits per weight, plan", "32.000", f"{own.avg_bits:.3f}", ""),
        ("bits per weight, file", "", f"{own.file_avg_bits:.3f}", ""),
        ("storage KiB", kib(own.storage_bits_float), kib(own.storage_bits), per_cent(own.storage_fraction)),
        ("energy nJ", nanojoules(own.energy_pj_float), nanojoules(own.energy_pj), per_cent(own.energy_fraction)),
        ("times smaller", "1.00", f"{own.compression:.2f}", ""),
    )
    return Table(f"Totals; energy: {energy_label(report)}", ("total", "float32", "this plan", "% of float32"), rows)


def _plans(report: Report) -> Table:
    unscored = report.plan_weights is None
    rows = [
        (
            row.plan,
            f"{row.avg_bits:.3f}",
            per_cent(row.storage_fraction),
            nanojoules(row.energy_pj),
            per_cent(row.energy_fraction),
            per_cent(row.validation_accuracy) if row.validation_accuracy is not None or unscored else NOT_MEASURED,
            _loss(row.validation_loss),
        )
        for row in report.plans
    ]
    columns = ("plan", "bits", "KiB %", "nJ", "nJ %", "val. %", "loss")
    weights = f" ({report.plan_weights})" if report.plan_weights else ""
    title = f"Beside simple plans: val. % and loss before finetuning{weights}; nJ: {energy_label(report)}"
    return Table(title, columns, tuple(rows))


def _paired(report: Report) -> tuple[Table, ...]:
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
    return (Table(title, columns, tuple(rows)),) if rows else ()


def _shown(one: Paired) -> str:
    """Return what a difference shows beyond chance; in two words each, for there is little room."""
    loss = 0 if one.loss_low is None or one.loss_high is None else int(one.loss_high < 0) - int(one.loss_low > 0)
    accuracy = 0 if one.accuracy_p >= LEVEL else 1 if one.accuracy > 0 else -1
    words = {1: "less loss", -1: "more loss"}.get(loss), {1: "more %", -1: "less %"}.get(accuracy)
    return ", ".join(word for word in words if word) or "nothing"


def front_table(report: Report) -> Table:
    """Return the search's accuracy–cost front; it has no rows where there was no search."""
    rows = [
        (
            f"{point.avg_bits:.3f}",
            per_cent(point.storage_fraction),
            per_cent(point.energy_fraction),
            f"{point.predicted_loss:.4f}",
            _loss(point.validation_loss),
            per_cent(point.validation_accuracy),
        )
        for point in report.front
    ]
    columns = ("bits", "KiB %", "nJ %", "predicted loss", "val. loss", "val. %")
    return Table("Accuracy-cost front of the search, before finetuning", columns, tuple(rows))


def _storage(title: str, what: str, parts: tuple[Part, ...]) -> Table:
    rows = [
        (
            part.name,
            f"{part.weights:,}",
            f"{part.avg_bits:.3f}",
            kib(part.storage_bits),
            per_cent(part.storage_share),
            kib(part.storage_bits_float),
            per_cent(part.storage_share_float),
        )
        for part in parts
    ]
    columns = (what, "weights", "bits", "KiB", "share %", "float KiB", "float %")
    return Table(title, columns, tuple(rows))


def _energy(title: str, what: str, parts: tuple[Part, ...]) -> Table:
    rows = [
        (
            part.name,
            nanojoules(part.energy_pj),
            per_cent(part.energy_share),
            nanojoules(part.energy_pj_float),
            per_cent(part.energy_share_float),
        )
        for part in parts
    ]
    return Table(title, (what, "nJ", "share %", "float nJ", "float %"), tuple(rows))


def _both_models(report: Report) -> tuple[Table, ...]:
    """Return both energy models' totals, what attentions compute and, where measured, the event model by part."""
    rows = [
        (
            row.model,
            row.counts,
            *("-" if energy is None else nanojoules(energy) for energy in (row.energy_pj_float, row.energy_pj)),
            per_cent(row.energy_fraction),
        )
        for row in report.energies
    ]
    title = f"Both energy models, per sample; nJ: {report.provenance['cost table']}"
    found = [Table(title, ("model", "of what", "float nJ", "nJ", "% of float"), tuple(rows))]
    found += [Table(products.TITLE, products.COLUMNS, tuple(products.rows(own)))] if (own := _products(report)) else []
    found += _dynamics(report)
    events = report.event_energy.plan
    if events:
        title = f"Energy by part; nJ: {event_views.label(events)}"
        found.append(Table(title, event_views.PART_COLUMNS, tuple(event_views.part_rows(events))))
        title = f"Events by layer; nJ: {event_views.label(events)}"
        found.append(Table(title, event_views.LAYER_COLUMNS, tuple(event_views.layer_rows(events))))
    return tuple(found)


def _dynamics(report: Report) -> tuple[Table, ...]:
    """Return how the neurons fire, packed and float, where that was measured."""
    rows = [
        (
            one.name,
            _both(one.firing_rate, one.firing_rate_float, per_cent),
            "-" if one.distance is None else f"{one.distance:.4f}",
            _both(one.dead, one.dead_float, lambda count: f"{count:,}"),
            _both(one.saturated, one.saturated_float, lambda count: f"{count:,}"),
        )
        for one in report.firing
    ]
    title = "Firing of neurons, packed (float); distance: earth mover's, of rates 0 … 1"
    columns = ("neurons", "rate %", "distance", "dead", "saturated")
    return (Table(title, columns, tuple(rows)),) if rows else ()


def _both(packed: float | None, floats: float | None, shown: Callable[[Any], str]) -> str:
    if packed is None:
        return "-"
    return shown(packed) if floats is None else f"{shown(packed)} ({shown(floats)})"


def _events(report: Report) -> tuple[Table, ...]:
    """Return the measured rates at every step, and what neurons and attentions do."""
    events = report.event_energy.plan
    if events is None:
        return ()
    label, own = event_views.label(events), _products(report)
    rates = Table("Firing rates by step", event_views.STEP_COLUMNS, tuple(event_views.step_rows(events)))
    neurons = Table(f"Neurons; nJ: {label}", event_views.NEURON_COLUMNS, tuple(event_views.neuron_rows(events)))
    if not own:
        return (rates, neurons)
    rows = tuple(event_views.attention_rows(events, own))
    return (rates, neurons, Table(f"Attention, measured; nJ: {label}", event_views.ATTENTION_COLUMNS, rows))


def _products(report: Report) -> tuple[Products, ...]:
    keys = [field.name for field in fields(Products)]
    return tuple(Products(**{key: row[key] for key in keys}) for row in report.attention_products)


def _layers(report: Report) -> Table:
    rows = [
        (
            row.name,
            row.scheme,
            kib(row.storage_bits),
            per_cent(row.storage_share),
            nanojoules(row.energy_pj),
            per_cent(row.energy_share),
        )
        for row in report.layers
    ]
    return Table(f"Layers; nJ: {energy_label(report)}", ("layer", "scheme", "KiB", "KiB %", "nJ", "nJ %"), tuple(rows))


def _disk(report: Report) -> Table:
    disk = report.disk
    rows = [("weights, as the plan claims", disk.plan_bits), *((part.kind, part.bits) for part in disk.overhead)]
    known, whole = disk.plan_bits + disk.overhead_bits, disk.file_bytes * 8
    rows += [("plan and overhead together", known), ("the file", whole)]
    shown = [(name, f"{bits:,}", f"{bits / 8:,.1f}", per_cent(bits / whole)) for name, bits in rows]
    shown.append(("file over plan and overhead", f"{disk.ratio:.4f}", "", ""))
    shown.append(("bits per weight, plan", f"{report.totals.avg_bits:.4f}", "", ""))
    shown.append(("bits per weight, file", f"{report.totals.file_avg_bits:.4f}", "", ""))
    return Table(f"Size of {disk.file} on disk", ("what", "bits", "bytes", "% of file"), tuple(shown))


def _inputs(report: Report) -> Table:
    rows = [
        (row.name, row.group, row.kind, "×".join(map(str, row.shape)), f"{row.weights:,}", row.input)
        for row in report.layers
    ]
    return Table("What each layer is", ("layer", "group", "kind", "shape", "weights", "input"), tuple(rows))


def _levels(report: Report) -> Table:
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
    return Table(
        "Levels of each layer: median over its channels, share of weights at the fullest", columns, tuple(rows)
    )


def _probabilities(report: Report) -> tuple[Table, ...]:
    rows = [_ranking(row) for row in report.layers if row.probabilities]
    columns = ("layer", "takes", "probability", "most likely other", "probability of it")
    return (Table("What the search thought", columns, tuple(rows)),) if rows else ()


def _ranking(row: LayerRow) -> tuple[str, ...]:
    thought = dict(row.probabilities or {})
    own = thought.pop(row.scheme, None)
    other = max(thought, key=lambda name: thought[name], default=None)
    share = f"{own:.4f}" if own is not None else "-"
    return (row.name, row.scheme, share, other or "-", f"{thought[other]:.4f}" if other else "-")


def _search(report: Report) -> tuple[Table, ...]:
    rows = [(str(one.epoch), f"{one.bits:.4f}", str(one.decided)) for one in report.search.epochs]
    columns = ("epoch", "expected bits per weight", "layers decided")
    return (Table("The search by epoch", columns, tuple(rows)),) if rows else ()


def _finetuning(report: Report) -> Table:
    rows = [
        (
            str(one.epoch),
            _loss(one.loss),
            per_cent(one.accuracy),
            _loss(one.validation_loss),
            per_cent(one.validation_accuracy),
            "kept" if one.epoch == report.best_epoch else "-",
        )
        for one in report.finetuning
    ]
    columns = ("epoch", "loss", "training %", "val. loss", "val. %", "best epoch")
    return Table("Finetuning by epoch", columns, tuple(rows))


def _blocks(report: Report) -> Table:
    rows = [
        (one.block, str(one.layers), _loss(one.loss_nearest), _loss(one.loss), per_cent(one.flipped))
        for one in report.blocks
    ]
    columns = ("block", "layers", "loss, nearest", "loss", "not nearest %")
    return Table("Quantised block by block, without finetuning", columns, tuple(rows))


def _classes(report: Report) -> tuple[Table, ...]:
    rows = tuple((str(one.index), one.name) for one in report.classes)
    return (Table("Classes of the data, by the index of the model's output", ("index", "class"), rows),) if rows else ()


def _provenance(report: Report) -> Table:
    return Table("Where it comes from", ("what", "value"), tuple(report.provenance.items()))
