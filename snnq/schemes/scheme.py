"""Schemes: a number format at one width, by name, and which formats there are.

``uniform-4@0.95`` is a rated scheme: codes of uniform-4 that finetuning makes so unequal that a coder stores a weight
in 0.95 bits (docs/method.md §6). Its rate is its price; grid, codes and arithmetic are those of uniform-4.

A scheme works on a layer's weight of any shape (out, …), flattened to (out, n); its parameters are float tensors of
shape (out, 1). All functions are pure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, wraps
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

import numpy as np

from snnq.base.errors import UsageError, nearest
from snnq.schemes.binary import BINARY
from snnq.schemes.float32 import FLOAT
from snnq.schemes.format import OPERATIONS, Arrays, Format, Params, Stored, Take, scale_of
from snnq.schemes.names import FLOAT32
from snnq.schemes.power_of_two import POWER_OF_TWO
from snnq.schemes.rated import fit_rate
from snnq.schemes.ternary import TERNARY
from snnq.schemes.uniform import UNIFORM
from snnq.schemes.whole import Whole
from snnq.schemes.words import MAX_BITS

if TYPE_CHECKING:
    import torch
    from jaxtyping import Bool, Float, Float32, Int, Num, UInt8
    from torch import Tensor
else:
    from snnq.base.lazy import torch

P = ParamSpec("P")
T = TypeVar("T")


def _no_grad(method: Callable[Concatenate[Scheme, P], T]) -> Callable[Concatenate[Scheme, P], T]:
    """Return a method that runs without gradients; torch's own decorator would import torch here."""

    @wraps(method)
    def run(self: Scheme, *given: P.args, **named: P.kwargs) -> T:
        with torch.no_grad():
            return method(self, *given, **named)

    return run


