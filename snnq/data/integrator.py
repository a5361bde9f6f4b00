"""Events, and the one place where they become frames."""

from __future__ import annotations

from dataclasses import dataclass
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
    return _frames(t, steps, by)


def _frames(t: np.ndarray, steps: int, by: By) -> np.ndarray:
    if by == "count":
        share = len(t) // steps
        frame = np.full(len(t), steps - 1, dtype=np.int64)
        frame[: share * (steps - 1)].reshape(steps - 1, share)[:] = np.arange(steps - 1)[:, None]
        return frame
    elapsed = t - t[:1]
    return np.minimum(elapsed // max(1, int(elapsed.max(initial=0)) // steps), steps - 1)


def integrate(events: Events, steps: int, height: int, width: int, by: By = "count") -> np.ndarray:
    """Count a recording's events per frame, polarity and pixel: int64 (steps, 2, height, width).

    Channel 0 counts p = 0 and channel 1 p = 1. No event is lost: the counts sum to ``len(events)``.

    Raises:
        ValueError: an event lies outside the field, has a polarity other than 0 and 1, or comes out of order.
    """
    for part, size, name in ((events.p, 2, "p"), (events.y, height, "y"), (events.x, width, "x")):
        if len(part) and (part.min() < 0 or part.max() >= size):
            raise ValueError(f"{name} from {part.min()} to {part.max()}, allowed: 0 to {size - 1}")
    return _count(frame_of_events(events.t, steps, by), events.p, events.y, events.x, (steps, 2, height, width))


def _count(
    frame: np.ndarray, p: np.ndarray, y: np.ndarray, x: np.ndarray, shape: tuple[int, int, int, int]
) -> np.ndarray:
    steps, polarities, height, width = shape
    pixel = p.astype(np.int32)  # half as wide is quicker, and a sensor has less than 2³¹ pixels
    for part, size in ((y, height), (x, width)):
        pixel *= size
        pixel += part.astype(np.int32, copy=False)
    pixel = frame * (polarities * height * width) + pixel
    return np.bincount(pixel, minlength=steps * polarities * height * width).reshape(shape)


def integrate_resized(
    events: Events, steps: int, sensor: tuple[int, int], image_size: tuple[int, int], by: By = "count"
) -> np.ndarray:
    """Return the counts of a sensor (h, w) resized to ``image_size`` (H, W) by the nearest pixel: int64 (steps, 2, H, W).

    Pixel i of the image is pixel ⌊i·h/H⌋ of the sensor, along both axes, as in torchvision's ``Resize`` with
    ``InterpolationMode.NEAREST``, which STAtten's code applies to N-Caltech101. A smaller image leaves pixels out, and
    their events with them; frames are cut before that, so that ``by="count"`` counts all events. The events must be in
    time order and inside the sensor, as those of a ``Recording`` are; it is not looked at again.
    """
    frame = _frames(events.t, steps, by)
    if sensor == image_size:
        return _count(frame, events.p, events.y, events.x, (steps, 2, *sensor))
    rows, columns = (np.arange(new) * old // new for old, new in zip(sensor, image_size, strict=True))
    kept_rows, kept_columns = np.unique(rows), np.unique(columns)
    y, x = _places(events.y, kept_rows, sensor[0]), _places(events.x, kept_columns, sensor[1])
    seen = np.flatnonzero((y >= 0) & (x >= 0))
    small = (steps, 2, len(kept_rows), len(kept_columns))
    counts = _count(frame[seen], events.p[seen], y[seen], x[seen], small)
    if small[2:] == image_size:
        return counts
    return counts[:, :, np.searchsorted(kept_rows, rows)][:, :, :, np.searchsorted(kept_columns, columns)]


def _places(values: np.ndarray, kept: np.ndarray, size: int) -> np.ndarray:
    """Return the place of each coordinate among the ``kept`` ones, −1 where it is none of them."""
    place = np.full(size, -1, dtype=np.int64)
    place[kept] = np.arange(len(kept))
    return place[values]
