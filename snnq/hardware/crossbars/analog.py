"""What analog arrays do to sums: slices in cells, partial sums by array, converters, and the noise of cells.

A cell that holds the level l of 0 … L − 1 conducts G = G_min + l · Δ, Δ = (G_max − G_min)/(L − 1). Counted in Δ it is
l + g, where g = (L − 1)/(on/off − 1) is what a cell conducts that holds 0. One read of an array gives each column

    v = Σ_rows x · G / Δ,    x bits,        q = clip(⌊v / step + ½⌋, 0, 2^b − 1) · step

and what is converted is shifted and added over slices, bits of the inputs, and arrays below one another; the columns of
what is below zero are taken away (a reference column, where nothing is). A 1 of one bit lies at the largest level.

- Write noise, drawn when a cell is written: G' = G + γσ · √((G − G_min)(G_max − G_min)) · N(0, 1). A cell that holds 0
  has none. (The equation of ClipFormer, Bhattacharjee et al. 2024, arXiv:2402.02586; NeuroSim and TxSim have it too.)
- Read noise, drawn at every read: G'' = G' · (1 + σ · N(0, 1)) of every cell. The noise of a column is then
  σ · √(Σ x G'²) · N(0, 1), and is drawn so.
- Drift: G(t) = G(t₀) · (t / t₀)^−ν with t₀ = 1 s, ν of each cell N(ν, spread²).

Without noise, whole sums stay whole: what cells of 0 conduct is the same in both columns, and rounds to the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor

MOST_AT_ONCE = 2**22  # partial sums


@dataclass(frozen=True)
class Cells:
    """What cells do: ``on_off`` None: those that hold 0 conduct nothing. ``drift``: ν, seconds and spread of ν."""

    on_off: float | None = None
    write_noise: float = 0.0
    read_noise: float = 0.0
    drift: tuple[float, float, float] | None = None

    @property
    def quiet(self) -> bool:
        """Whether they conduct exactly what was written."""
        return not (self.write_noise or self.read_noise or self.drift)

    def zero(self, most: int) -> float:
        """Return g, what a cell that holds 0 conducts, in parts of a level, where ``most`` is the largest."""
        return 0.0 if self.on_off is None else most / (self.on_off - 1)


@dataclass(frozen=True)
class Converter:
    """A converter of ``bits`` (None: one that does nothing to a sum), whose ``step`` is so many levels."""

    bits: int | None = None
    step: int = 1

    @property
    def top(self) -> int:
        """The largest number that it puts out, in steps."""
        return 2 ** (self.bits or 0) - 1


@dataclass
class Tally:
    """What was counted while an operand was read; ``sums`` is a histogram of column sums, where it is asked for."""

    conversions: int = 0
    clipped: int = 0
    signal: float = 0.0
    noise: float = 0.0
    sums: Tensor | None = None

    @property
    def clipped_share(self) -> float:
        """The share of conversions whose sum was larger than the converter's largest, 0 … 1."""
        return self.clipped / self.conversions if self.conversions else 0.0

    @property
    def snr_db(self) -> float | None:
        """10 · log10 of Σ sum² / Σ (sum − what came of it)², in dB; None where there is no noise, or no signal."""
        return 10 * math.log10(self.signal / self.noise) if self.signal and self.noise else None


def levels_of(values: Tensor, slices: int, cell_bits: int, signed: bool) -> Tensor:
    """Return what columns hold, float32 (B, K, signs · slices · N), of whole values (B, K, N): lowest slice first."""
    signs = (values.clamp(min=0), (-values).clamp(min=0)) if signed else (values,)
    mask = 2**cell_bits - 1
    parts = [one >> (cell_bits * place) & mask for one in signs for place in range(slices)]
    return torch.cat(parts, -1).float()


@dataclass
class Written:
    """Written ``cells`` (B, K, columns), in levels above ``zero`` = g, what a cell of 0 conducts."""

    cells: Tensor
    zero: float
    most: int


def write(levels: Tensor, most: int, cells: Cells, draw: Generator) -> Written:
    """Return written cells of levels (B, K, columns), ``most`` being the largest level."""
    zero, found = cells.zero(most), levels
    if cells.write_noise:
        found = levels + cells.write_noise * (levels * most).sqrt() * _normal(levels, draw)
    if cells.drift is not None:
        nu, seconds, spread = cells.drift
        nus = nu + spread * _normal(levels, draw) if spread else torch.full_like(levels, nu)
        kept = seconds**-nus
        found = kept * found + (kept - 1) * zero
    return Written(found, zero, most)


def _normal(like: Tensor, draw: Generator) -> Tensor:
    return torch.randn(like.shape, generator=draw, dtype=torch.float32).to(like)


