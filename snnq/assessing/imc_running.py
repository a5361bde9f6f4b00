"""Running a packed model on chips: which operands lie in cells, what is calibrated, and the logits of a chip."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from snnq.assessing.imc import ArraySubject, packed_wholes
from snnq.assessing.on_arrays import Chip, OnChip, put_on_chip
from snnq.assessing.watching import core
from snnq.base.errors import UsageError, VerificationError
from snnq.base.progress import Progress, silent
from snnq.cost.array_facts import ArrayFacts
from snnq.data.dataset import Frames
from snnq.hardware.crossbars.analog import Cells
from snnq.hardware.crossbars.counting import Operand
from snnq.hardware.crossbars.mapped import SAME, SRAM
from snnq.hardware.crossbars.operands import attention_operands, bounds
from snnq.hardware.crossbars.settings import ImcSettings
from snnq.hardware.crossbars.target import ArrayTarget
from snnq.network.products import Products
from snnq.schemes.names import FLOAT32
from snnq.schemes.whole import Whole

QUIET_SHARE = 1e-3  # of the sums of calibration samples that a calibrated converter may clip
CLOSE = 1e-4


@dataclass
class OnChips:
    """A packed model that is put on one chip after the other.

    ``layers``: operand, whole weight and whether inputs are signed, by name. ``steps``: of converters, by operand;
    ``clips``: where attention's operands are clipped.
    """

    model: nn.Module
    found: ArraySubject
    settings: ImcSettings
    layers: Mapping[str, tuple[Operand, Whole, bool]]
    products: tuple[Products, ...]
    operands: Mapping[str, tuple[Operand, ...]]
    adc_bits: int
    steps: dict[str, int] = field(default_factory=dict)
    clips: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """All operands, in the order of their places."""
        mixed = [one.name for group in self.operands.values() for one in group]
        return [one.name for one, _, _ in self.layers.values()] + mixed

    @property
    def quiet(self) -> Chip:
        """A chip without any noise, whose converters give every sum."""
        ideal = replace(self.chip(0), cells=Cells(), dynamic=Cells(), adc_bits=None)
        return ideal

    def chip(self, number: int) -> Chip:
        """Return a chip by its number."""
        return chip_of(self.found.target, self.found.facts, self.settings, self.adc_bits, number)

    @contextmanager
    def on(self, chip: Chip) -> Iterator[OnChip]:
        """Give the model on a chip; its own forwards are put back at the end."""
        put = put_on_chip(self.model, chip, self.layers, self.products, self.operands)
        for name, part in put.parts.items():
            part.step, part.clip = self.steps.get(name, 1), self.clips.get(name)
        try:
            yield put
        finally:
            put.close()


def chip_of(
    target: ArrayTarget, facts: ArrayFacts, settings: ImcSettings, adc_bits: int | None = None, number: int = 0
) -> Chip:
    """Return a chip of a target by its number; SRAM cells have no noise."""
    name, static = target.device(facts.cells)
    mixed, dynamic = target.device(facts.cells if facts.dynamic == SAME else facts.dynamic)
    return Chip(
        rows=target.array.rows,
        columns=target.array.columns,
        cell_bits=static.cell_bits,
        cells=Cells() if name == SRAM else settings.cells(static.on_off, drifts=True),
        dynamic_cell_bits=dynamic.cell_bits,
        dynamic=Cells() if mixed == SRAM else settings.cells(dynamic.on_off, drifts=False),
        adc_bits=adc_bits,
        seed=settings.seed,
        number=number,
    )


def on_chips(model: nn.Module, found: ArraySubject, settings: ImcSettings, adc_bits: int | None) -> OnChips:
    """Return a packed model, ready to be put on chips; raises UsageError where nothing of it lies in cells."""
    known, whole = bounds(found.facts.layers), getattr(model, "arithmetic", "float") == "integer"
    wholes = {} if whole else packed_wholes(found.subject.path, found.facts)
    mapped = {one.operand.name: one.operand for one in found.mapped().layers}
    layers = {}
    for name, operand in mapped.items():
        if found.schemes[name] == FLOAT32:
            continue
        weight = _own(core(model.get_submodule(name))) if whole else wholes[name]
        bits = max(operand.bits, int(abs(weight.values).max()).bit_length())
        layers[name] = (replace(operand, bits=bits), weight, known[name].signed)
    products = tuple(one.products() for one in found.facts.attentions)
    operands = {one.name: attention_operands(one) for one in products}
    operands = {name: group for name, group in operands.items() if group}
    if not layers and not operands:
        raise UsageError(f"{found.subject.path}: none of its layers lies in cells", "quantise it: snnq search")
    adc = adc_bits or found.target.array.adc_bits
    one = OnChips(model, found, settings, layers, products, operands, adc)
    if settings.adc_range == "max":
        one.steps = {name: _least_step(_most(one, name), adc) for name in one.names}
    return one


def _own(module: nn.Module) -> Whole:
    """Return the whole numbers that a module of whole weights multiplies with, rows turned as its norm needs."""
    import numpy as np

    weight = module.get_parameter("weight").detach().flatten(1)
    return Whole(weight.round().long().numpy(), np.ones(len(weight)))


def _most(one: OnChips, name: str) -> float:
    """Return the largest sum that a column can have."""
    chip = one.chip(0)
    group = {operand.name: operand for part in one.operands.values() for operand in part}
    operand = group[name] if name in group else one.layers[name][0]
    cells, width = (chip.dynamic, chip.dynamic_cell_bits) if name in group else (chip.cells, chip.cell_bits)
    most = 2 ** min(width, operand.bits) - 1
    return min(operand.inputs, chip.rows) * most + chip.rows * cells.zero(most)


def _least_step(largest: float, adc_bits: int) -> int:
    """Return the least power of two that so many bits reach a sum with."""
    step = 1
    while (2**adc_bits - 1) * step < largest:
        step *= 2
    return step


@torch.no_grad()
def logits_of(
    model: nn.Module,
    frames: Frames,
    chosen: Sequence[int],
    batch: int,
    put: OnChip | None = None,
    progress: Progress = silent,
) -> Tensor:
    """Return logits (N, classes) of chosen samples; on a chip, its first batch is compared with exact sums, too."""
    found = []
    for start in range(0, len(chosen), batch):
        compare = put is not None and start == 0
        for part in put.parts.values() if put else ():
            part.compare = compare
        found.append(model(frames.__getitems__(list(chosen[start : start + batch]))[0]).float())
        progress("on arrays", min(start + batch, len(chosen)), len(chosen))
    return torch.cat(found)


def check_counts(one: OnChips, frames: Frames, chosen: Sequence[int]) -> None:
    """Raise UsageError where a frame has a larger count than the target's bits hold: it would be cut off silently."""
    most = 2**one.found.target.array.count_bits - 1
    if frames.pixels is not None or not any(layer.input == "counts" for layer in one.found.layers):
        return
    largest = max(int(frames.frames[index].max(initial=0)) for index in chosen)
    if largest > most:
        raise UsageError(
            f"a frame has a count of {largest}, and {one.found.target.name} reads counts of {most} at most",
            "give a target of more count_bits: snnq imc map --toml",
        )


