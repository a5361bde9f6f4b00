"""One number format and the table of families.

A scheme works on a layer's weight of any shape (out, …), flattened to (out, n); its parameters are float tensors of
shape (out, 1). All functions are pure. A new format is one module here and one line in ``FAMILIES``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from types import ModuleType

import torch
from torch import Tensor

from snnq.base.errors import UsageError
from snnq.schemes import power_of_two, uniform
from snnq.schemes.names import FLOAT32, NAMES, split_name, unknown

FAMILIES: dict[str, ModuleType] = {"uniform": uniform, "power-of-two": power_of_two}

Params = dict[str, Tensor]


@dataclass(frozen=True)
class Scheme:
    """One number format: ``name`` such as ``uniform-2``, its ``family`` and its ``bits`` per weight."""

    name: str
    family: str
    bits: int

    @property
    def is_float(self) -> bool:
        """True for float32, which has no codes and no parameters."""
        return self.family == FLOAT32

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the per-channel parameters that finalize learns."""
        return () if self.is_float else FAMILIES[self.family].PARAMETERS

    @torch.no_grad()
    def fit(self, weight: Tensor) -> Params:
        """Return the parameters of least squared error for a weight (out, …)."""
        return {} if self.is_float else FAMILIES[self.family].fit(weight.detach().flatten(1), self.bits)

    @torch.no_grad()
    def cover(self, weight: Tensor) -> Params:
        """Return the parameters whose levels reach the extremes of a weight (out, …): nothing is clipped."""
        return {} if self.is_float else FAMILIES[self.family].cover(weight.detach().flatten(1), self.bits)

    @torch.no_grad()
    def candidates(self, weight: Tensor) -> list[Params]:
        """Return the parameters that ``fit`` chooses from, for a choice by another measure than squared error."""
        return [] if self.is_float else list(FAMILIES[self.family].candidates(weight.detach().flatten(1), self.bits))

    @torch.no_grad()
    def refine(self, weight: Tensor, params: Params) -> Params:
        """Return parameters near ``params`` that fit the weight no worse: much cheaper than ``fit``."""
        return {} if self.is_float else FAMILIES[self.family].refine(weight.detach().flatten(1), params, self.bits)

    def moved(self, params: Params, shifts: Params) -> Params:
        """Return the parameters after learned shifts of the same shapes; zero shifts change nothing."""
        return {} if self.is_float else FAMILIES[self.family].moved(params, shifts)

    def stored(self, params: Params) -> Params:
        """Return the parameters as they are stored: zero-points and exponents rounded to what they stand for."""
        return {} if self.is_float else FAMILIES[self.family].stored(params)

    def quantize(self, weight: Tensor, params: Params) -> Tensor:
        """Return the quantised weight, same shape, differentiable (straight-through) in weight and params."""
        if self.is_float:
            return weight
        return FAMILIES[self.family].quantize(weight.flatten(1), params, self.bits).view_as(weight)

    @torch.no_grad()
    def project(self, weight: Tensor, params: Params) -> tuple[Tensor, Tensor]:
        """Return the quantised weight and the mask of weights that are not clipped, without gradients.

        Also takes a vector (N,) of weights of any layers, with parameters (N,): one of each for every weight.
        """
        if self.is_float:
            return weight.detach(), torch.ones_like(weight, dtype=torch.bool)
        rows = weight if weight.ndim == 1 else weight.flatten(1)
        value, inside = FAMILIES[self.family].project(rows, params, self.bits)
        return value.view_as(weight), inside.view_as(weight)

    @torch.no_grad()
    def encode(self, weight: Tensor, params: Params) -> Tensor:
        """Return the codes of a weight (out, …) as uint8 (out, n), each below 2^bits."""
        if self.is_float:
            raise ValueError("float32 has no codes")
        return FAMILIES[self.family].codes(weight.flatten(1), params, self.bits).to(torch.uint8)

    @torch.no_grad()
    def decode(self, codes: Tensor, params: Params) -> Tensor:
        """Return the weight (out, n) that codes (out, n) and params stand for; the inverse of ``encode``."""
        if self.is_float:
            raise ValueError("float32 has no codes")
        return FAMILIES[self.family].values(codes, params, self.bits)

    @torch.no_grad()
    def grid(self, params: Params) -> Tensor:
        """Return every level of every channel, (out, levels), ascending."""
        if self.is_float:
            raise ValueError("float32 has no levels")
        return FAMILIES[self.family].grid(params, self.bits)


@cache
def scheme(name: str) -> Scheme:
    """Return the scheme of that name; raises UsageError naming the nearest one."""
    if name not in NAMES:
        raise UsageError(unknown(name))
    family, bits = split_name(name)
    return Scheme(name, family, bits)
