"""What flows through a graph: named streams, (T, B, C, h, w), and what each carries."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from snnq.base.errors import UsageError

# Larger event counts in one pixel and step count as this many: it bounds the first layer's sums.
COUNT_LIMIT = 4095
FRAMES, LOGITS = "frames", "logits"
Kind = Literal["counts", "pixels", "codes", "spikes", "integers", "reals"]
Streams = Mapping[str, "Stream"]
Sides = int | tuple[int, int]  # of a square, or height and width


@dataclass(frozen=True)
class Stream:
    """What flows between operations, for every step and sample: (channels, height, width).

    ``kind``: event counts, pixels of images, codes (quantised activations), spikes {0, 1}, integers (sums of spikes, or
    integer spikes), or reals. All but reals are whole numbers from 0 to ``bound`` times ``unit``: 1, the scale of an
    attention, or the step of activations. Pixels in fixed point, residual frames, and codes of what may be negative go
    from -``bound``. A mean is a sum of ``parts`` numbers divided by them.
    """

    kind: Kind
    channels: int
    size: tuple[int, int]
    bound: int | None = 1
    unit: float = 1.0
    parts: int = 1

    @property
    def pixels(self) -> int:
        """Height × width."""
        return math.prod(self.size)

    @property
    def whole(self) -> bool:
        """Whether it is of whole numbers, of unit 1."""
        return self.kind != "reals" and self.unit == 1 and self.parts == 1


def stream_of(streams: Streams, name: str, reader: str) -> Stream:
    """Return a stream that ``reader`` takes; raises UsageError where nothing gives it."""
    if name not in streams:
        raise UsageError(f"graph: {reader} takes stream '{name}', but nothing gives it")
    return streams[name]


def spikes_of(streams: Streams, names: tuple[str, ...], reader: str, *, integers: bool = False) -> list[Stream]:
    """Return streams of spikes, or of ``integers``, that ``reader`` takes; raises UsageError for others."""
    found = [stream_of(streams, name, reader) for name in names]
    for name, one in zip(names, found, strict=True):
        if one.kind != "spikes" and not (integers and one.kind == "integers" and one.whole):
            raise UsageError(f"graph: {reader} takes spikes, but stream '{name}' carries {one.kind}")
    return found


def pair(sides: Sides) -> tuple[int, int]:
    """Return both sides."""
    return (sides, sides) if isinstance(sides, int) else sides
