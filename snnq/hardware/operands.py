"""What a machine multiplies: the spikes that a layer was given, and which of its weights are not zero.

Spikes are bits. Whole numbers become bit planes, x = Σ_p 2^p x_p (below zero: planes of their own, taken away), each of
which is run as spikes are; planes of a layer are counted. Convolutions become products of windows with kernels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class ConvolutionWindow:
    """How a convolution moves over its input (height, width): kernel, stride, dilation, and zeros before and behind."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    padding: tuple[tuple[int, int], tuple[int, int]]

    @property
    def is_point(self) -> bool:
        """Whether it sees one pixel at a time, each once: a linear layer of tokens."""
        return self == ConvolutionWindow((1, 1), (1, 1), self.dilation, ((0, 0), (0, 0)))

    def positions(self, size: tuple[int, ...]) -> int:
        """Return how many windows an image (H, W) has."""
        facts = zip(size, self.padding, self.kernel, self.stride, self.dilation, strict=True)
        return math.prod((n + a + b - d * (k - 1) - 1) // s + 1 for n, (a, b), k, s, d in facts)

    def windows(self, images: np.ndarray) -> np.ndarray:
        """Return every window of images (…, C, H, W), each flat: (…, positions, C · k · k), kernels' own order."""
        free = [(0, 0)] * (images.ndim - 2)
        padded = np.pad(images, [*free, *self.padding])
        reach = tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation, strict=True))
        views = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=(-2, -1))
        (s, r), (d, e) = self.stride, self.dilation
        taken = np.moveaxis(views[..., ::s, ::r, ::d, ::e], -5, -3)  # (…, H', W', C, k, k)
        lead = taken.shape[:-5]
        return taken.reshape(*lead, taken.shape[-5] * taken.shape[-4], -1)


@dataclass(frozen=True, eq=False)
class Operands:
    """One layer and what it was given in one sample.

    ``planes``: bits (P, T, …): of a linear layer (P, T, R, C), R rows of C inputs; of a convolution (P, T, C, H, W).
    ``weights``: (groups, K, N), K inputs of each of N outputs; zeros are skipped. ``value_bits``: a stored weight's.
    ``exact``: the weights are whole numbers, so that sums can be compared bit for bit.
    """

    name: str
    planes: np.ndarray
    weights: np.ndarray
    value_bits: int
    window: ConvolutionWindow | None = None
    exact: bool = False

    @property
    def groups(self) -> int:
        """Groups of a convolution; 1 elsewhere."""
        return len(self.weights)

    @property
    def positions(self) -> int:
        """Rows of a product: tokens, or positions of a window."""
        return self.planes.shape[2] if self.window is None else self.window.positions(self.planes.shape[-2:])

    @cached_property
    def mask(self) -> np.ndarray:
        """Which weights are not zero, bool (groups, K, N)."""
        return self.weights != 0

    @cached_property
    def rows(self) -> np.ndarray:
        """The input as it is stored, bits (P, T, R, C): a row for each token or pixel."""
        if self.window is None:
            return self.planes
        return np.moveaxis(self.planes, 2, -1).reshape(*self.planes.shape[:2], -1, self.planes.shape[2])

    def of_group(self, group: int) -> np.ndarray:
        """Return what one group multiplies, bits (P, T, M, K): a row for each output position."""
        if self.window is None:
            return self.planes
        width = self.planes.shape[2] // self.groups
        return self.window.windows(self.planes[:, :, group * width : (group + 1) * width])


def bit_planes(values: np.ndarray) -> np.ndarray:
    """Return whole numbers (T, …) as bits (P, T, …): planes of the amount above zero, then, if any, of that below.

    The weight of plane p among so many of one sign is 2^p. Spikes have one plane. Raises ValueError for other numbers.
    """
    whole = values.astype(np.int64)
    if not np.array_equal(whole, values):
        raise ValueError("not whole numbers")
    found: list[np.ndarray] = []
    for signed in (whole, -whole) if (whole < 0).any() else (whole,):
        amount = np.maximum(signed, 0)
        count = max(1, int(amount.max(initial=0)).bit_length())
        found += [(amount >> plane & 1).astype(bool) for plane in range(count)]
    return np.stack(found)


def passes(planes: np.ndarray, lanes: int) -> list[np.ndarray]:
    """Return what elements of so many lanes do at once: bits (L, M, K), L ≤ lanes steps of a plane of (P, T, M, K)."""
    return [plane[start : start + lanes] for plane in planes for start in range(0, len(plane), lanes)]