@dataclass(frozen=True, eq=False)
class Scheme:
    """A number format at one width; ``name`` is such as ``uniform-2`` or ``ternary``. There is one of each name.

    ``rate``: of a rated scheme, the coded bits a weight that its name says; None where every code has a fixed width.
    ``holds_zero``: it is that of a masked layer, whose weights of zero stay zero (``schemes.holding``).
    """

    name: str
    format: Format
    width: int
    rate: float | None = None
    holds_zero: bool = False

    def __reduce__(self) -> tuple[Callable[[str, bool], Scheme], tuple[str, bool]]:
        return _again, (self.name, self.holds_zero)

    @property
    def family(self) -> str:
        """The format's name: ``uniform``."""
        return self.format.name

    @property
    def bits(self) -> float:
        """Bits per weight; whole numbers are int."""
        return self.storage_bits((1, 1))

    @property
    def code_width(self) -> float:
        """Bits per weight without any rate: what a code takes in words."""
        return self.format.bits((1, 1), self.width)

    @property
    def grid_name(self) -> str:
        """The name of the scheme without its rate: ``uniform-4``."""
        return self.name.partition(RATE_SIGN)[0]

    @property
    def is_float(self) -> bool:
        """True for float32, which has no codes and no parameters."""
        return self.family == FLOAT32

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the per-channel parameters that finalize learns."""
        return tuple(self.format.parameters)

    @property
    def valid_codes(self) -> Int[np.ndarray, " levels"]:
        """Every code that stands for a level, ascending."""
        return self.format.valid_codes(self.width)

    @property
    def code_bits(self) -> int:
        """The bits of its largest code."""
        return int(self.valid_codes.max(initial=0)).bit_length()

    def storage_bits(self, shape: Sequence[int]) -> float:
        """Return the price of a weight of that shape, in bits."""
        return self.format.bits(shape, self.width) if self.rate is None else math.prod(shape) * self.rate

    def word_bits(self, shape: Sequence[int]) -> int:
        """Return the bits that a weight of that shape takes on disk, padding included, parameters not."""
        return self.format.word_bits(shape, self.width)

    @_no_grad
    def fit(self, weight: Float[Tensor, "out ..."]) -> dict[str, Float[Tensor, "out 1"]]:
        """Return the parameters of least squared error for a weight (out, …); of a rated scheme, those of its rate."""
        if self.rate is not None:
            return self.coarse(weight, self.rate)
        return self.format.fit(weight.detach().flatten(1), self.width)

    @_no_grad
    def cover(self, weight: Float[Tensor, "out ..."]) -> dict[str, Float[Tensor, "out 1"]]:
        """Return the parameters whose levels reach the extremes of a weight (out, …): nothing is clipped.

        A rated scheme has one grid for a weight, that of ``fit``, here and in ``candidates``; ``refine`` keeps it.
        """
        if self.rate is not None:
            return self.fit(weight)
        return self.format.cover(weight.detach().flatten(1), self.width)

    @_no_grad
    def coarse(self, weight: Float[Tensor, "out ..."], rate: float) -> dict[str, Float[Tensor, "out 1"]]:
        """Return the parameters of a grid about zero whose codes of a weight (out, …) have an entropy of ``rate``."""
        return fit_rate(weight.detach().flatten(1), self, rate)

    @_no_grad
    def around_zero(self, step: Float[Tensor, "out 1"]) -> dict[str, Float[Tensor, "out 1"]]:
        """Return the parameters whose levels next to zero are about ``step`` (out, 1) away from it: a coarse grid."""
        assert self.format.around_zero is not None, self.name
        return self.format.around_zero(step, self.width)

    @_no_grad
    def candidates(self, weight: Float[Tensor, "out ..."]) -> list[dict[str, Float[Tensor, "out 1"]]]:
        """Return the parameters that ``fit`` chooses from, for a choice by another measure than squared error."""
        if self.rate is not None:
            return [self.fit(weight)]
        return list(self.format.candidates(weight.detach().flatten(1), self.width))

    @_no_grad
    def refine(
        self, weight: Float[Tensor, "out ..."], params: dict[str, Float[Tensor, "out 1"]]
    ) -> dict[str, Float[Tensor, "out 1"]]:
        """Return parameters near ``params`` that fit the weight no worse: much cheaper than ``fit``."""
        return params if self.rate is not None else self.format.refine(weight.detach().flatten(1), params, self.width)

    def moved(self, params: Params, shifts: Params) -> Params:
        """Return the parameters after learned shifts of the same shapes; zero shifts change nothing."""
        return self.format.moved(params, shifts)

    def stored(self, params: Params) -> Params:
        """Return the parameters as they are stored: zero-points and exponents rounded to what they stand for."""
        return self.format.stored(params)

    def factor(self, params: dict[str, Float[Tensor, "out 1"]]) -> Float[Tensor, "out 1"]:
        """Return what multiplies every level of each channel, (out, 1)."""
        return self.format.factor(params)

    def with_factor(
        self, params: dict[str, Float[Tensor, "out 1"]], factor: Float[Tensor, "out 1"]
    ) -> dict[str, Float[Tensor, "out 1"]]:
        """Return parameters whose levels have another factor (out, 1), or the nearest that the format has."""
        return self.format.with_factor(params, factor)

    def quantize(
        self, weight: Float[Tensor, " out *rest"], params: dict[str, Float[Tensor, "out 1"]]
    ) -> Float[Tensor, " out *rest"]:
        """Return the quantised weight, same shape, differentiable (straight-through) in weight and params."""
        return self.format.quantize(weight.flatten(1), params, self.width).view_as(weight)

    @_no_grad
    def project(
        self, weight: Float[Tensor, "*shape"], params: Params
    ) -> tuple[Float[Tensor, "*shape"], Bool[Tensor, "*shape"]]:
        """Return the quantised weight and the mask of weights that are not clipped, without gradients.

        Also takes a vector (N,) of weights of any layers, with parameters (N,): one of each for every weight.
        """
        rows = weight if weight.ndim == 1 else weight.flatten(1)
        value, inside = self.format.project(rows, params, self.width)
        return value.view_as(weight), inside.view_as(weight)

    @_no_grad
    def encode(
        self, weight: Float[Tensor, "out ..."], params: dict[str, Float[Tensor, "out 1"]]
    ) -> UInt8[Tensor, "out n"]:
        """Return the codes of a weight (out, …) as uint8 (out, n), each one of ``valid_codes``."""
        return self.format.codes(weight.flatten(1), params, self.width).to(torch.uint8)

    @_no_grad
    def decode(self, codes: Num[Tensor, "out n"], params: dict[str, Float[Tensor, "out 1"]]) -> Float[Tensor, "out n"]:
        """Return the weight (out, n) that codes (out, n) and params stand for; the inverse of ``encode``."""
        return self.format.values(codes, params, self.width)

    @_no_grad
    def grid(self, params: dict[str, Float[Tensor, "out 1"]]) -> Float[Tensor, "out levels"]:
        """Return every level of every channel, (out, levels), ascending."""
        return self.format.grid(params, self.width)

    def write(self, stored: Stored) -> Arrays:
        """Return the tensors of codes and parameters; raises VerificationError where one cannot be stored exactly."""
        return self.format.write(*stored, self.width)

    def read(self, take: Take, shape: tuple[int, ...]) -> Stored:
        """Return codes and parameters of a weight of that shape from its tensors, which ``take`` checks and gives."""
        return self.format.read(take, shape, self.width)

    def weight(self, stored: Stored) -> Float32[np.ndarray, "out n"]:
        """Return the weight float32 (out, n) of what was read, bit for bit as ``decode`` gives it."""
        return self.format.decode(*stored, self.width)

    def whole(self, stored: Stored, bound: int) -> Whole:
        """Return the weight of what was read as whole numbers, for inputs up to ``bound``."""
        return self.format.whole(*stored, self.width, bound)


RATE_SIGN = "@"
# A rate is written with so many decimals: a ten-thousandth of a bit.
RATE_DECIMALS = 4
_SCHEMES: dict[str, Scheme] = {}


def register(format: Format) -> None:
    """Make a format's schemes known everywhere; raises ValueError for a name that is taken or an unknown operation."""
    if format.operation not in OPERATIONS:
        raise ValueError(f"{format.name}: unknown operation '{format.operation}'; allowed: {', '.join(OPERATIONS)}")
    if format.parameters and "scale" not in format.parameters and format.factor is scale_of:
        raise ValueError(f"{format.name}: no parameter is its scale, so it must say 'factor' and 'with_factor'")
    for name in format.variants:
        if name in _SCHEMES:
            raise ValueError(f"{format.name}: there is a scheme '{name}' already")
    _SCHEMES.update({name: Scheme(name, format, width) for name, width in format.variants.items()})


