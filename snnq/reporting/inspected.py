"""A float checkpoint as a document: where its bits and picojoules are before anything is done."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from snnq.base.strict_json import Json
from snnq.checkpoints.inspecting import FACT_COLUMNS, Inspection
from snnq.cost.quantities import ENERGY, STORAGE, Amount, Quantity, known, share_of
from snnq.cost.rate_card import NeuronRates, RateCard
from snnq.cost.table import CostTable, read_table
from snnq.network import products
from snnq.network.graph import Graph
from snnq.plan import ModelInfo, Plan, make_plan
from snnq.plan.views import per_cent
from snnq.reporting import costs
from snnq.reporting.cost_records import LayerRow, PartCosts, PlanRow
from snnq.reporting.cost_tables import cost_rows, layer_cells, layer_columns, remark
from snnq.reporting.figures.bars import amounts
from snnq.reporting.figures.network import network_figure
from snnq.reporting.figures.strip import layer_strip
from snnq.reporting.figures.weights import float_panel
from snnq.reporting.formats import Document, Figure
from snnq.reporting.graph_table import graph_table
from snnq.reporting.records import Histogram
from snnq.reporting.sentences import energy_model
from snnq.reporting.table import Table
from snnq.reporting.tables import inputs_table
from snnq.schemes.names import FLOAT32

BINS = 61
# What stands in the tables; further quantities are in the figures and the data.
MAIN = (STORAGE, ENERGY)


def inspection_document(found: Inspection, table: CostTable | None = None) -> Document:
    """Return an inspected checkpoint with the costs of its float32 weights and of simple plans; nothing is trained."""
    table = table or read_table()
    plan = _float_plan(found, table)
    layers, groups = costs.layer_rows(plan, plan), costs.group_parts(plan, plan)
    attention, plans = costs.attention_parts(plan, plan), costs.plan_rows(plan)[1:]
    histograms, label = _histograms(found), remark(MAIN, table.name)
    return Document(
        title=f"{found.checkpoint.path}: {found.checkpoint.architecture} in float32",
        verdict=_verdict(plan, groups),
        notes=(energy_model(table),),
        tables=(
            Table("Checkpoint", FACT_COLUMNS, tuple(found.fact_rows())),
            _parts(f"Groups{label}", "group", groups, found),
            *([_parts(f"Attention linears, all blocks{label}", "linear", attention, found)] if attention else []),
            inputs_table("Layers", found.layers),
            *_attentions(found),
            _layer_costs(layers, found),
            *([graph_table(found.graph, found.wiring, found.spikes)] if found.graph else []),
            *([_rates(found.rates)] if found.rates else []),
            _plans(plans),
        ),
        figures=(
            *(_bars(one, groups) for one in plan.quantities),
            Figure("Storage and energy of each layer", layer_strip("Storage and energy of each layer", layers)),
            _plan_bars(plans),
            *([_network(found.graph)] if found.graph else []),
            *(Figure(one.layer, float_panel(one), small=True) for one in histograms),
        ),
        data=_data(found, plan, layers, groups, plans, histograms),
        panels="Weights of each layer",
    )


def _float_plan(found: Inspection, table: CostTable) -> Plan:
    one = found.checkpoint
    info = ModelInfo(architecture=one.architecture, layout=one.layout, config=dict(one.config))
    return make_plan(found.layers, {layer.name: FLOAT32 for layer in found.layers}, model=info, table=table)


def _verdict(plan: Plan, groups: Sequence[PartCosts]) -> str:
    own = plan.totals
    largest, dearest = (max(groups, key=lambda part: part.costs[one.key]) for one in (STORAGE, ENERGY))
    return (
        f"{own.weights:,} weights in {len(plan.layers)} layers: {STORAGE.short(own.storage_bits)} and "
        f"{ENERGY.short(own.energy_pj)} per time step and sample in float32. {largest.name} takes most storage "
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


def _parts(title: str, column: str, parts: Sequence[PartCosts], found: Inspection) -> Table:
    macs = {part.name: 0 for part in parts}
    for layer in found.layers:
        key = layer.group if column == "group" else layer.name.rpartition(".")[2]
        if key in macs and (column == "group" or layer.group == "attention"):
            macs[key] += layer.macs
    rows = [(part.name, f"{part.weights:,}", *_with_macs(layer_cells(part, MAIN), macs[part.name])) for part in parts]
    return Table(title, (column, "weights", *_with_macs(layer_columns(MAIN), "MACs M")), tuple(rows))


def _with_macs(cells: list[str], macs: int | str) -> list[str]:
    """Return cells of costs with the MACs, in millions, between storage and what arithmetic costs."""
    return [*cells[:2], macs if isinstance(macs, str) else f"{macs / 1e6:,.3f}", *cells[2:]]


def _rates(card: RateCard) -> Table:
    title = f"Firing rates on {card.samples} training samples of {card.data}: spikes a neuron and step"
    columns = ("neurons behind", "neurons", "mean", "least step", "greatest")
    rows = [
        (one.name, f"{one.neurons:,}", *(f"{rate:.4f}" for rate in (sum(one.rates) / len(one.rates), *ends(one))))
        for one in card.neurons
    ]
    return Table(title, columns, tuple(rows))


def ends(one: NeuronRates) -> tuple[float, float]:
    """Return the least and the greatest rate of a step."""
    return min(one.rates), max(one.rates)


def _attentions(found: Inspection) -> tuple[Table, ...]:
    rows = tuple(products.rows(found.attentions))
    return (Table(products.TITLE, products.COLUMNS, rows),) if rows else ()


def _layer_costs(layers: Sequence[LayerRow], found: Inspection) -> Table:
    rows = [
        (row.name, *_with_macs(layer_cells(row, MAIN), layer.macs))
        for row, layer in zip(layers, found.layers, strict=True)
    ]
    title = f"Where bits and picojoules are, in float32{remark(MAIN)}"
    return Table(title, ("layer", *_with_macs(layer_columns(MAIN), "MACs M")), tuple(rows))


def _plans(plans: Sequence[PlanRow]) -> Table:
    columns, rows = cost_rows({row.plan: row.costs for row in plans}, MAIN, amounts=True)
    models = "".join(f"; {one.column}: {one.model}" for one in MAIN if one.model)
    title = f"What simple plans would cost{models}; % of float32"
    return Table(title, ("every layer", *columns), tuple(map(tuple, rows)))


def _bars(one: Quantity, groups: Sequence[PartCosts]) -> Figure:
    values = [float(part.costs[one.key]) for part in groups]
    shares = [
        f"{part.name} {100 * share_of(value, sum(values)):.1f} %" for part, value in zip(groups, values, strict=True)
    ]
    caption = f"{one.name.capitalize()} by group" + (f", {one.per}" if one.per else "")
    return Figure(caption, amounts(caption, shares, {f"float32: {one.short(sum(values))}": values}, columns=2))


def _network(graph: Graph) -> Figure:
    caption = "The network: a row an operation, an arc a stream that is read further down; thick lines are potentials"
    return Figure(caption, network_figure(caption, graph))


def _plan_bars(plans: Sequence[PlanRow]) -> Figure:
    caption, whole = f"Energy of simple plans: {ENERGY.counted}", plans[0]
    rows = {}
    for row in plans:
        words = [one.short(row.costs[one.key], whole.costs[one.key]) for one in (ENERGY, STORAGE)]
        rows[f"{row.plan}: {', '.join(words)}"] = [row.energy_pj]
    return Figure(caption, amounts(caption, ["energy"], rows))


def _data(
    found: Inspection,
    plan: Plan,
    layers: Sequence[LayerRow],
    groups: Sequence[PartCosts],
    plans: Sequence[PlanRow],
    histograms: Sequence[Histogram],
) -> Json:
    """Return what ``Inspection`` says, with costs in bits and pJ beside weights and MACs."""
    data = found.to_dict()
    data["cost_table"] = plan.cost_table.name
    data["totals"] = {**data["totals"], **{one.key: getattr(plan.totals, one.key) for one in plan.quantities}}
    for one in groups:
        data["groups"][one.name] |= _costs(one)
    data["layers"] = [{**entry, **_costs(row)} for entry, row in zip(data["layers"], layers, strict=True)]
    data["plans"] = [{"plan": row.plan, **row.costs} for row in plans]
    data["histograms"] = [
        {"layer": one.layer, "low": one.low, "high": one.high, "counts": list(one.before), "zeros": one.zeros_before}
        for one in histograms
    ]
    return data


def _costs(one: PartCosts | LayerRow) -> dict[str, Amount]:
    return {key: one.costs[key] for quantity in known(one.costs) for key in (quantity.key, quantity.share)}
