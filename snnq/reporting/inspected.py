"""A float checkpoint as a document: where its bits and picojoules are before anything is done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from snnq.checkpoints.inspecting import FACT_COLUMNS, Inspection
from snnq.cost.table import CostTable, read_table
from snnq.network import products
from snnq.plan import ModelInfo, Plan, make_plan
from snnq.plan.views import kib, per_cent
from snnq.reporting import costs
from snnq.reporting.documents import Document, Figure
from snnq.reporting.figures.matrix import amounts
from snnq.reporting.figures.strip import layer_strip
from snnq.reporting.figures.weights import float_panel
from snnq.reporting.records import Histogram, LayerRow, Part, PlanRow
from snnq.reporting.sentences import energy_model
from snnq.reporting.tables import Table
from snnq.reporting.text import energy, nanojoules, size
from snnq.schemes.names import FLOAT32

BINS = 61


def inspection_document(found: Inspection, table: CostTable | None = None) -> Document:
    """Return an inspected checkpoint with the costs of its float32 weights and of simple plans; nothing is trained."""
    table = table or read_table()
    plan = _float_plan(found, table)
    layers, groups = costs.layer_rows(plan, plan), costs.group_parts(plan, plan)
    attention, plans = costs.attention_parts(plan, plan), costs.plan_rows(plan)[1:]
    histograms, label = _histograms(found), f"paper's model, per time step and sample, {table.name}"
    return Document(
        title=f"{found.checkpoint.path}: {found.checkpoint.architecture} in float32",
        verdict=_verdict(plan, groups),
        notes=(energy_model(table),),
        tables=(
            Table("Checkpoint", FACT_COLUMNS, tuple(found.fact_rows())),
            _parts(f"Groups; nJ: {label}", "group", groups, found),
            *_parts_if(f"Attention linears, all blocks; nJ: {label}", "linear", attention, found),
            _layers(found),
            *_attentions(found),
            _layer_costs(layers, found),
            _plans(plans),
        ),
        figures=(
            _bars("Storage by group", "storage_bits", groups),
            _bars("Energy by group, per time step and sample", "energy_pj", groups),
            Figure("Storage and energy of each layer", layer_strip("Storage and energy of each layer", layers)),
            _plan_bars(plans),
            *(Figure(one.layer, float_panel(one), small=True) for one in histograms),
        ),
        data=_data(found, plan, layers, groups, plans, histograms),
        panels="Weights of each layer",
    )


def _float_plan(found: Inspection, table: CostTable) -> Plan:
    one = found.checkpoint
    info = ModelInfo(architecture=one.architecture, layout=one.layout, config=dict(one.config))
    return make_plan(found.layers, {layer.name: FLOAT32 for layer in found.layers}, model=info, table=table)


def _verdict(plan: Plan, groups: Sequence[Part]) -> str:
    own = plan.totals
    largest = max(groups, key=lambda part: part.storage_bits)
    dearest = max(groups, key=lambda part: part.energy_pj)
    return (
        f"{own.weights:,} weights in {len(plan.layers)} layers: {size(own.storage_bits)} and "
        f"{energy(own.energy_pj)} per time step and sample in float32. {largest.name} takes most storage "
        f"({per_cent(largest.storage_share)} %), {dearest.name} most energy ({per_cent(dearest.energy_share)} %)."
    )


def _histograms(found: Inspection) -> tuple[Histogram, ...]:
    """Return counts of every layer's weights in equal bins about zero; ``after`` is the same as ``before``."""
    records = []
    for layer in found.layers:
        values = found.checkpoint.state_dict[f"{layer.name}.weight"].detach().flatten().double()
        reach = max(float(values.abs().max()), 1e-12)
        counts = tuple(torch.histc(values, BINS, -reach, reach).to(torch.int64).tolist())
        zeros = float((values == 0).double().mean())
        records.append(Histogram(layer.name, -reach, reach, counts, counts, zeros, zeros))
    return tuple(records)


def _parts(title: str, column: str, parts: Sequence[Part], found: Inspection) -> Table:
    macs = {part.name: 0 for part in parts}
    for layer in found.layers:
        for key in (layer.group, layer.name.rpartition(".")[2]):
            if key in macs and (column == "group") == (key == layer.group):
                macs[key] += layer.macs
    rows = [
        (
            part.name,
            f"{part.weights:,}",
            kib(part.storage_bits),
            per_cent(part.storage_share),
            f"{macs[part.name] / 1e6:,.3f}",
            nanojoules(part.energy_pj),
            per_cent(part.energy_share),
        )
        for part in parts
    ]
    columns = (column, "weights", "KiB", "KiB %", "MACs M", "nJ", "nJ %")
    return Table(title, columns, tuple(rows))


