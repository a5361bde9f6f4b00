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
from dataclasses import dataclass

import torch
from torch import Generator, Tensor


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


def held(values: Tensor, how: Sliced, cells: Cells, draw: Generator) -> Tensor:
    """Return whole numbers (B, K, N) as written cells hold them, float64, each read once: what a model trains on.

    A reference column of cells of 0 is taken as noiseless.
    """
    written = write(how.levels(values), how.most, cells, draw)
    found = written.cells
    if cells.read_noise:
        found = found + cells.read_noise * (found + written.zero) * _normal(found, draw)
    return how.added(found)


def _normal(like: Tensor, draw: Generator) -> Tensor:
    return torch.randn(like.shape, generator=draw, dtype=torch.float32).to(like)


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