def unregister(format: Format) -> None:
    """Take away what ``register`` made known."""
    for name in format.variants:
        del _SCHEMES[name]
    _rated.cache_clear()


def scheme_names() -> tuple[str, ...]:
    """Return the names of all schemes, float32 first."""
    return tuple(_SCHEMES)


def formats() -> tuple[Format, ...]:
    """Return all formats, float32 first."""
    return tuple({one.format.name: one.format for one in _SCHEMES.values()}.values())


def scheme(name: str) -> Scheme:
    """Return the scheme of that name; raises UsageError naming the nearest one."""
    if name in _SCHEMES:
        return _SCHEMES[name]
    grid, sign, rate = name.partition(RATE_SIGN)
    if not sign or grid not in _SCHEMES:
        raise UsageError(unknown(grid if sign else name))
    return _rated(grid, rate_of(name, rate))


def rated(name: str, rate: float) -> str:
    """Return the name of a grid at a rate in bits a weight, rounded up to the decimals that are written.

    That is one unit of the last at least; where the rate is no less than the code's width, it is the grid's own name.
    """
    one, ticks = scheme(name), 10**RATE_DECIMALS
    written = max(1, math.ceil(rate * ticks - 1e-6)) / ticks
    return f"{one.grid_name}{RATE_SIGN}{written:g}" if written < one.code_width else one.grid_name


def rate_of(name: str, text: str) -> float:
    """Return the rate behind the sign of a name; raises UsageError for what is no number."""
    try:
        rate = round(float(text), RATE_DECIMALS)
    except ValueError:
        rate = math.nan
    if not 0 < rate <= MAX_BITS:
        raise UsageError(f"scheme '{name}': '{text}' is no number of bits a weight, such as uniform-4{RATE_SIGN}0.95")
    return rate


@cache
def _rated(grid: str, rate: float) -> Scheme:
    one = _SCHEMES[grid]
    if one.format.around_zero is None:
        raise UsageError(f"{grid}{RATE_SIGN}{rate:g}: {grid} has no level at zero, so it is trained to no rate")
    if rate > one.code_width:
        raise UsageError(f"{grid}{RATE_SIGN}{rate:g}: a code of {grid} takes {one.code_width:g} bits at most")
    return Scheme(f"{grid}{RATE_SIGN}{rate:g}", one.format, one.width, rate)


def _again(name: str, holds_zero: bool) -> Scheme:
    """Return a scheme that was copied, or sent to another process."""
    from snnq.schemes.holding import holding_zero

    return holding_zero(name) if holds_zero else scheme(name)


def unknown(name: str) -> str:
    """Return what to say of a name that is no scheme: the nearest one, and what is allowed."""
    # Of a family that there is, the bits are wrong, and no other number of them is nearer to what was meant.
    family = name.rpartition("-")[0]
    close = "" if any(one.startswith(f"{family}-") for one in scheme_names()) else nearest(name, scheme_names())
    return f"unknown scheme '{name}'{close}; allowed: {allowed()}"


def allowed() -> str:
    """Return the names of all schemes in a few words, those of a format with several widths as one."""
    single = [one.name for one in formats() if len(one.variants) == 1]
    ranges = [one for one in formats() if len(one.variants) > 1]
    widths = [width for one in ranges for width in one.variants.values()]
    names = ", ".join([*single, *(f"{one.name}-b" for one in ranges)])
    return f"{names} with b from {min(widths)} to {max(widths)}"


for _format in (FLOAT, UNIFORM, POWER_OF_TWO, TERNARY, BINARY):
    register(_format)
