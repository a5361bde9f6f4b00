"""What a data source is asked for, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from snnq.data.spec import DataSpec
from snnq.errors import DataError
from snnq.progress import Progress

_CHUNK_SAMPLES = 512
_CHUNK_COUNTS = 2**24

# The samples of a chunk, in order: counts (T, C, H, W) of whole numbers, or what is wrong with the recording.
Part = Callable[[], Iterator[np.ndarray | DataError]]


@dataclass(frozen=True)
class Request:
    """One asked-for data set: the spec, and the shape of the frames the model wants.

    ``image_size`` is (height, width) in pixels; ``seed`` is the seed of simulated sensors and of ``random``,
    not of a run; ``cache`` is the cache's root folder.
    """

    spec: DataSpec
    steps: int
    image_size: tuple[int, int]
    seed: int
    cache: Path
    progress: Progress

    @property
    def chunk(self) -> int:
        """Samples of two channels that are prepared at once: at most 512 of them and 2²⁴ counts."""
        height, width = self.image_size
        return max(1, min(_CHUNK_SAMPLES, _CHUNK_COUNTS // (self.steps * 2 * height * width)))


@dataclass(frozen=True)
class Samples:
    """One split before it is prepared.

    ``labels``: int64 (N,). ``part(start, stop)`` gives the work that makes samples start … stop − 1, where start is a
    multiple of ``chunk`` and at most ``chunk`` samples are asked for. It can be pickled, so that another process may
    do it, and gives the same samples whenever and wherever it is called.
    """

    labels: np.ndarray
    chunk: int
    part: Callable[[int, int], Part]


@dataclass(frozen=True)
class Recordings:
    """What a source gives: cheap facts at once, and the samples of each split only when they are needed.

    ``fingerprint`` holds every fact the frames depend on beside the request itself (content hashes, simulation
    settings), JSON-ready. ``split`` says in a few words how train, validation and test were told apart. ``read()``
    returns the three splits by name.
    """

    classes: tuple[str, ...]
    fingerprint: dict[str, object]
    split: str
    read: Callable[[], dict[str, Samples]]
