"""Events, and the one place where they become frames."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

By = Literal["count", "time"]


@dataclass(frozen=True)
class Events:
    """One recording in time order, all (N,): ``t`` int64 µs; ``x``, ``y`` pixels; ``p`` 0 (darker) or 1 (brighter).

    ``x``, ``y`` and ``p`` are of any type of whole numbers, ``p`` also bool.
    """

    t: np.ndarray
    x: np.ndarray
    y: np.ndarray
    p: np.ndarray

    def __len__(self) -> int:
        return len(self.t)


def frame_bounds(t: np.ndarray, steps: int, by: By) -> np.ndarray:
    """Return where the frames begin and end, int64 (steps + 1,): frame i takes events bounds[i] … bounds[i + 1] − 1.

    by="count": frame i takes events [i·d, (i+1)·d) with d = ⌊N/steps⌋ and the last frame also the remainder.
    by="time": frame i takes t in [t₀ + i·Δ, t₀ + (i+1)·Δ) with Δ = ⌊(t_last − t₀)/steps⌋ and the last frame the rest.
    Both as SpikingJelly 2.0 (``datasets.utils.cal_fixed_frames_number_segment_index``), which however fails on a frame
    without events; here it stays empty. Fewer events than steps are all in the last frame by count (d = 0); by time a
    Δ of 0 is taken as 1 µs. The N events, with times ``t`` in µs, are in time order.
    """
    inner = np.arange(1, steps)
    if by == "count" or not len(t):
        cuts = len(t) // steps * inner
    else:
        cuts = np.searchsorted(t, t[0] + max(1, int(t[-1] - t[0]) // steps) * inner)
    return np.concatenate([[0], cuts, [len(t)]])


def integrate(events: Events, steps: int, height: int, width: int, by: By = "count") -> np.ndarray:
    """Count a recording's events per frame, polarity and pixel: int32 (steps, 2, height, width).

    Channel 0 counts p = 0 and channel 1 p = 1. No event is lost: the counts sum to ``len(events)``.

    Raises ValueError: an event lies outside the field, has a polarity other than 0 and 1, or comes out of order.
    """
    t = events.t
    if np.any(t[1:] < t[:-1]):
        raise ValueError("events are not in time order")
    for part, size, name in ((events.p, 2, "p"), (events.y, height, "y"), (events.x, width, "x")):
        if len(part) and (part.min() < 0 or part.max() >= size):
            raise ValueError(f"{name} from {part.min()} to {part.max()}, allowed: 0 to {size - 1}")
    return _count(frame_bounds(t, steps, by), events.p, events.y, events.x, (height, width))


def _count(bounds: np.ndarray, p: np.ndarray, y: np.ndarray, x: np.ndarray, field: tuple[int, int]) -> np.ndarray:
    """Count frame by frame: what is counted into stays in the processor's cache."""
    height, width = field
    # Narrow numbers are quicker; a sensor has less than 2³⁰ pixels.
    narrow = np.uint16 if 2 * height * width <= 2**16 else np.int32
    pixel = p.astype(narrow)
    for part, size in ((y, height), (x, width)):
        pixel *= size
        pixel += part.astype(narrow, copy=False)
    pixel = pixel.astype(np.intp)  # once, where bincount would do it for each frame
    counts = np.empty((len(bounds) - 1, 2 * height * width), np.int32)
    for frame, (begin, end) in enumerate(pairwise(bounds.tolist())):
        counts[frame] = np.bincount(pixel[begin:end], minlength=counts.shape[1])
    return counts.reshape(-1, 2, height, width)


def integrate_resized(
    events: Events, steps: int, sensor: tuple[int, int], image_size: tuple[int, int], by: By = "count"
) -> np.ndarray:
    """Return the counts of a sensor (h, w) resized to ``image_size`` (H, W) by the nearest pixel: int32 (T, 2, H, W).

    Pixel i of the image is pixel ⌊i·h/H⌋ of the sensor, along both axes, as in torchvision's ``Resize`` with
    ``InterpolationMode.NEAREST``, which STAtten's code applies to N-Caltech101. A smaller image leaves pixels out, and
    their events with them; frames are cut before that, so that ``by="count"`` counts all events. The events must be in
    time order and inside the sensor, as those of a ``Recording`` are; it is not looked at again.
    """
    bounds = frame_bounds(events.t, steps, by)
    if sensor == image_size:
        return _count(bounds, events.p, events.y, events.x, sensor)
    rows, columns = (np.arange(new) * old // new for old, new in zip(sensor, image_size, strict=True))
    kept_rows, kept_columns = np.unique(rows), np.unique(columns)
    y, x = _places(events.y, kept_rows, sensor[0]), _places(events.x, kept_columns, sensor[1])
    seen = np.flatnonzero((y >= 0) & (x >= 0))
    small = (len(kept_rows), len(kept_columns))
    counts = _count(np.searchsorted(seen, bounds), events.p[seen], y[seen], x[seen], small)
    if small == image_size:
        return counts
    return counts[:, :, np.searchsorted(kept_rows, rows)][:, :, :, np.searchsorted(kept_columns, columns)]


def _places(values: np.ndarray, kept: np.ndarray, size: int) -> np.ndarray:
    """Return the place of each coordinate among the ``kept`` ones, −1 where it is none of them."""
    place = np.full(size, -1, dtype=np.int32)
    place[kept] = np.arange(len(kept))
    return place[values]
