"""``snnq.report``: a packed folder as numbers, and as a page."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from snnq.assessing.imc import imc_report
from snnq.base.errors import PackedError
from snnq.base.progress import Progress, silent
from snnq.base.version import __version__
from snnq.cost.energy import products_record
from snnq.cost.quantities import declared
from snnq.cost.table import read_table
from snnq.hardware.crossbars.chosen import Arrays
from snnq.models.registry import attention_table
from snnq.network.products import Products
from snnq.packed.coding import read_layer
from snnq.packed.config import MODEL_FILE, PLAN_FILE, REPORT_FILE, read_config
from snnq.packed.loading import as_tensors
from snnq.packed.opening import open_tensors
from snnq.packed.verification import verify
from snnq.packing.record import FrontPlan, Measurements, Results, SplitScores, read_results
from snnq.plan import Plan
from snnq.plan.files import read_json
from snnq.plan.plan import parse_plan
from snnq.plan.records import CostTableInfo
from snnq.plan.verdict import verdict as compared
from snnq.plan.views import weights_words
from snnq.reporting import costs, differences, sentences
from snnq.reporting.adapted import adapter_row
from snnq.reporting.array_summary import summary_of
from snnq.reporting.cost_records import FrontPoint
from snnq.reporting.costs import dynamics, event_energies, exits_now, firing_rows, measure_now, model_rows, simulate_now
from snnq.reporting.glossary import formulas
from snnq.reporting.records import (
    REPORT_SCHEMA,
    Accuracy,
    BlockRow,
    ClassRow,
    Disk,
    DiskPart,
    Histogram,
    Level,
    Levels,
    Report,
    Search,
    SearchEpoch,
)
from snnq.schemes.format import Stored
from snnq.schemes.names import FLOAT32
from snnq.schemes.scheme import scheme

if TYPE_CHECKING:
    from snnq.training.devices import Compute

# Over a layer's channels, of a level's value.
PERCENTILES = (0.1, 0.5, 0.9)


def report(
    folder: str | Path = "packed",
    *,
    cost_table: str | None = None,
    weight_reuse: str | None = None,
    measure: int | None = None,
    accel: str | Path | Sequence[str | Path] | None = None,
    exit_entropy: float | str | None = None,
    exit_loss: float = 0.5,
    imc: str | Path | None = None,
    adapter: str | Path | None = None,
    data: str | None = None,
    compute: Compute | str = "auto",
    progress: Progress = silent,
) -> Report:
    """Return everything that is known about a packed folder; nothing is written.

    The folder is verified first, so that what is said about the plan is true of the file. Storage is in bits, energy
    in pJ per time step and sample by the paper's model (docs/method.md §3), costed with ``cost_table`` (a name or a
    path; default: the one the plan names). The event model's, per inference and sample, is of the activity that
    finalize measured, or of ``measure`` validation samples of ``data`` (default: the plan's) that are run now on
    ``compute`` (a device, or a ``Compute`` with threads); weights are fetched as ``weight_reuse`` says
    (``snnq.cost.events``; default: as the cost table says). ``accel``: machines that are simulated on a few validation
    samples now, as ``snnq.accel`` does. ``imc``: a target of analog arrays, as ``snnq.imc_report`` takes one.
    ``exit_entropy`` and ``exit_loss``: dynamic time steps are run on the test split now, as ``snnq.eval`` does.
    ``adapter``: a side file of the folder, told of beside it.

    Raises PackedError for a folder that is missing or damaged, VerificationError for one that does not hold what its
    plan says, PlanError, CostTableError, MachineError, DataError and UsageError.
    """
    opened = _open(Path(folder), cost_table)
    beside = adapter_row(opened.folder, adapter, opened.disk.file_bytes) if adapter is not None else None
    simulation = simulate_now(opened.folder, accel, data, compute, progress) if accel is not None else None
    exits = None
    if exit_entropy is not None:
        priced = (cost_table, weight_reuse)
        exits = exits_now(opened.folder, exit_entropy, exit_loss, *priced, data, compute, progress)
    arrays = None if imc is None else summary_of(imc_report(opened.folder, Arrays(target=imc)))
    measured = opened.results.activity
    if measure is not None:
        measured = measure_now(opened.folder, measure, data, compute, progress)
    found = _report(opened, measured, weight_reuse)
    return replace(found, simulation=simulation, exits=exits, arrays=arrays, adapter=beside)


@dataclass(frozen=True)
class _Opened:
    """A verified folder: its plan, and the cost table that plan.json names; what was recorded; its files' sha256."""

    folder: Path
    plan: Plan
    recorded: CostTableInfo
    results: Results
    disk: Disk
    hashes: dict[str, str]


def _open(folder: Path, cost_table: str | None) -> _Opened:
    results = read_results(folder)
    disk, hashes = _disk(folder)
    recorded = parse_plan(read_json(folder / PLAN_FILE), str(folder / PLAN_FILE)).cost_table
    plan = Plan.read(folder / PLAN_FILE, read_table(cost_table) if cost_table else None)
    check_layers(plan, results, folder)
    return _Opened(folder, plan, recorded, results, disk, hashes)


def _report(opened: _Opened, measured: Measurements | None, weight_reuse: str | None) -> Report:
    """Return everything but what was run for the report alone."""
    folder, plan, results, table = opened.folder, opened.plan, opened.results, costs.table_of(opened.plan)
    floats, plans = costs.everywhere(plan, FLOAT32), costs.plan_rows(plan)
    layers, products, firing = costs.layer_rows(plan, floats), _products(plan), firing_rows(measured)
    events = event_energies(plan, products, measured, table, weight_reuse, _trained_budget(results))
    totals, tool = costs.totals(plan, floats, opened.disk.file_bytes), f"snnq {__version__}"
    return Report(
        schema_version=REPORT_SCHEMA,
        tool=tool,
        folder=str(folder),
        verdict=sentences.verdict(results, totals, plans),
        energy_model=sentences.energy_model(table),
        formulas=formulas(table),
        notes=sentences.notes(plan, results, layers, opened.recorded),
        **_accuracies(plan, results),
        totals=totals,
        plans=plans,
        plan_weights=weights_words(plan),
        comparison=compared(plan) or "No search scored the simple plans beside this one.",
        front=tuple(_front_point(point) for point in results.front or ()),
        groups=costs.group_parts(plan, floats),
        attention=costs.attention_parts(plan, floats),
        layers=layers,
        energies=model_rows(totals, events),
        event_energy=events,
        dynamics=dynamics(firing),
        firing=firing,
        attention_products=products_record(products, table),
        disk=opened.disk,
        search=_search(plan, results),
        best_epoch=results.finalize.best_epoch if results.finalize else None,
        finetuning=results.finalize.history if results.finalize else (),
        blocks=_blocks(plan, results),
        histograms=tuple(Histogram(name, **results.weights[name].named()) for name in plan.schemes()),
        levels=measure_levels(folder, list(plan.schemes())),
        provenance=sentences.provenance(plan, results, opened.hashes, tool),
        commands=sentences.commands(plan, results, folder),
    )


def _trained_budget(results: Results) -> dict[str, float]:
    """Return the limits that finetuning was asked to keep."""
    more = (results.finalize.model_extra or {}) if results.finalize else {}
    return more.get("budget") or {}


def _accuracies(plan: Plan, results: Results) -> dict[str, Any]:
    """Return the fields of a report that are of the data and the accuracies on them."""
    found = results.accuracy
    return {
        "simulated": found.simulated,
        "measured": found.what,
        "validation_samples": found.validation_samples,
        "test_samples": found.test_samples,
        "classes": tuple(ClassRow(name, index) for index, name in enumerate(plan.data.classes if plan.data else ())),
        "accuracy": (
            _accuracy("float", "the checkpoint as given", found.float_model),
            _accuracy(costs.THIS_PLAN, sentences.made(results), found.plan),
        ),
        "tested": differences.tested_sentence(results),
        "paired": differences.paired_rows(plan, results),
    }


def _disk(folder: Path) -> tuple[Disk, dict[str, str]]:
    """Return where the bits of the weights file go, and the files' sha256 by name, after verifying the folder."""
    found = verify(folder)
    parts = tuple(DiskPart(kind.replace("_", " "), bits) for kind, bits in found.sizes.overhead.items())
    overhead, bits = sum(part.bits for part in parts), sum(layer.bits_in_plan for layer in found.layers)
    size, weights = (folder / MODEL_FILE).stat().st_size, found.sizes.weights
    disk = Disk(MODEL_FILE, bits, weights, parts, overhead, size, 8 * size / (weights + overhead))
    return disk, dict(found.sha256)


def check_layers(plan: Plan, results: Results, folder: Path) -> None:
    """Raise PackedError unless report.json speaks of exactly the plan's layers and the model's attentions."""
    layers, attentions = set(plan.schemes()), {one.name for one in _products(plan)}
    parts = [("weights", set(results.weights), layers)]
    for i, one in enumerate(results.search or ()):
        parts.append((f"search.{i}.rates", layers | set(one.rates), layers))  # not all layers are trained to a rate
        parts += [] if one.rates else [(f"search.{i}.probabilities", set(one.probabilities), layers)]
    recorded = results.activity
    for model, activity in (("plan", recorded.plan), ("float", recorded.float_model)) if recorded else ():
        if activity:
            parts.append((f"activity.{model}.layers", {one.name for one in activity.layers}, layers))
            parts.append((f"activity.{model}.attentions", {one.name for one in activity.attentions}, attentions))
    for part, found, due in parts:
        for name in sorted(found ^ due):
            where = "is missing" if name in due else "is not in the plan"
            what = "attention" if due is attentions else "layer"
            raise PackedError(
                f"{folder / REPORT_FILE}: {part}: {what} '{name}' {where}",
                f"check the folder: snnq verify {shlex.quote(str(folder))}",
            )


def _products(plan: Plan) -> tuple[Products, ...]:
    return attention_table(plan.model.architecture, plan.model.config)


def _accuracy(model: str, what: str, scores: SplitScores) -> Accuracy:
    losses = (scores.validation, scores.validation_loss, scores.test, scores.test_loss)
    return Accuracy(model, what, *losses, scores.validation_per_video, scores.test_per_video)


def _front_point(one: FrontPlan) -> FrontPoint:
    """Return a plan of the recorded front; it knows the quantities that were declared when the search ran."""
    costs = {key: getattr(one, key, None) for quantity in declared() for key in quantity.ratios}
    return FrontPoint(costs, one.predicted_loss, one.validation_loss, one.validation_accuracy)


def _blocks(plan: Plan, results: Results) -> tuple[BlockRow, ...]:
    weights, rows = {layer.name: layer.weights for layer in plan.layer_table()}, []
    for one in results.ptq.blocks if results.ptq else ():
        flipped = sum(layer.flipped * weights[name] for name, layer in one.layers.items())
        share = flipped / max(1, sum(weights[name] for name in one.layers))
        rows.append(BlockRow(one.block, len(one.layers), one.loss_nearest, one.loss, share))
    return tuple(rows)


def _search(plan: Plan, results: Results) -> Search:
    epochs = results.search or ()
    searched = plan.search.space if plan.search else ()
    space = epochs[0].space or searched if epochs else searched
    rows = tuple(SearchEpoch(one.epoch, one.bits, one.decided, one.probabilities, one.rates) for one in epochs)
    return Search(sentences.search_sentence(plan, results), space, rows)


def measure_levels(folder: Path, names: Sequence[str]) -> tuple[Levels, ...]:
    """Return the levels of every quantised layer of a folder, in the order of ``names``; raises PackedError."""
    config = read_config(folder)
    file, found = open_tensors(folder, config), []
    for name in names:
        layer = config.layers[name]
        if layer.family != FLOAT32:
            levels = levels_of(layer.scheme, read_layer(name, layer, file))
            found.append(Levels(name, layer.scheme, layer.shape[0], levels))
    return tuple(found)


def levels_of(name: str, stored: Stored) -> tuple[Level, ...]:
    """Return a layer's levels from its codes (out, n) and parameters (out, 1), ascending."""
    one = scheme(name)
    grid = one.grid(as_tensors(stored.params)).double()  # (out, levels)
    low, middle, high = torch.quantile(grid, torch.tensor(PERCENTILES, dtype=grid.dtype), dim=0).tolist()
    # Which level each code stands for is the same at every scale; at scale 1 none of them vanishes in float32.
    unit = {key: torch.full((1, 1), value) for key, value in one.format.parameters.items()}
    valid = torch.from_numpy(one.valid_codes)
    values, order = one.decode(valid.view(1, -1), unit)[0], one.grid(unit)[0]
    place = (values[:, None] == order).int().argmax(1)
    counts = torch.from_numpy(np.bincount(stored.codes.ravel(), minlength=256))[valid]
    shares = torch.zeros(grid.shape[1], dtype=torch.int64).index_add_(0, place, counts).double() / stored.codes.size
    return tuple(Level(*facts) for facts in zip(middle, low, high, shares.tolist(), strict=True))
