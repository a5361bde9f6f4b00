"""A number format as one record of slots: all that any other room asks of it.

Weights come as matrices (out, n), or as vectors (N,) with one set of parameters a weight; parameters are (out, 1) or
(N,). ``width``, which functions take last but for a ``bound``, is the number behind the dash of a scheme's name; a
format of one scheme says its own, the bits of a code.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from snnq.schemes.whole import Whole

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

Params = dict[str, "Tensor"]
Arrays = dict[str, np.ndarray]
# What hardware is asked to do with a weight: the keys under which a cost table prices it.
FLOAT_OPERATION, INTEGER_OPERATION, SHIFT_OPERATION = OPERATIONS = ("float32", "uniform", "power-of-two")
# The tensor that holds (out, n), int64, the shape of a weight before it was packed.
SHAPE = "weight_shape"


class Take(Protocol):
    """How a format is given the tensors of a layer."""

    def __call__(self, key: str, shape: tuple[int, ...], *dtypes: str) -> np.ndarray:
        """Return the tensor of a key; raises PackedError unless it has this shape and one of these types."""
        ...


class Stored(NamedTuple):
    """What a layer's tensors say: codes (out, n) and float32 parameters, each (out, 1)."""

    codes: np.ndarray
    params: Arrays


@dataclass(frozen=True)
class Label:
    """How a format is shown: the letter of its short name, its colour, and its equation in a sentence without its end.

    ``hue`` (degrees) and ``saturation`` (per cent) colour it; more bits are lighter, unless ``lightness`` is fixed.
    """

    letter: str
    hue: int
    saturation: int
    formula: str = ""
    hatched: bool = False
    lightness: int | None = None


def round_ste(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Round to the nearest integer (ties to even); the gradient is that of the identity (straight through)."""
    return x + (x.round() - x).detach()


def flat_bits(shape: Sequence[int], width: int) -> float:
    """Return weights · width, in bits."""
    return math.prod(shape) * width


def scale_of(params: Params) -> Tensor:
    """Return the parameter named scale."""
    return params["scale"]


def with_scale(params: Params, factor: Tensor) -> Params:
    """Return parameters of another scale."""
    return params | {"scale": factor}


@dataclass(frozen=True, eq=False)
class Format:
    """One family of number formats.

    ``variants``: the name of each of its schemes and that one's width. ``parameters``: their names, and what each is
    at unit scale; one named ``scale`` multiplies every level. ``operation``: what its weights cost, one of
    ``OPERATIONS``. ``bits``: the price of a weight of that shape; whole numbers stay int.

    ``tensors``: the key of each tensor on disk, and what its bytes count as: ``words`` (the weights, one tensor),
    then ``scales`` or ``zero_points``, one tensor for each parameter in their order, and ``shapes``.
    """

    name: str
    variants: Mapping[str, int]
    parameters: Mapping[str, float]
    operation: str
    label: Label
    # torch: parameters of least squared error, of levels that reach the extremes, to choose from, and near given ones.
    fit: Callable[[Tensor, int], Params]
    cover: Callable[[Tensor, int], Params]
    candidates: Callable[[Tensor, int], Iterable[Params]]
    refine: Callable[[Tensor, Params, int], Params]
    # Parameters after learned shifts, zero shifts changing nothing; parameters rounded to what is stored of them.
    moved: Callable[[Params, Params], Params]
    stored: Callable[[Params], Params]
    # ŵ with straight-through gradients; ŵ and the mask of weights that are not clipped, without gradients.
    quantize: Callable[[Tensor, Params, int], Tensor]
    project: Callable[[Tensor, Params, int], tuple[Tensor, Tensor]]
    # Codes below 256, the weights of codes, and every level of each channel, ascending.
    codes: Callable[[Tensor, Params, int], Tensor]
    values: Callable[[Tensor, Params, int], Tensor]
    grid: Callable[[Params, int], Tensor]
    # numpy: codes uint8 (out, n) and parameters to tensors and back, and to float32, bit for bit as ``values``.
    tensors: Mapping[str, str]
    write: Callable[[np.ndarray, Arrays, int], Arrays]
    read: Callable[[Take, tuple[int, ...], int], Stored]
    decode: Callable[[np.ndarray, Arrays, int], np.ndarray]
    # Bits that the tensors of words take for a shape, padding included; every code that stands for a level.
    word_bits: Callable[[Sequence[int], int], int]
    valid_codes: Callable[[int], np.ndarray]
    # Whole numbers, fine enough that the sums of inputs up to a bound are exact.
    whole: Callable[[np.ndarray, Arrays, int, int], Whole]
    bits: Callable[[Sequence[int], int], float] = flat_bits
    # torch: the parameters of a grid about zero, from the distance (out, 1) of its first levels; None: it has no zero.
    around_zero: Callable[[Tensor, int], Params] | None = None
    # torch: the nearest parameters with a level at exactly zero, differentiable; None: all grids have one, or none has.
    with_zero: Callable[[Params, int], Params] | None = None
    # Whether the levels of a channel are evenly spaced.
    even: bool = False
    # What multiplies every level of a channel, (out, 1), and the parameters with another such factor.
    factor: Callable[[Params], Tensor] = scale_of
    with_factor: Callable[[Params, Tensor], Params] = with_scale