@dataclass
class Reading:
    """How operands are read: ``rows`` of an array, its converters, and what is drawn; ``tally`` counts.

    ``groups``: of an operand, of which ``together`` share an array: their cells of 0 conduct into each other's columns.
    ``collect``: column sums are counted up, too.
    """

    rows: int
    converter: Converter
    cells: Cells
    draw: Generator
    tally: Tally = field(default_factory=Tally)
    groups: int = 1
    together: int = 1
    collect: bool = False

    def columns(self, bits: Tensor, written: Written, reference: bool) -> Tensor:
        """Return what the converters give, float32 (B, M, columns), summed over arrays, for bits (B, M, K).

        B is a multiple of ``groups``. ``reference``: what a column of cells of 0 gives is taken away.
        """
        total: Tensor | None = None
        for start in range(0, bits.shape[-1], self.rows):
            driven, cells = bits[..., start : start + self.rows], written.cells[:, start : start + self.rows]
            own = driven.sum(-1, keepdim=True) * written.zero
            by_array = self._by_array(own)
            idle = self._spread(by_array)
            power = None
            if self.cells.read_noise:
                power = driven @ (cells + written.zero).square() + written.zero * (idle - own)
            found = self._converted(driven @ cells, power, idle)
            if reference:
                blank = self._converted(torch.zeros_like(by_array), written.zero * by_array, by_array)
                found = found - self._spread(blank)
            total = found if total is None else total + found
        assert total is not None
        return total

    def _by_array(self, own: Tensor) -> Tensor:
        """Return (B / groups, arrays, M, 1) of (B, M, 1): the sum over the groups of each array."""
        parts = own.unflatten(0, (-1, self.groups))
        short = -self.groups % self.together
        parts = torch.nn.functional.pad(parts, (0, 0, 0, 0, 0, short)) if short else parts
        return parts.unflatten(1, (-1, self.together)).sum(2)

    def _spread(self, by_array: Tensor) -> Tensor:
        """Return (B, M, 1) of (B / groups, arrays, M, 1): every group its array's."""
        return by_array.repeat_interleave(self.together, 1)[:, : self.groups].flatten(0, 1)

    def _converted(self, sums: Tensor, power: Tensor | None, idle: Tensor) -> Tensor:
        """Return converted column sums; ``idle`` is what cells of 0 add, ``power`` Σ x G² of the read noise."""
        if self.cells.read_noise and power is not None:
            sums = sums + self.cells.read_noise * power.sqrt() * _normal(power, self.draw)
        sums = sums + (idle if not self.cells.quiet else (idle + 0.5).floor())
        self.tally.conversions += sums.numel()
        if self.collect:
            self._collect(sums)
        if self.converter.bits is None:
            return sums
        steps = (sums / self.converter.step + 0.5).floor_()
        self.tally.clipped += int((steps > self.converter.top).sum())
        return steps.clamp_(0, self.converter.top) * self.converter.step

    def _collect(self, sums: Tensor) -> None:
        whole = sums.round().clamp(min=0).long().flatten()
        found = torch.bincount(whole)
        old = self.tally.sums
        if old is not None:
            size = max(len(old), len(found))
            found = torch.nn.functional.pad(found, (0, size - len(found)))
            found += torch.nn.functional.pad(old, (0, size - len(old)))
        self.tally.sums = found


@dataclass(frozen=True)
class Sliced:
    """How an operand's numbers lie in cells: slices of ``cell_bits``, in pairs where ``signed``."""

    outputs: int
    slices: int
    cell_bits: int
    signed: bool

    @property
    def most(self) -> int:
        """The largest level."""
        return 2**self.cell_bits - 1

    def levels(self, values: Tensor) -> Tensor:
        """Return what columns hold of whole values (B, K, outputs)."""
        return levels_of(values, self.slices, self.cell_bits, self.signed)

    def added(self, columns: Tensor) -> Tensor:
        """Return sums float64 (B, M, outputs) of converted columns (B, M, signs · slices · outputs)."""
        parts = columns.double().unflatten(-1, (-1, self.slices, self.outputs))
        weights = 2.0 ** (self.cell_bits * torch.arange(self.slices, dtype=torch.float64, device=columns.device))
        found = (parts * weights[:, None]).sum(-2)
        return found[..., 0, :] - found[..., 1, :] if self.signed else found[..., 0, :]


def sliced(outputs: int, bits: int, cell_bits: int, signed: bool) -> Sliced:
    """Return how numbers of so many bits lie in cells; those of fewer bits than a cell's use its outer levels alone."""
    used = min(cell_bits, bits)
    return Sliced(outputs, math.ceil(bits / used), used, signed)


def multiply(values: Tensor, planes: int, written: Written, how: Sliced, reading: Reading, signed: bool) -> Tensor:
    """Return x · W as arrays make it, float64 (B, M, N), of whole x (B, M, K) of so many ``planes`` a sign.

    ``signed``: inputs below zero have planes of their own.
    """
    parts = []
    for piece in _pieces(values, written.cells.shape[-1]):
        total: Tensor | float = 0.0
        for sign in (1, -1) if signed else (1,):
            amount = (sign * piece).clamp(min=0)
            for plane in range(planes):
                bits = (amount >> plane & 1).to(written.cells.dtype)
                total = total + sign * 2.0**plane * how.added(reading.columns(bits, written, not how.signed))
        assert isinstance(total, Tensor)
        parts.append(total)
    return torch.cat(parts, 1)


def _pieces(values: Tensor, columns: int) -> Iterator[Tensor]:
    """Yield whole inputs (B, M, K) in pieces along M whose column sums fit in memory."""
    most = max(1, MOST_AT_ONCE // max(1, len(values) * columns))
    yield from values.split(most, 1)
