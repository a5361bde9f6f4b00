"""A plan's costs beside the same model in float32 and in one scheme everywhere: in total, by part and by layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from snnq.cost.table import CostTable, read_table
from snnq.network.layers import GROUPS
from snnq.packed.sizes import file_bits
from snnq.plan import Plan
from snnq.plan.costing import bits_of, energy_of, share_of
from snnq.plan.measured import edited_layers
from snnq.plan.records import Baseline, SearchInfo
from snnq.reporting.records import LayerRow, Part, PlanRow, Totals
from snnq.schemes.names import FLOAT32
from snnq.schemes.scheme import scheme

THIS_PLAN = "this plan"


def table_of(plan: Plan) -> CostTable:
    """Return the cost table that the plan is costed with; raises CostTableError."""
    return read_table(Path(plan.cost_table.source) if plan.cost_table.source else plan.cost_table.name)


def everywhere(plan: Plan, scheme: str) -> Plan:
    """Return the plan with ``scheme`` in every layer, costed with the plan's own table."""
    return plan.with_schemes(dict.fromkeys(plan.schemes(), scheme))


def totals(plan: Plan, floats: Plan, file_bytes: int) -> Totals:
    """Return the plan's totals beside ``floats``, the same model in float32, and the bits of its packed file."""
    own = plan.totals
    return Totals(
        weights=own.weights,
        avg_bits=own.avg_bits,
        file_avg_bits=file_bits(file_bytes, own.weights),
        storage_bits=own.storage_bits,
        storage_bits_float=floats.totals.storage_bits,
        storage_fraction=own.storage_fraction,
        compression=own.compression,
        energy_pj=own.energy_pj,
        energy_pj_float=floats.totals.energy_pj,
        energy_fraction=own.energy_fraction,
    )


def plan_rows(plan: Plan) -> tuple[PlanRow, ...]:
    """Return the plan and its baselines; accuracies and losses are those the search measured, before finetuning."""
    rows: list[tuple[str, Plan, SearchInfo | Baseline | None]] = [(THIS_PLAN, plan, plan.search)]
    rows += [
        (b.scheme, everywhere(plan, b.scheme) if b.schemes is None else plan.with_schemes(b.schemes), b)
        for b in plan.baselines
    ]
    return tuple(
        PlanRow(
            plan=name,
            avg_bits=one.totals.avg_bits,
            storage_bits=one.totals.storage_bits,
            storage_fraction=one.totals.storage_fraction,
            energy_pj=one.totals.energy_pj,
            energy_fraction=one.totals.energy_fraction,
            validation_accuracy=found.validation_accuracy if found else None,
            validation_loss=found.validation_loss if found else None,
        )
        for name, one, found in rows
    )


def group_parts(plan: Plan, floats: Plan) -> tuple[Part, ...]:
    """Return every group of layers; shares are of the whole model."""
    return _parts({layer.name: layer.group for layer in plan.layers}, GROUPS, plan, floats)


def attention_parts(plan: Plan, floats: Plan) -> tuple[Part, ...]:
    """Return the kinds of attention linear (q, k, v, proj), each over all blocks; shares are of all attention."""
    kinds = {layer.name: layer.name.rpartition(".")[2] for layer in plan.layers if layer.group == "attention"}
    return _parts(kinds, tuple(dict.fromkeys(kinds.values())), plan, floats)


def _parts(part_of: dict[str, str], order: Sequence[str], plan: Plan, floats: Plan) -> tuple[Part, ...]:
    """Return the sums over the layers of every part; a layer that is in no part is left out of the shares too."""
    ours = [layer for layer in plan.layers if layer.name in part_of]
    theirs = [layer for layer in floats.layers if layer.name in part_of]
    rows = []
    for name in order:
        mine = [layer for layer in ours if part_of[layer.name] == name]
        mine_float = [layer for layer in theirs if part_of[layer.name] == name]
        if mine:
            weights = sum(math.prod(layer.shape) for layer in mine)
            rows.append(
                Part(
                    name=name,
                    layers=len(mine),
                    weights=weights,
                    avg_bits=bits_of(mine) / weights,
                    storage_bits=bits_of(mine),
                    storage_bits_float=bits_of(mine_float),
                    storage_share=bits_of(mine) / bits_of(ours),
                    storage_share_float=bits_of(mine_float) / bits_of(theirs),
                    energy_pj=energy_of(mine),
                    energy_pj_float=energy_of(mine_float),
                    energy_share=share_of(energy_of(mine), energy_of(ours)),
                    energy_share_float=share_of(energy_of(mine_float), energy_of(theirs)),
                )
            )
    return tuple(rows)


def layer_rows(plan: Plan, floats: Plan) -> tuple[LayerRow, ...]:
    """Return every layer beside ``floats``, all in float32; ``edited``: its scheme is not what the search chose."""
    edited = edited_layers(plan.layers)
    return tuple(
        LayerRow(
            name=layer.name,
            group=layer.group,
            kind=layer.kind,
            shape=layer.shape,
            input=layer.input,
            weights=math.prod(layer.shape),
            scheme=layer.scheme,
            bits=scheme(layer.scheme).bits,
            storage_bits=layer.bits,
            storage_share=layer.bits / plan.totals.storage_bits,
            energy_pj=layer.energy_pj,
            energy_pj_float=before.energy_pj,
            energy_share=share_of(layer.energy_pj, plan.totals.energy_pj),
            probabilities=layer.probabilities,
            edited=layer.name in edited,
        )
        for layer, before in zip(plan.layers, floats.layers, strict=True)
    )


def floats_of(plan: Plan) -> Plan:
    """Return the plan with every layer in float32."""
    return everywhere(plan, FLOAT32)
