"""What flows between the engine's steps: bits of whole numbers, or the numbers themselves, and lists of both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from snnq.runtime.vectors import LANES


class Lists(NamedTuple):
    """What a layer looks up, see ``kernels.run_block``: its groups of four inputs that are not silent."""

    entries: np.ndarray
    lengths: np.ndarray
    places: int
    digit_bits: int

    @property
    def rows(self) -> int:
        """Rows of sums that one tap of a kernel looks up."""
        return int(self.lengths.sum())


class Windows(NamedTuple):
    """What a first layer of few channels looks up, see ``frame_kernels.list_windows``."""

    patterns: np.ndarray
    used: np.ndarray


class Vectors(NamedTuple):
    """What a layer of few weights adds up, see ``sparse_kernels.list_vectors``."""

    vectors: np.ndarray


class BitPlanes(NamedTuple):
    """Whole numbers from 0 to ``bound``: bit p of them in plane p of ``planes``, uint64 (planes, pixels, steps, words).

    Pixels are those of all samples, ``height`` × ``width`` each.
    """

    planes: np.ndarray
    height: int
    width: int
    channels: int
    bound: int = 1

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.height, self.width

    @property
    def pixels(self) -> int:
        """Pixels of one sample."""
        return self.height * self.width

    @property
    def spikes(self) -> np.ndarray:
        """Its only plane, uint64 (pixels, steps, words)."""
        (found,) = self.planes
        return found


class Numbers(NamedTuple):
    """Whole numbers as they are: potentials, or sums of spikes; int32 or int64 (pixels, steps, lanes).

    Lanes are those of whole words: past the last channel nothing has a meaning.
    """

    values: np.ndarray
    height: int
    width: int
    channels: int

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.height, self.width

    @property
    def pixels(self) -> int:
        """Pixels of one sample."""
        return self.height * self.width


def shown(stream: BitPlanes) -> np.ndarray:
    """Return spikes as a watch is shown them: uint64 (pixels, steps, words), of several a step (planes, …)."""
    return stream.planes if len(stream.planes) > 1 else stream.spikes


def numbers_of(stream: BitPlanes, found: np.ndarray) -> None:
    """Write whole numbers to ``found``, int32 or int64 (pixels, steps, channels)."""
    found[:] = 0
    for number, plane in enumerate(stream.planes[: bits(stream.bound)]):
        found += unpack(plane, stream.channels).astype(np.int32) << number


def concat_numbers(streams: Sequence[BitPlanes | Numbers], factors: Sequence[int], found: np.ndarray) -> None:
    """Write streams times their factors behind one another, to ``found``, int32 or int64 (pixels, steps, lanes)."""
    begin = 0
    for stream, factor in zip(streams, factors, strict=True):
        part = found[..., begin : begin + stream.channels]
        if isinstance(stream, Numbers):
            part[:] = stream.values[..., : stream.channels]
        else:
            numbers_of(stream, part)
        part *= factor
        begin += stream.channels


def concat_spikes(streams: Sequence[BitPlanes], found: np.ndarray) -> None:
    """Write whole numbers behind one another, to ``found``, uint64 (planes, pixels, steps, words)."""
    for plane, out in enumerate(found):
        there = [one.planes[plane] if plane < bits(one.bound) else np.zeros_like(one.planes[0]) for one in streams]
        fired = np.concatenate([unpack(one, x.channels) for one, x in zip(there, streams, strict=True)], -1)
        wide = np.zeros((*fired.shape[:-1], out.shape[-1] * LANES), bool)
        wide[..., : fired.shape[-1]] = fired
        out[:] = np.packbits(wide, axis=-1, bitorder="little").view("<u8")


def flatten_numbers(stream: Numbers, found: np.ndarray) -> None:
    """Write the pixels of every channel side by side, to ``found``, int32 or int64 (samples, steps, lanes)."""
    _flat(stream.values[..., : stream.channels], stream.pixels, found)


def flatten_spikes(stream: BitPlanes, found: np.ndarray) -> None:
    """Write the pixels of every channel side by side, to ``found``, uint64 (planes, samples, steps, words)."""
    for plane, out in zip(stream.planes, found, strict=False):  # planes may be more than its numbers need
        wide = np.zeros((*out.shape[:-1], out.shape[-1] * LANES), bool)
        _flat(unpack(plane, stream.channels), stream.pixels, wide)
        out[:] = np.packbits(wide, axis=-1, bitorder="little").view("<u8")


def _flat(values: np.ndarray, pixels: int, found: np.ndarray) -> None:
    """Write (samples · pixels, steps, channels) to the first of (samples, steps, …), channel by channel."""
    images = values.reshape(-1, pixels, *values.shape[1:]).transpose(0, 2, 3, 1)  # (samples, steps, channels, pixels)
    found[..., : images.shape[2] * pixels] = images.reshape(*images.shape[:2], -1)


def sum_windows(images: np.ndarray, sums: np.ndarray) -> None:
    """Write the sums of windows of 2×2 of numbers (samples, height, width, …); beyond an odd edge stands the edge."""
    first = [np.arange(0, side, 2) for side in images.shape[1:3]]
    second = [np.minimum(one + 1, side - 1) for one, side in zip(first, images.shape[1:3], strict=True)]
    sums[:] = 0
    for rows in (first[0], second[0]):
        for columns in (first[1], second[1]):
            sums += images[:, rows][:, :, columns]


def bits(bound: int) -> int:
    """Return how many planes hold numbers up to a bound."""
    return int(bound).bit_length()


def spike_count(spikes: np.ndarray) -> int:
    """Return how many spikes a watch was shown."""
    planes = spikes if spikes.ndim == 4 else spikes[None]
    return sum(int(np.bitwise_count(plane).sum()) << number for number, plane in enumerate(planes))


def unpack(spikes: np.ndarray, channels: int) -> np.ndarray:
    """Return spikes uint64 (pixels, steps, words) as bool (pixels, steps, channels); of (planes, …), int32 numbers."""
    if spikes.ndim == 4:
        parts = (unpack(plane, channels).astype(np.int32) << number for number, plane in enumerate(spikes))
        return np.asarray(sum(parts), np.int32)
    octets = spikes.astype("<u8", copy=False).view(np.uint8)
    return np.unpackbits(octets, axis=-1, bitorder="little")[..., :channels].astype(bool)


def lanes_of(channels: int) -> int:
    """Return the channels of whole words that hold so many."""
    return -(-channels // LANES) * LANES
