"""A packed model whose layers and attentions are made by analog arrays: one chip, with its noise.

Forward calls of layers, and of attentions' ``mix``, are replaced; everything else (norms, neurons, residual sums) stays
digital. A chip's cells are drawn from the seed, the chip's number and the operand's place, whatever is run before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from snnq.assessing.array_reading import Converter, Reading, ReadTally, multiply
from snnq.assessing.watching import core
from snnq.hardware.crossbars.analog import Cells, Sliced, Written, sliced, write
from snnq.hardware.crossbars.counting import ArraySizes, Operand, together
from snnq.network.products import Products
from snnq.schemes.whole import Whole

READS = 10**6  # the place of what is drawn at reads


@dataclass(frozen=True)
class Chip:
    """The arrays of one chip: rows and columns, bits of a cell, what cells do, bits of converters, seed and number.

    ``dynamic_cell_bits`` and ``dynamic`` are of the cells of attention's operands.
    """

    rows: int
    columns: int
    cell_bits: int
    cells: Cells
    dynamic_cell_bits: int
    dynamic: Cells
    adc_bits: int | None
    seed: int = 0
    number: int = 0

    def sizes(self, *, dynamic: bool) -> ArraySizes:
        """Return the sizes that operands are counted with."""
        return ArraySizes(self.rows, self.columns, self.dynamic_cell_bits if dynamic else self.cell_bits, 1, 1)

    def draw(self, place: int) -> Generator:
        """Return what an operand's cells are drawn from."""
        words = torch.tensor([self.seed, self.number, place], dtype=torch.int64)
        mixed = int((words * torch.tensor([1_000_003, 7_919, 104_729])).sum())
        return Generator().manual_seed(mixed)


class SumMoments(NamedTuple):
    """Mean and standard deviation of each output's sums, float64 (out,)."""

    mean: Tensor
    sd: Tensor


@dataclass
class Analog:
    """One operand: how it lies and is read, and its ``tally``. ``step`` is its converters', in levels.

    ``gain`` and ``shift`` (out,) correct sums behind the arrays, where a mitigation has found them; with ``due``, the
    moments that sums should have, they are found at the next call. If ``watch``, the last call leaves ``moments`` of a
    layer's sums, and ``values``, a histogram of what attention writes. ``clip``: what is taken from whole values in
    cells, and the most that is left.
    """

    operand: Operand
    step: int = 1
    tally: ReadTally = field(default_factory=ReadTally)
    active: bool = True
    collect: bool = False
    compare: bool = False
    watch: bool = False
    moments: SumMoments | None = None
    values: Tensor | None = None
    due: SumMoments | None = None
    gain: Tensor | None = None
    shift: Tensor | None = None
    clip: tuple[int, int] | None = None


@dataclass
class OnChip:
    """A model on a chip. ``parts``: its operands by name; ``undo`` puts its own forwards back."""

    chip: Chip
    parts: dict[str, Analog]
    undo: list[Callable[[], None]] = field(default_factory=list)

    def reading(self, part: Analog, cells: Cells, draw: Generator) -> Reading:
        """Return how an operand is read."""
        converter = Converter(self.chip.adc_bits, part.step)
        sizes = self.chip.sizes(dynamic=part.operand.writes > 0)
        counts = {"groups": part.operand.groups, "together": together(part.operand, sizes), "columns": sizes.columns}
        return Reading(self.chip.rows, converter, cells, draw, part.tally, collect=part.collect, **counts)

    def close(self) -> None:
        """Put the model's own forwards back."""
        for one in self.undo:
            one()
        self.undo.clear()


def put_on_chip(
    model: nn.Module,
    chip: Chip,
    layers: Mapping[str, tuple[Operand, Whole, bool]],
    products: Sequence[Products],
    operands: Mapping[str, Sequence[Operand]],
    parts: Mapping[str, Analog] | None = None,
) -> OnChip:
    """Replace the forwards of a packed model's layers and attentions by arrays of a chip; return what undoes it.

    ``layers``: operand, whole weight, and whether inputs may be below zero, by name. ``operands``: those of each
    attention of ``products``. ``parts``: steps and corrections that were found before.
    """
    every = [one for one, _, _ in layers.values()] + [one for group in operands.values() for one in group]
    fresh = {one.name: Analog(one) for one in every}
    found = OnChip(chip, fresh | dict(parts or {}))
    reads = chip.draw(READS)
    for place, (name, (operand, whole, signed)) in enumerate(layers.items()):
        layer = _Layer(core(model.get_submodule(name)), operand, whole, signed, found, chip.draw(place), reads)
        _replace(found, layer.module, "forward", layer)
    for one in products:
        if one.name in operands:
            module = model.get_submodule(one.name)
            _replace(
                found, module, "mix", MixOnArrays(module, one, operands[one.name], partial(_product, found, reads))
            )
    return found