def _layers(found: Inspection) -> Table:
    rows = [
        (layer.name, layer.group, layer.kind, "×".join(map(str, layer.shape)), f"{layer.weights:,}", layer.input)
        for layer in found.layers
    ]
    return Table("Layers", ("layer", "group", "kind", "shape", "weights", "input"), tuple(rows))


def _parts_if(title: str, column: str, parts: Sequence[Part], found: Inspection) -> tuple[Table, ...]:
    return (_parts(title, column, parts, found),) if parts else ()


def _attentions(found: Inspection) -> tuple[Table, ...]:
    rows = tuple(products.rows(found.attentions))
    return (Table(products.TITLE, products.COLUMNS, rows),) if rows else ()


def _layer_costs(layers: Sequence[LayerRow], found: Inspection) -> Table:
    rows = [
        (
            row.name,
            kib(row.storage_bits),
            per_cent(row.storage_share),
            f"{layer.macs / 1e6:,.3f}",
            nanojoules(row.energy_pj),
            per_cent(row.energy_share),
        )
        for row, layer in zip(layers, found.layers, strict=True)
    ]
    title = "Where bits and picojoules are, in float32; nJ: paper's model, per time step and sample"
    return Table(title, ("layer", "KiB", "KiB %", "MACs M", "nJ", "nJ %"), tuple(rows))


def _plans(plans: Sequence[PlanRow]) -> Table:
    rows = [
        (
            row.plan,
            f"{row.avg_bits:.3f}",
            kib(row.storage_bits),
            per_cent(row.storage_fraction),
            nanojoules(row.energy_pj),
            per_cent(row.energy_fraction),
        )
        for row in plans
    ]
    columns = ("every layer", "bits", "KiB", "KiB %", "nJ", "nJ %")
    return Table("What simple plans would cost; nJ: paper's model; % of float32", columns, tuple(rows))


def _bars(caption: str, key: str, groups: Sequence[Part]) -> Figure:
    values = [float(getattr(part, key)) for part in groups]
    whole = size(int(sum(values))) if key == "storage_bits" else energy(sum(values))
    shares = [
        f"{part.name} {100 * value / (sum(values) or 1):.1f} %" for part, value in zip(groups, values, strict=True)
    ]
    return Figure(caption, amounts(caption, shares, {f"float32: {whole}": values}, columns=2))


def _plan_bars(plans: Sequence[PlanRow]) -> Figure:
    caption, whole = "Energy of simple plans: paper's model, per time step and sample", plans[0]
    rows = {}
    for row in plans:
        costs_of = energy(row.energy_pj, whole.energy_pj), size(row.storage_bits, whole.storage_bits)
        rows[f"{row.plan}: {', '.join(costs_of)}"] = [row.energy_pj]
    return Figure(caption, amounts(caption, ["energy"], rows))


def _data(
    found: Inspection,
    plan: Plan,
    layers: Sequence[LayerRow],
    groups: Sequence[Part],
    plans: Sequence[PlanRow],
    histograms: Sequence[Histogram],
) -> dict[str, Any]:
    """Return what ``Inspection`` says, with costs in bits and pJ beside weights and MACs."""
    data = found.to_dict()
    data["cost_table"] = plan.cost_table.name
    own = {"storage_bits": plan.totals.storage_bits, "energy_pj": plan.totals.energy_pj}
    data["totals"] = {**data["totals"], **own}
    for one in groups:
        data["groups"][one.name] |= _costs(one)
    data["layers"] = [{**entry, **_costs(row)} for entry, row in zip(data["layers"], layers, strict=True)]
    keys = ("plan", "avg_bits", "storage_bits", "storage_fraction", "energy_pj", "energy_fraction")
    data["plans"] = [{key: getattr(row, key) for key in keys} for row in plans]
    data["histograms"] = [
        {"layer": one.layer, "low": one.low, "high": one.high, "counts": list(one.before), "zeros": one.zeros_before}
        for one in histograms
    ]
    return data


def _costs(one: Part | LayerRow) -> dict[str, Any]:
    keys = ("storage_bits", "storage_share", "energy_pj", "energy_share")
    return {key: getattr(one, key) for key in keys}
