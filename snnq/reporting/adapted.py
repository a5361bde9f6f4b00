"""What adapters know, and what they cost, as tables and sentences: of one that was made, or of several."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from snnq.assessing.adapter_costs import adapter_macs
from snnq.assessing.adapter_scores import Scored
from snnq.base.strict_json import Json
from snnq.packed.adapter import AdapterFacts, check_bound, read_adapter
from snnq.packed.adapter_sites import adapter_sites
from snnq.plan.views import per_cent
from snnq.reporting.records import AdapterRow
from snnq.reporting.table import Table

SECTION = "adapter"
OVERLAP = "The folder was trained on these data: their classes were not new to it, and this shows nothing."
METRICS = {
    "final_average_accuracy": "final average accuracy A_N",
    "average_incremental_accuracy": "average incremental accuracy",
    "forgetting": "forgetting, largest − final",
    "forgetting_by_step": "forgetting, step to step F_N",
}


def fitted_tables(facts: AdapterFacts, macs: Json) -> tuple[Table, ...]:
    """Return what is known of every task after each, the metrics, drift and use of prompts, and what it costs."""
    found = [
        _matrix(facts),
        metrics_table(facts.known.metrics()),
        inference_table(macs),
        _training_table(facts.training),
    ]
    if facts.drift:
        found.append(_drift_table(facts))
    if facts.usage:
        found.append(_usage_table(facts))
    return tuple(found)


def _matrix(facts: AdapterFacts) -> Table:
    """Return the accuracies on each task after the last one and just after it was learned."""
    known, begin, rows = facts.known, 0, []
    for task, count in enumerate(facts.tasks):
        names = ", ".join(facts.classes[begin : begin + count])
        one, two = known.class_incremental, known.task_incremental
        cells = (one[task][task], one[-1][task], two[task][task], two[-1][task])
        shown = names if len(names) <= 20 else f"{names[:19]}…"
        rows.append((str(task + 1), shown, str(known.samples[task]), *map(per_cent, cells)))
        begin += count
    columns = ("task", "classes", "samples", "then %", "at last %", "told: then %", "at last %")
    title = "Accuracy on each task's test samples, once learned and at last; told: which task"
    return Table(title, columns, tuple(rows), SECTION)


def metrics_table(metrics: Json) -> Table:
    """Return the metrics by name, in per cent, for both ways to choose a class."""
    rows = [
        (name, *(_points(metrics[way][key]) for way in ("class_incremental", "task_incremental")))
        for key, name in METRICS.items()
    ]
    return Table("Over all tasks, %", ("metric", "class-incremental", "task-incremental"), tuple(rows), SECTION)


def _points(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"


def inference_table(macs: Json) -> Table:
    """Return what an inference with an adapter takes, in multiply-accumulates."""
    rows = (
        ("all", _millions(macs["all_macs"])),
        ("the folder's layers, another head", _millions(macs["backbone"] + macs["adapted_head"])),
        ("prompts", _millions(macs["prompts"])),
        ("a frozen pass before", _millions(macs["frozen_pass"])),
        ("times the folder alone", f"{macs['of_one_pass']:.3f}"),
    )
    return Table("An inference, million multiply-accumulates, silent inputs counted", ("what", "M"), rows, SECTION)


def _training_table(training: Json) -> Table:
    rows = (
        ("all epochs", _millions(training["sample"])),
        ("forwards, each epoch", _millions(training["forwards"])),
        ("backwards, each epoch", _millions(training["backwards"])),
        ("frozen models, once", _millions(training["once"])),
    )
    return Table("Learning, million multiply-accumulates a sample", ("what", "M"), rows, SECTION)


def _millions(amount: int) -> str:
    return f"{amount / 1e6:,.3f}"


def _drift_table(facts: AdapterFacts) -> Table:
    rows = [
        (one.module, f"{one.from_first[-1]:.4f}", f"{max(one.from_first):.4f}", f"{one.from_frozen[-1]:.4f}")
        for one in facts.drift
    ]
    columns = ("attention", "from task 1, at last", "at most", "from the frozen model")
    return Table("Drift of queries on the first task's samples: mean cosine distance", columns, tuple(rows), SECTION)


def _usage_table(facts: AdapterFacts) -> Table:
    """Return for each prompted attention how much of the weight each task puts on the slot that it uses most."""
    rows = []
    for one in facts.usage:
        for task, weights in enumerate(one.weights):
            whole = sum(weights)
            most = max(range(len(weights)), key=lambda m, weights=weights: weights[m])
            share = weights[most] / whole if whole else 0.0
            rows.append(
                (one.module, str(task + 1), str(len(weights)), str(most), per_cent(share), per_cent(one.density))
            )
    columns = ("attention", "task", "slots", "most used", "its share %", "spikes %")
    return Table("Which prompts are used, and how many of their entries are spikes", columns, tuple(rows), SECTION)


def fitted_notes(facts: AdapterFacts, size: int, model: int) -> tuple[str, ...]:
    """Return what to know of an adapter."""
    said = [
        f"An adapter of {size:,} bytes, {100 * size / model:.2f} % of model.safetensors, knows {len(facts.classes)} "
        f"classes of {facts.data}. The packed folder is what it was."
    ]
    if facts.method == "full":
        said.append("Method full is there to compare: all float weights, on torch alone, and no codes left.")
    if facts.overlap:
        said.append(OVERLAP)
    if facts.simulated:
        said.append(f"The data ({facts.data.partition(':')[0]}) are events simulated from images, not recordings.")
    return tuple(said)


def evaluation_tables(found: Sequence[Scored], summary: Json) -> tuple[Table, ...]:
    """Return adapters side by side, what they cost, and the metrics over those of each method."""
    know = [
        (
            one.path,
            one.method,
            str(one.order),
            per_cent(one.accuracy),
            _mean(one.class_incremental),
            _mean(one.task_incremental),
        )
        for one in found
    ]
    cost = [
        (
            one.path,
            f"{one.bytes:,}",
            f"{one.macs['all_macs'] / 1e6:,.2f}",
            _thousands(one.synaptic_operations),
            _thousands(one.backbone_operations),
            _shown(one.milliseconds),
            _shown(one.backbone_milliseconds),
        )
        for one in found
    ]
    columns = ("adapter", "bytes", "MMACs", "k syn. ops", "alone", "ms", "alone")
    return (
        Table(
            "Adapters on the test split: all samples alike, and the mean over tasks",
            ("adapter", "method", "order", "all %", "A_N %", "told the task %"),
            tuple(know),
            SECTION,
        ),
        Table("An inference, beside the folder alone: events, and the engine's time", columns, tuple(cost), SECTION),
        *_summaries(summary),
    )


def _summaries(summary: Json) -> Iterable[Table]:
    rows = [
        (
            method,
            name,
            str(one["adapters"]),
            *(_plus_minus(one[way][key]) for way in ("class_incremental", "task_incremental")),
        )
        for method, one in summary.items()
        for key, name in METRICS.items()
    ]
    columns = ("method", "metric", "n", "class-incremental", "task-incremental")
    yield Table("As they learned, mean ± standard deviation over adapters, %", columns, tuple(rows), SECTION)


def _plus_minus(one: Mapping[str, float | None]) -> str:
    mean, deviation = one["mean"], one["deviation"]
    if mean is None:
        return "-"
    return f"{100 * mean:.2f}" + ("" if deviation is None else f" ± {100 * deviation:.2f}")


def _mean(values: Sequence[float]) -> str:
    return per_cent(sum(values) / len(values))


def _thousands(value: float | None) -> str:
    return "-" if value is None else f"{value / 1e3:,.1f}"


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:,.2f}"


def evaluation_notes(found: Sequence[Scored]) -> tuple[str, ...]:
    """Return what to know before comparing adapters."""
    orders = {one.order for one in found}
    said = ["Synaptic operations: layers and attentions, on real samples. Times: this machine, one sample at a time."]
    if len(orders) < 3:
        said.append("One order of the classes tells little: fit --order 0, 1 and 2, and evaluate them together.")
    if any(one.overlap for one in found):
        said.append("Some learned data that the folder was trained on: their classes are not new to it.")
    if any(one.simulated for one in found):
        said.append("The data are events simulated from images, not recordings.")
    return tuple(said)


def adapter_row(folder: Path, file: str | Path, file_bytes: int) -> AdapterRow:
    """Return what a report says of an adapter; raises as reading it does, VerificationError for another folder's."""
    found = read_adapter(file)
    check_bound(folder, found)
    if found.facts.method != "full":
        adapter_sites(folder, found)
    facts, metrics = found.facts, found.facts.known.metrics()
    return AdapterRow(
        path=str(found.path),
        method=facts.method,
        adapter_bytes=found.bytes,
        adapter_fraction=found.bytes / file_bytes,
        learned=facts.classes,
        tasks=facts.tasks,
        learned_from=facts.data,
        class_incremental=metrics["class_incremental"],
        task_incremental=metrics["task_incremental"],
        macs=adapter_macs(folder, found),
        overlap=facts.overlap,
    )


def report_tables(one: AdapterRow) -> tuple[Table, ...]:
    """Return a report's tables of an adapter."""
    return (
        metrics_table({"class_incremental": one.class_incremental, "task_incremental": one.task_incremental}),
        inference_table(one.macs),
    )


def report_notes(one: AdapterRow) -> tuple[str, ...]:
    """Return a report's sentences of an adapter."""
    tasks = f"{len(one.tasks)} tasks" if len(one.tasks) > 1 else "one task"
    said = (
        f"{one.path} ({one.method}, {one.adapter_bytes:,} bytes, {per_cent(one.adapter_fraction)} % of the weights) "
        f"knows {len(one.learned)} classes of {one.learned_from}, learned in {tasks}: {_listed(one.learned)}.",
    )
    return (*said, OVERLAP) if one.overlap else said


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 12 else ", ".join((*names[:12], "…"))