def _replace(found: OnChip, module: nn.Module, name: str, by: Callable[..., Tensor]) -> None:
    object.__setattr__(module, name, by)
    found.undo.append(partial(object.__delattr__, module, name))


class _Layer:
    """A layer's forward by arrays: inputs (B, C, …) or (…, C) → the layer's own shape and type."""

    def __init__(
        self,
        module: nn.Module,
        operand: Operand,
        whole: Whole,
        signed: bool,
        on: OnChip,
        draw: Generator,
        reads: Generator,
    ) -> None:
        self.module, self.operand, self.signed, self.on, self.reads = module, operand, signed, on, reads
        groups = operand.groups
        values = torch.from_numpy(whole.values)  # (out, K)
        self.exact = values.unflatten(0, (groups, -1)).transpose(1, 2).contiguous()  # (G, K, N)
        self.how = sliced(operand.outputs, operand.bits, on.chip.cell_bits, True)
        self.written = write(self.how.levels(self.exact), self.how.most, on.chip.cells, draw)
        self.factor = _factor(module, whole)

    def __call__(self, x: Tensor) -> Tensor:
        """Return what the layer gives."""
        part = self.on.parts[self.operand.name]
        if not part.active:
            return type(self.module).forward(self.module, x)
        rows, back = _rows(self.module, x.detach(), self.operand.groups)
        values = rows.round().to(torch.int32)
        planes = self.operand.planes // (2 if self.signed else 1)
        reading = self.on.reading(part, self.on.chip.cells, self.reads)
        with torch.no_grad():
            sums = multiply(values, planes, self.written, self.how, reading, self.signed)
        if part.compare:
            due = values.double() @ self.exact.double()
            part.tally.signal += float(due.square().sum())
            part.tally.noise += float((sums - due).square().sum())
        _match(part, sums)
        found = back(sums * self.factor.view(sums.shape[0], 1, -1))
        if torch.is_grad_enabled():  # gradients are those of the exact product
            exact = _without_bias(self.module, x)
            found = found + exact - exact.detach()
        if part.gain is not None and part.shift is not None:
            found = found * self._outputs(part.gain, found) + self._outputs(part.shift * self.factor, found)
        bias = getattr(self.module, "bias", None)
        if isinstance(bias, Tensor):
            found = found + self._outputs(bias, found)
        return found.to(self.module.get_parameter("weight").dtype)

    def _outputs(self, values: Tensor, like: Tensor) -> Tensor:
        """Return values (out,) along the outputs of a layer's own shape."""
        return values if isinstance(self.module, nn.Linear) else values.view(1, -1, *[1] * (like.ndim - 2))


def _match(part: Analog, sums: Tensor) -> None:
    """Note the moments of sums (G, M, N), and find the gain and shift that give them those that are due."""
    if not part.watch and (part.due is None or part.gain is not None):
        return
    found = SumMoments(sums.mean(1).flatten(), sums.std(1, correction=0).flatten())
    part.moments = found
    if part.due is not None and part.gain is None:
        moves = found.sd > 1e-9
        part.gain = torch.where(moves, part.due.sd / found.sd.clamp(min=1e-9), torch.ones_like(found.sd))
        part.shift = part.due.mean - part.gain * found.mean


def _without_bias(module: nn.Module, x: Tensor) -> Tensor:
    """Return W x, the layer's own product, float64."""
    weight = module.get_parameter("weight")
    if isinstance(module, nn.Linear):
        return F.linear(x, weight).double()
    assert isinstance(module, nn.Conv1d | nn.Conv2d)
    product = F.conv1d if isinstance(module, nn.Conv1d) else F.conv2d
    return product(x, weight, None, module.stride, module.padding, module.dilation, module.groups).double()  # pyright: ignore


def _factor(module: nn.Module, whole: Whole) -> Tensor:
    """Return what a module's weight is of the whole one by row, float64 (out,): a sign, or the unit; 0 for zeros."""
    own = module.get_parameter("weight").detach().flatten(1).double()
    values = torch.from_numpy(whole.values).double()
    power = values.square().sum(1)
    return torch.where(power > 0, (own * values).sum(1) / power.clamp(min=1), torch.zeros_like(power))


