"""Frames as a packed model's first layer sees them: event counts up to a limit, or pixels of images in fixed point.

A byte p of channel c becomes X = round((p/255 - mean_c)/deviation_c · 2^f), halves to even, computed in float32 in that
order: one table of 256 whole numbers a channel. Normalised pixels x become round(x · 2^f): the same numbers. Zeros
around an image are zeros behind the normalisation, in float as in whole numbers. f is the largest that keeps X in 16
bits. Source: ours (docs/method.md §5).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from snnq.base.errors import UsageError
from snnq.base.validation import Many, Record
from snnq.data.dataset import Frames
from snnq.data.pixels import Pixels
from snnq.network.layers import NO_COUNTS
from snnq.network.streams import COUNT_LIMIT, Stream

Deviation = Annotated[float, Field(gt=0)]
NO_PIXELS = "frames must be images: bytes, or normalised pixels that are finite"


class InputPixels(Record):
    """How a packed model's images become whole numbers, parts of 2^-``bits``; ``how`` they were made of files.

    ``still``: one image is the same at every time step, as in folders of earlier versions, which do not say it.
    """

    mean: Many[float]
    std: Many[Deviation]
    bits: Annotated[int, Field(ge=0, le=30)]
    how: str
    still: bool = True

    def reals(self, pixels: np.ndarray) -> np.ndarray:
        """Return normalised pixels, float32, of bytes (B, T, C, H, W): those that ``Pixels.reals`` returns."""
        mean, std = (np.array(one, np.float32).reshape(-1, 1, 1) for one in (self.mean, self.std))
        return (pixels.astype(np.float32) / np.float32(255) - mean) / std


def input_of(pixels: Pixels) -> InputPixels:
    """Return what a packed folder says of images."""
    return InputPixels(mean=pixels.mean, std=pixels.std, bits=pixels.fraction_bits, how=pixels.how, still=pixels.still)


def engine_frames(samples: Frames, places: Sequence[int] | np.ndarray, pixels: InputPixels | None) -> np.ndarray:
    """Return samples as an engine takes them: counts, or bytes of images, or their pixels as the data normalise them.

    ``pixels``: what the engine's folder does to bytes.
    """
    data = samples.pixels
    if data is not None and (pixels is None or (pixels.mean, pixels.std) != (data.mean, data.std)):
        return samples.__getitems__(places)[0].numpy()
    return np.asarray(samples.frames[np.asarray(places, np.int64)])


def as_input(frames: np.ndarray, stream: Stream, pixels: InputPixels | None) -> np.ndarray:
    """Return frames (B, T, C, H, W) as whole numbers; raises UsageError for what the ``stream`` is not made of."""
    if stream.kind != "pixels":
        return _counts(frames)
    if frames.dtype == np.uint8 and pixels is not None:
        table = as_input(pixels.reals(_every_byte(len(pixels.mean))), stream, None)[0, 0, :, 0]
        channels = np.arange(len(table)).reshape(-1, 1, 1)
        return table[channels, frames]
    if frames.dtype.kind != "f" or not np.isfinite(frames).all():
        raise UsageError(NO_PIXELS)
    bound = stream.bound or 0
    whole = np.clip(np.rint(frames.astype(np.float32) / np.float32(stream.unit)), -bound, bound)
    return np.ascontiguousarray(whole, np.int32)


def _every_byte(channels: int) -> np.ndarray:
    return np.broadcast_to(np.arange(256, dtype=np.uint8), (1, 1, channels, 1, 256))


def _counts(frames: np.ndarray) -> np.ndarray:
    if frames.dtype == np.uint8:
        return np.ascontiguousarray(frames)
    whole = frames.dtype.kind in "bui" or (frames.dtype.kind == "f" and np.array_equal(frames, np.rint(frames)))
    if not whole or not (np.isfinite(frames).all() and frames.min(initial=0) >= 0):
        raise UsageError(NO_COUNTS)
    return np.ascontiguousarray(frames.clip(None, COUNT_LIMIT) if frames.itemsize > 1 else frames, np.uint16)
