"""What a data source is asked for, and what it gives back."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from snnq.base.errors import DataError
from snnq.base.progress import Progress
from snnq.data.spec import DataSpec

_CHUNK_SAMPLES = 512
_CHUNK_COUNTS = 2**24

# The largest count that prepared frames can hold.
LARGEST_COUNT = 65_535


@dataclass(frozen=True)
class Damaged:
    """A recording that cannot be used: its file, what is wrong with it, and what can be done."""

    file: str
    fault: str
    hint: str = ""

    @classmethod
    def of(cls, file: str, error: DataError) -> Damaged:
        """Return what an error says of a file; most begin with its name."""
        return cls(file, error.message.removeprefix(DataError(f"{file}: ").message).rstrip("."), error.hint)

    def __str__(self) -> str:
        return f"{self.file}: {self.fault}"

    @property
    def kind(self) -> str:
        """The fault without the numbers in it, so that what is wrong with several alike is the same."""
        return re.sub(r"\d+", "#", self.fault)


# The samples of a chunk, in order: counts (T, C, H, W) of whole numbers, or what is wrong with the recording.
Part = Callable[[], Iterator[np.ndarray | Damaged]]


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
    returns the three splits by name. ``orders`` are the classes in every order that the source's option of it gives.
    """

    classes: tuple[str, ...]
    fingerprint: dict[str, object]
    split: str
    read: Callable[[], dict[str, Samples]]
    orders: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
