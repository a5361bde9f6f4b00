"""What a model takes on a target, before it is trained: arrays, the event model, or the integer engine on this machine.

Arrays are counted from structure alone, by the very functions of ``snnq imc report``. The event model and the engine
run real samples through the model as the edit leaves it, with blocks that let spikes pass: an estimate, since training
changes who fires.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import nn

from snnq.assessing.arrays import array_facts
from snnq.assessing.measure import SAMPLES, measure_model, spread
from snnq.base.errors import UsageError
from snnq.base.progress import Progress, silent
from snnq.base.strict_json import Config
from snnq.checkpoints.opening import Checkpoint
from snnq.cost.events import event_energy
from snnq.cost.table import DEFAULT_TABLE, read_table
from snnq.data import DataSet
from snnq.data.sources import shows_images
from snnq.hardware.crossbars.chosen import Arrays
from snnq.hardware.crossbars.mapped import Mapped, map_model
from snnq.hardware.crossbars.target import ArrayTarget
from snnq.models.registry import architecture, attention_table, build
from snnq.network.folding import fold_batchnorm
from snnq.network.layers import Layer, frames_shape, layer_table
from snnq.network.products import Products
from snnq.network.wiring import Wiring
from snnq.packed.coding import Coded
from snnq.packed.folder import write_packed
from snnq.plan import ModelInfo, make_plan
from snnq.reusing.records import ReuseCosts, TargetInfo, WrittenCells
from snnq.runtime import Engine
from snnq.schemes.names import FLOAT32
from snnq.schemes.scheme import scheme
from snnq.structure.edits import STRUCTURE, apply_edits

EVENT, ENGINE = "event", "engine"
# The engine is timed with every layer in this format: its time hardly depends on the format (docs/runtime.md).
ENGINE_SCHEME = "uniform-4"
TIMED, ROUNDS = 4, 11


@dataclass(frozen=True)
class Variant:
    """A model as given, or after an edit that makes attentions reuse: {attention: the one whose spikes it takes}."""

    checkpoint: Checkpoint
    attentions: Mapping[str, str]

    @property
    def edits(self) -> list[Config]:
        """The edit, none for the model as given."""
        return [{"edit": "reused", "attentions": dict(self.attentions)}] if self.attentions else []

    @property
    def config(self) -> Config:
        """The config of the edited model."""
        own = self.checkpoint.config
        return {**own, STRUCTURE: [*own.get(STRUCTURE, ()), *self.edits]} if self.attentions else own

    def structure(self) -> tuple[nn.Module, tuple[Layer, ...], tuple[Products, ...]]:
        """Return a model without the checkpoint's weights, its layers, and the products of its attentions."""
        name, config = self.checkpoint.architecture, self.config
        model, shape = build(name, config), frames_shape(config)
        layers = layer_table(model, shape, reals=shows_images(self.checkpoint.data, shape[1]))
        return model, layers, attention_table(name, config)

    def model(self) -> nn.Module:
        """Return the model with the checkpoint's weights, and blocks that let spikes pass."""
        model = build(self.checkpoint.architecture, self.checkpoint.config)
        model.load_state_dict(self.checkpoint.state_dict, strict=True)
        return apply_edits(model, self.edits).eval()


class Costing(Protocol):
    """A target."""

    def info(self) -> TargetInfo:
        """Return what is recorded of the target."""
        ...

    def costs(self, variants: Sequence[Variant]) -> list[ReuseCosts]:
        """Return what each model takes; they may be measured in turns."""
        ...


@dataclass(frozen=True)
class OnArrays:
    """Analog arrays."""

    arrays: Arrays
    chip: ArrayTarget

    def info(self) -> TargetInfo:
        """Return which arrays."""
        one, (cells, _) = self.arrays, self.chip.device(self.arrays.cells)
        return TargetInfo(
            kind="arrays",
            target=str(one.target),
            node=self.chip.node,
            sha256=self.chip.sha256,
            cells=cells,
            dynamic=one.dynamic,
            adc_bits=one.adc_bits or self.chip.array.adc_bits,
        )

    def costs(self, variants: Sequence[Variant]) -> list[ReuseCosts]:
        """Return energy, time and area, and the part of them that is the blocks'."""
        return [_priced(self.mapped(one)) for one in variants]

    def mapped(self, variant: Variant, products: Sequence[Products] | None = None) -> Mapped:
        """Return a model on the arrays; ``products`` stand in for its own."""
        model, layers, own = variant.structure()
        words = {"target": str(self.arrays.target), "cells": self.arrays.cells, "dynamic": self.arrays.dynamic}
        mixed = own if products is None else products
        facts = array_facts(model, layers, mixed, frames_shape(variant.config), chip=self.chip, **words)
        schemes = {layer.name: FLOAT32 for layer in layers}
        return map_model(facts, layers, schemes, adc_bits=self.arrays.adc_bits, target=self.chip)

    def written(self, variant: Variant) -> list[WrittenCells]:
        """Return what (Q Kᵀ) V and Q (Kᵀ V) write, the latter over one step and over more that are mixed at once."""
        own = variant.structure()[2]
        steps = own[0].steps
        chunks = [one for one in range(1, steps + 1) if steps % one == 0]
        found = []
        for order, chunk in [("scores", 1), *(("keys", one) for one in chunks)]:
            products = [replace(one, order=order, chunk=chunk) for one in own]
            found.append(_written(self.mapped(variant, products), order, chunk, own))
        return found


