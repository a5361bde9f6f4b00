"""What a data source is asked for, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from snnq.data.spec import DataSpec
from snnq.progress import Progress


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


@dataclass(frozen=True)
class Samples:
    """One split before it is prepared.

    ``labels``: int64 (N,). ``blocks()`` starts a fresh walk over the frames in the order of ``labels``, as whole-number
    arrays (n, T, C, H, W), n ≥ 1; it may be called more than once.
    """

    labels: np.ndarray
    blocks: Callable[[], Iterator[np.ndarray]]


@dataclass(frozen=True)
class Recordings:
    """What a source gives: cheap facts at once, and the samples of each split only when they are needed.

    ``fingerprint`` holds every fact the frames depend on beside the request itself (content hashes, simulation
    settings), JSON-ready. ``read()`` returns the three splits by name.
    """

    classes: tuple[str, ...]
    fingerprint: dict[str, object]
    read: Callable[[], dict[str, Samples]]
