"""Variation-aware training (VAT): a model is finetuned on weights as the noisy cells of a chip hold them.

At every step the quantised weights lie in cells of another chip, ŵ' = unit · Σ slices of G', and so does what attention
writes: with the write and read noise of ``snnq imc eval`` (``hardware.crossbars.analog``). Gradients are those of the
exact weights. Converters give every sum, and a read's noise is drawn once a step, where arrays draw it at every read.
Validation, too, is on chips, so that the epoch that is kept is the best one there.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Generator, Tensor, nn
from torch.nn.utils import parametrize

from snnq.assessing.arrays import array_facts
from snnq.assessing.imc_running import chip_of
from snnq.assessing.on_arrays import Chip, MixOnArrays
from snnq.base.errors import UsageError
from snnq.cost.array_facts import LayerBound
from snnq.hardware.crossbars.analog import held, sliced
from snnq.hardware.crossbars.counting import Operand
from snnq.hardware.crossbars.operands import attention_operands, bounds, nominal_bits
from snnq.hardware.crossbars.variation import Variation
from snnq.models.registry import attention_table
from snnq.packed.coding import Coded
from snnq.training import processes
from snnq.training.job import Job
from snnq.training.quantized import FakeQuantize, quantized_layers
from snnq.training.seeding import generator


class Varied:
    """A quantised model on a chip, which is another one wherever in the run ``at`` says it is.

    Its layers' weights get one parametrization more, its attentions another ``mix``. Raises UsageError where nothing of
    it lies in cells.
    """

    def __init__(self, model: nn.Module, job: Job, variation: Variation, seed: int) -> None:
        self.seed, self.place = seed, ("begin",)
        one, opened = variation.arrays, job.checkpoint
        target, products = one.chip(), attention_table(opened.architecture, opened.config)
        words = {"target": str(one.target), "cells": one.cells, "dynamic": one.dynamic, "chip": target}
        facts = array_facts(job.model, job.layers, products, job.data.frames_shape, **words)
        self.chip = chip_of(target, facts, variation.noise)
        known = bounds(facts.layers)
        inside = {name: (chain, known[name]) for name, chain, _ in quantized_layers(model) if known[name].largest}
        operands = {mixing.name: attention_operands(mixing) for mixing in products}
        if not inside and not any(operands.values()):
            raise UsageError("--vat: none of the model's layers lies in cells", "quantise one: snnq search")
        for name, (chain, bound) in inside.items():
            noise = CellNoise(chain, bound, self.chip, partial(self.draw, name))
            parametrize.register_parametrization(model.get_submodule(name), "weight", noise, unsafe=True)
        for mixing in products:
            if operands[mixing.name]:
                module = model.get_submodule(mixing.name)
                mix = MixOnArrays(module, mixing, operands[mixing.name], self._product)
                object.__setattr__(module, "mix", mix)

    def at(self, *place: str | int) -> None:
        """Say where in the run the model is: what is drawn depends on nothing else."""
        self.place = place

    def draw(self, *which: str | int) -> Generator:
        """Return what an operand's cells are drawn from."""
        return generator(self.seed, "vat", *self.place, *which)

    def _product(self, operand: Operand, inputs: Tensor, values: Tensor) -> Tensor:
        """Return inputs (B, M, K) times what an attention writes (B, K, N), float64; processes draw their own."""
        how = sliced(values.shape[-1], operand.bits, self.chip.dynamic_cell_bits, False)
        return inputs.double() @ held(values, how, self.chip.dynamic, self.draw(operand.name, processes.rank()))


class CellNoise(nn.Module):
    """A parametrization behind a layer's ``FakeQuantize``: the quantised weight in, as noisy cells hold it out."""

    def __init__(self, chain: FakeQuantize, bound: LayerBound, chip: Chip, draw: partial[Generator]) -> None:
        super().__init__()
        self.chain = (chain,)  # in a tuple: no module of its own, so that a state has the same keys with it
        self.bound, self.chip, self.draw = bound, chip, draw

    def forward(self, weight: Tensor) -> Tensor:
        """Return the noisy weight, same shape; its gradient is that of the quantised one."""
        return weight + self.noise(weight.detach())

    @torch.no_grad()
    def noise(self, weight: Tensor) -> Tensor:
        """Return what cells add to a quantised weight, same shape."""
        (chain,) = self.chain
        one, params = chain.scheme, chain.params()
        stored = Coded(one.name, one.encode(weight, params), one.stored(params)).stored()
        whole = one.whole(stored, self.bound.largest or 1)
        values = torch.from_numpy(whole.values).unflatten(0, (self.bound.groups, -1)).transpose(1, 2)  # (G, K, N)
        bits = max(nominal_bits(one.name, 1), int(values.abs().max()).bit_length())
        how = sliced(values.shape[-1], bits, self.chip.cell_bits, True)
        moved = (held(values, how, self.chip.cells, self.draw()) - values).transpose(1, 2).flatten(0, 1)
        return (moved * torch.from_numpy(whole.unit)[:, None]).view_as(weight).to(weight)
