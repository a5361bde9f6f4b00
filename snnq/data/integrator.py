"""Events, and the one place where they become frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

By = Literal["count", "time"]


@dataclass(frozen=True)
class Events:
    """One recording in time order, all (N,): ``t`` int64 µs, ``x``, ``y`` pixels, ``p`` 0 (darker) or 1 (brighter)."""

    t: np.ndarray
    x: np.ndarray
    y: np.ndarray
    p: np.ndarray

    def __len__(self) -> int:
        return len(self.t)


def frame_of_events(t: np.ndarray, steps: int, by: By) -> np.ndarray:
    """Return the frame 0..steps−1 of every event, (N,), for N events in time order.

    by="count": frame i takes events [i·d, (i+1)·d) with d = ⌊N/steps⌋ and the last frame also the remainder.
    by="time": frame i takes t in [t₀ + i·Δ, t₀ + (i+1)·Δ) with Δ = ⌊(t_last − t₀)/steps⌋ and the last frame the rest.
    Both as SpikingJelly 2.0 (``datasets.utils.cal_fixed_frames_number_segment_index``), which however fails on a frame
    without events; here it stays empty. Fewer events than steps are all in the last frame by count (d = 0); by time a
    Δ of 0 is taken as 1 µs.

    Raises:
        ValueError: the events are not in time order.
    """
    t = np.asarray(t, dtype=np.int64)
    if np.any(t[1:] < t[:-1]):
        raise ValueError("events are not in time order")
    if by == "count":
        share = len(t) // steps
        return np.minimum(np.arange(len(t)) // share, steps - 1) if share else np.full(len(t), steps - 1)
    elapsed = t - t[:1]
    return np.minimum(elapsed // max(1, int(elapsed.max(initial=0)) // steps), steps - 1)


def integrate(events: Events, steps: int, height: int, width: int, by: By = "count") -> np.ndarray:
    """Count a recording's events per frame, polarity and pixel: int64 (steps, 2, height, width).

    Channel 0 counts p = 0 and channel 1 p = 1. No event is lost: the counts sum to ``len(events)``.

    Raises:
        ValueError: an event lies outside the field, has a polarity other than 0 and 1, or comes out of order.
    """
    frame = frame_of_events(events.t, steps, by)
    p, y, x = (np.asarray(part, dtype=np.int64) for part in (events.p, events.y, events.x))
    for part, size, name in ((p, 2, "p"), (y, height, "y"), (x, width, "x")):
        if len(part) and (part.min() < 0 or part.max() >= size):
            raise ValueError(f"{name} from {part.min()} to {part.max()}, allowed: 0 to {size - 1}")
    flat = ((frame * 2 + p) * height + y) * width + x
    counts = np.bincount(flat, minlength=steps * 2 * height * width)
    return counts.reshape(steps, 2, height, width)