def _rows(module: nn.Module, x: Tensor, groups: int) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Return a layer's inputs as rows (G, M, K), and what puts (G, M, N) into the layer's shape."""
    if isinstance(module, nn.Linear):
        return x.reshape(1, -1, x.shape[-1]), lambda sums: sums[0].reshape(*x.shape[:-1], -1)
    assert isinstance(module, nn.Conv1d | nn.Conv2d)
    flat = isinstance(module, nn.Conv1d)
    image = x.unsqueeze(-2) if flat else x
    first = (1,) if flat else ()
    zero = (0,) if flat else ()
    kernel, stride, dilation = (first + tuple(one) for one in (module.kernel_size, module.stride, module.dilation))
    assert not isinstance(module.padding, str)
    padding = zero + tuple(module.padding)
    windows = F.unfold(image.float(), kernel, dilation, padding, stride)  # (B, C · k, L)
    batch, _, length = windows.shape
    rows = windows.unflatten(1, (groups, -1)).permute(1, 0, 3, 2).reshape(groups, batch * length, -1)
    sizes = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, p, d, k, s in zip(image.shape[-2:], padding, dilation, kernel, stride, strict=True)
    ]
    shape = sizes[1:] if flat else sizes

    def back(sums: Tensor) -> Tensor:
        made = sums.unflatten(1, (batch, length)).permute(1, 0, 3, 2)  # (B, G, N, L)
        return made.reshape(batch, -1, *shape)

    return rows, back


class MixOnArrays:
    """An attention's products by arrays: q, k, v (T, B, heads, N, d) → the same shape.

    ``product`` multiplies inputs (B, M, K) with an operand's whole values (B, K, N), as cells hold them.
    """

    def __init__(
        self,
        module: nn.Module,
        products: Products,
        operands: Sequence[Operand],
        product: Callable[[Operand, Tensor, Tensor], Tensor],
    ) -> None:
        self.module, self.products, self.operands, self.product = module, products, operands, product

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Return what goes on from them, times the attention's scale."""
        chunk = self.products.chunk
        rows = [_chunked(one.detach(), chunk) for one in (q, k, v)]
        shape = rows[2].shape
        queries, keys, values = (one.flatten(0, 2).round().long() for one in rows)
        if self.products.order == "scores":
            scores = self.product(self.operands[0], queries, keys.transpose(1, 2))
            top = 2 ** self.operands[1].planes - 1
            mixed = self.product(self.operands[1], scores.round().long().clamp(0, top), values)
        else:
            counts = (keys.transpose(1, 2).double() @ values.double()).round().long()
            mixed = self.product(self.operands[0], queries, counts)
        whole = mixed.reshape(*shape[:3], *mixed.shape[1:])
        found = (_unchunked(whole, chunk) * float(getattr(self.module, "scale", 1.0))).to(q.dtype)
        if torch.is_grad_enabled():  # gradients are those of the exact products
            exact = type(self.module).mix(self.module, q, k, v)  # pyright: ignore[reportAttributeAccessIssue]
            found = found + exact - exact.detach()
        return found


def _product(on: OnChip, reads: Generator, operand: Operand, inputs: Tensor, values: Tensor) -> Tensor:
    """Return inputs (B, M, K) times an operand (B, K, N) that is written on a chip now."""
    part, chip = on.parts[operand.name], on.chip
    if not part.active:
        return inputs.double() @ values.double()
    if part.watch:
        part.values = torch.bincount(values.flatten())
    kept, bits = values, operand.bits
    if part.clip is not None:
        low, high = part.clip
        kept, bits = (values - low).clamp(0, high), max(1, high.bit_length())
    how: Sliced = sliced(values.shape[-1], bits, chip.dynamic_cell_bits, False)
    written: Written = write(how.levels(kept), how.most, chip.dynamic, reads)
    reading = on.reading(part, chip.dynamic, reads)
    found = multiply(inputs, operand.planes, written, how, reading, False)
    if part.compare:
        due = inputs.double() @ values.double()
        part.tally.signal += float(due.square().sum())
        part.tally.noise += float((found - due).square().sum())
    return found


def _chunked(x: Tensor, chunk: int) -> Tensor:
    """Return (T/B, batch, heads, B · N, d): the steps of a chunk are more tokens (``models.attention.mix_chunks``)."""
    steps, batch, heads, tokens, width = x.shape
    parts = x.reshape(steps // chunk, chunk, batch, heads, tokens, width)
    return parts.permute(0, 2, 3, 1, 4, 5).flatten(3, 4)


def _unchunked(x: Tensor, chunk: int) -> Tensor:
    parts = x.unflatten(3, (chunk, -1)).permute(0, 3, 1, 2, 4, 5)
    return parts.flatten(0, 1)