def _written(mapped: Mapped, order: str, chunk: int, own: Sequence[Products]) -> WrittenCells:
    parts = [part.operand for part in mapped.attentions]
    return WrittenCells(
        order=order,
        chunk=chunk,
        bits=sum(one.writes * one.groups * one.inputs * one.outputs * one.bits for one in parts),
        cells=sum(part.counts.cell_writes for part in mapped.attentions),
        rows=sum(part.counts.row_writes for part in mapped.attentions),
        own=all((one.order, one.chunk) == (order, chunk) for one in own),
    )


def _priced(mapped: Mapped) -> ReuseCosts:
    blocks = [part for part in mapped.layers if part.operand.name.rpartition(".")[2] in ("reuse", "reuse_conv")]
    return ReuseCosts(
        energy_pj=mapped.total_pj,
        delay_ns=mapped.latency_ns,
        area_um2=mapped.total_um2,
        product=mapped.edap,
        blocks_energy_pj=math.fsum(amount for part in blocks for amount in part.energy_pj.values()),
        blocks_delay_ns=math.fsum(part.latency_ns for part in blocks),
        cells_written=sum(part.counts.cell_writes for part in mapped.attentions),
        rows_written=sum(part.counts.row_writes for part in mapped.attentions),
    )


@dataclass(frozen=True)
class ByEvents:
    """The event model, of float weights, on training samples: energy alone, since events have no clock."""

    data: DataSet
    samples: int = SAMPLES
    progress: Progress = silent

    def info(self) -> TargetInfo:
        """Return which cost table and data."""
        return TargetInfo(kind="event", target=DEFAULT_TABLE, node=read_table().node, data=self.data.spec)

    def costs(self, variants: Sequence[Variant]) -> list[ReuseCosts]:
        """Return the energies."""
        return [self._of(one) for one in variants]

    def _of(self, variant: Variant) -> ReuseCosts:
        _, layers, products = variant.structure()
        activity = measure_model(variant.model(), layers, products, self.data, "train", self.samples, self.progress)
        schemes = {layer.name: FLOAT32 for layer in layers}
        found = event_energy(layers, schemes, activity, products, read_table())
        return ReuseCosts(energy_pj=found.total.energy_pj)


@dataclass(frozen=True)
class OnEngine:
    """The integer engine on this machine, one sample at a time: time alone. The models take turns."""

    data: DataSet
    threads: int = 1
    progress: Progress = silent

    def info(self) -> TargetInfo:
        """Return the data that are timed."""
        return TargetInfo(kind="engine", target=f"{ENGINE_SCHEME}, {self.threads} threads", data=self.data.spec)

    def costs(self, variants: Sequence[Variant]) -> list[ReuseCosts]:
        """Return the time of a sample: the least of several rounds, since whatever else runs only adds to it."""
        places = list(spread(self.data, "train", TIMED))
        frames = np.asarray(self.data.train.frames)[places]
        with tempfile.TemporaryDirectory() as scratch:
            runs = [self._runner(one, Path(scratch) / str(place)) for place, one in enumerate(variants)]
            seconds = np.full((len(runs), len(frames)), np.inf)
            for round in range(ROUNDS):
                for place, run in enumerate(runs):
                    for number, frame in enumerate(frames):
                        begun = time.perf_counter()
                        run(frame[None])
                        seconds[place, number] = min(seconds[place, number], time.perf_counter() - begun)
                self.progress("timing the engine", round + 1, ROUNDS)
        return [ReuseCosts(delay_ns=1e9 * float(own)) for own in seconds.mean(1)]

    def _runner(self, variant: Variant, folder: Path) -> Callable[[np.ndarray], object]:
        write_rounded(variant, folder)
        return Engine(folder, self.threads)


@torch.no_grad()
def write_rounded(variant: Variant, folder: Path) -> None:
    """Write a packed folder of a model with all weights rounded to ``ENGINE_SCHEME``, to be timed.

    Raises ``UsageError`` where such a model does not run in whole numbers.
    """
    one, config = architecture(variant.checkpoint.architecture), variant.config
    wiring = one.wiring(config)
    if not isinstance(wiring, Wiring):
        raise UsageError(f"--target engine: packed, {one.name} runs in floating point", "plan for arrays, or for event")
    layers = layer_table(build(one.name, config), frames_shape(config))
    folded, form = fold_batchnorm(variant.model(), wiring.norms).eval(), scheme(ENGINE_SCHEME)
    coded: dict[str, Coded] = {}
    for layer in layers:
        weight = folded.get_submodule(layer.name).get_parameter("weight")
        params = form.stored(form.fit(weight))
        coded[layer.name] = Coded(form.name, form.encode(weight, params), params)
        weight.copy_(form.decode(coded[layer.name].codes, params).view_as(weight))
    info = ModelInfo(architecture=one.name, layout=variant.checkpoint.layout, config=dict(config))
    schemes = {layer.name: form.name for layer in layers}
    plan = make_plan(layers, schemes, model=info, data=None, table=read_table())
    write_packed(folder, model=folded, plan=plan, layers=coded, results={})
