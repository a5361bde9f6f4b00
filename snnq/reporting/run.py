"""``snnq.report``: a packed folder as numbers, and as a page."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from snnq import __version__
from snnq.cost.table import read_table
from snnq.errors import PackedError, UsageError
from snnq.packed.config import PAGE_FILE, PLAN_FILE, REPORT_FILE
from snnq.plan import Plan
from snnq.plan.files import read_json
from snnq.plan.plan import parse_plan
from snnq.plan.verdict import verdict as compared
from snnq.reporting import costs, sentences
from snnq.reporting.disk import measure
from snnq.reporting.glossary import formulas
from snnq.reporting.levels import measure_levels
from snnq.reporting.records import (
    REPORT_SCHEMA,
    Accuracy,
    FinetuneEpoch,
    FrontPoint,
    Histogram,
    Report,
    Search,
    SearchEpoch,
)
from snnq.reporting.results import Results, Scores, read_results

__all__ = ["PAGE_FILE", "Report", "report", "write_html"]


def report(folder: str | Path = "packed", *, cost_table: str | None = None) -> Report:
    """Return everything that is known about a packed folder; nothing is written.

    The folder is verified first, so that what is said about the plan is true of the file. Storage is in bits, energy
    in pJ per time step and sample by the paper's model (METHOD §3), costed with ``cost_table`` (a name or a path;
    default: the one the plan names). Raises PackedError for a folder that is missing or damaged, VerificationError for
    one that does not hold what its plan says, PlanError and CostTableError.
    """
    folder = Path(folder)
    results = read_results(folder)
    disk, hashes = measure(folder)
    recorded = parse_plan(read_json(folder / PLAN_FILE), str(folder / PLAN_FILE)).cost_table
    plan = Plan.read(folder / PLAN_FILE, read_table(cost_table) if cost_table else None)
    check_layers(plan, results, folder)
    table = read_table(Path(plan.cost_table.source) if plan.cost_table.source else plan.cost_table.name)
    floats, plans = costs.floats_of(plan), costs.plan_rows(plan)
    layers = costs.layer_rows(plan, floats)
    totals, tool = costs.totals(plan, floats), f"snnq {__version__}"
    return Report(
        schema_version=REPORT_SCHEMA,
        tool=tool,
        folder=str(folder),
        verdict=sentences.verdict(results, totals, plans),
        energy_model=sentences.energy_model(table),
        formulas=formulas(table),
        notes=sentences.notes(plan, results, layers, recorded),
        simulated=results.accuracy.simulated,
        validation_samples=results.accuracy.validation_samples,
        test_samples=results.accuracy.test_samples,
        accuracy=(
            _accuracy("float", "the checkpoint as given", results.accuracy.float_model),
            _accuracy(costs.THIS_PLAN, "finetuned and packed", results.accuracy.plan),
        ),
        totals=totals,
        plans=plans,
        comparison=compared(plan) or "No search scored the simple plans beside this one.",
        front=tuple(FrontPoint(**dict(point)) for point in results.front or ()),
        groups=costs.group_parts(plan, floats),
        attention=costs.attention_parts(plan, floats),
        layers=layers,
        disk=disk,
        search=_search(plan, results),
        best_epoch=results.finalize.best_epoch,
        finetuning=tuple(FinetuneEpoch(**dict(epoch)) for epoch in results.finalize.history),
        histograms=tuple(Histogram(name, **dict(results.weights[name])) for name in plan.schemes()),
        levels=measure_levels(folder, list(plan.schemes())),
        provenance=sentences.provenance(plan, results, hashes, tool),
        commands=sentences.commands(plan, results, folder),
    )


def write_html(found: Report, path: str | Path) -> None:
    """Write the report as one self-contained HTML page: to a temporary name, then renamed. Raises UsageError."""
    from snnq.reporting.page import html_page

    write_page(html_page(found), path)


def write_page(text: str, path: str | Path) -> None:
    """Write a page to a temporary name, then rename it. Raises UsageError."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8", newline="\n")
        os.replace(temporary, path)
    except OSError as problem:
        temporary.unlink(missing_ok=True)
        raise UsageError(f"{path}: cannot write the page ({problem.strerror})", "choose another place: --out") from None


def check_layers(plan: Plan, results: Results, folder: Path) -> None:
    """Raise PackedError unless report.json speaks of exactly the plan's layers."""
    names = plan.schemes()
    parts = {"weights": set(results.weights)}
    parts |= {f"search.{i}.probabilities": set(one.probabilities) for i, one in enumerate(results.search or ())}
    for part, found in parts.items():
        for name in sorted(found ^ names.keys()):
            where = "is missing" if name in names else "is not in the plan"
            raise PackedError(
                f"{folder / REPORT_FILE}: {part}: layer '{name}' {where}",
                f"check the folder: snnq verify {shlex.quote(str(folder))}",
            )


def _accuracy(model: str, what: str, scores: Scores) -> Accuracy:
    return Accuracy(model, what, scores.validation, scores.validation_loss, scores.test, scores.test_loss)


def _search(plan: Plan, results: Results) -> Search:
    epochs = results.search or ()
    space = epochs[0].space if epochs else plan.search.space if plan.search else ()
    rows = tuple(SearchEpoch(one.epoch, one.bits, one.decided, one.probabilities) for one in epochs)
    return Search(sentences.search_sentence(plan, results), space, rows)