@torch.no_grad()
def check_digital(one: OnChips, frames: Tensor) -> None:
    """Raise VerificationError unless a chip without noise, whose converters give every sum, is the digital model."""
    due = one.model(frames)
    with one.on(one.quiet) as put:
        for part in put.parts.values():
            part.clip = None
        found = one.model(frames)
    exact = getattr(one.model, "arithmetic", "float") == "integer"
    if not (torch.equal(found, due) if exact else torch.allclose(found, due, rtol=CLOSE, atol=CLOSE)):
        raise VerificationError("arrays without noise do not give the digital model's logits", "please report this")


def shares(histogram: Tensor) -> Tensor:
    """Return the share of what was counted up to each place, float64."""
    return histogram.cumsum(0).double() / histogram.sum()


@torch.no_grad()
def calibrate_steps(one: OnChips, frames: Tensor) -> None:
    """Choose the steps of converters by the column sums that calibration frames make on a quiet chip."""
    quiet = one.chip(0)
    quiet = replace(quiet, cells=Cells(quiet.cells.on_off), dynamic=Cells(quiet.dynamic.on_off), adc_bits=None)
    with one.on(quiet) as put:
        for part in put.parts.values():
            part.collect = True
        one.model(frames)
        for name, part in put.parts.items():
            sums = part.tally.sums
            if sums is not None:
                below = shares(sums)
                one.steps[name] = _least_step(float((below < 1 - QUIET_SHARE).sum()), one.adc_bits)
