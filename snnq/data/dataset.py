"""What a data source is asked for and what it gives back; and what training sees, three splits that never mix."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np

from snnq.base.errors import DataError
from snnq.base.progress import Progress
from snnq.data.pixels import Pixels
from snnq.data.spec import DataSpec

if TYPE_CHECKING:
    from torch import Tensor

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
    do it, and gives the same samples whenever and wherever it is called. ``videos``: of clips, which video each is
    of, int64 (N,).
    """

    labels: np.ndarray
    chunk: int
    part: Callable[[int, int], Part]
    videos: np.ndarray | None = None


@dataclass(frozen=True)
class Recordings:
    """What a source gives: cheap facts at once, and the samples of each split only when they are needed.

    ``fingerprint`` holds every fact the frames depend on beside the request itself (content hashes, simulation
    settings), JSON-ready. ``split`` says in a few words how train, validation and test were told apart. ``read()``
    returns the three splits by name. ``orders`` are the classes in every order that the source's option of it gives.
    Images that are no events have ``pixels``: samples are then bytes, (1, C, H, W) one for all time steps, or (T, C, H,
    W) where they are not ``still``. ``lacks`` are the splits that are empty, as they may be where a set is only for
    evaluation. Where samples are not ``labelled``, all labels are −1.
    """

    classes: tuple[str, ...]
    fingerprint: dict[str, object]
    split: str
    read: Callable[[], dict[str, Samples]]
    orders: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    pixels: Pixels | None = None
    lacks: tuple[str, ...] = ()
    labelled: bool = True


Batch = TypeVar("Batch")
Labels = Literal["given", "none", "float model"]
CLASS_COLUMNS = ("index", "class", "train", "validation", "test")


@dataclass(frozen=True)
class Frames:
    """One split, a map-style dataset: ``frames`` (N, T, C, H, W) uint8 or uint16 counts, ``labels`` int64 (N,).

    With ``pixels`` they are bytes of images, the same at every step if they are ``still``, and what is fetched is
    normalised: real numbers. ``videos``: of clips, which video each is of, int64 (N,).
    ``DataLoader(frames, batch_size=n, collate_fn=Frames.collate)`` fetches a whole batch at once.
    """

    frames: np.ndarray
    labels: np.ndarray
    pixels: Pixels | None = None
    videos: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Return one sample: float32 (T, C, H, W) counts or reals, and its int64 label ()."""
        frames, labels = self.__getitems__([index])
        return frames[0], labels[0]

    def __getitems__(self, indices: Sequence[int] | np.ndarray | Tensor) -> tuple[Tensor, Tensor]:
        """Return a batch: float32 (n, T, C, H, W) counts or reals, and int64 (n,) labels."""
        import torch

        at = np.asarray(indices, dtype=np.int64)
        if self.pixels is not None and not self.pixels.still:
            return self.pixels.reals(torch.from_numpy(self.frames[at])), torch.from_numpy(self.labels[at])
        if self.pixels is not None:
            still = self.pixels.reals(torch.from_numpy(np.ascontiguousarray(self.frames[at, :1])))
            frames = still.expand(-1, self.frames.shape[1], -1, -1, -1).contiguous()
            return frames, torch.from_numpy(self.labels[at])
        frames = torch.from_numpy(self.frames[at].astype(np.float32))
        return frames, torch.from_numpy(self.labels[at])

    @staticmethod
    def collate(batch: Batch) -> Batch:
        """Pass on what ``__getitems__`` already made a batch of."""
        return batch


@dataclass(frozen=True)
class DataSet:
    """An opened data set.

    ``spec``: how to open it again. ``sha256``: of its content and of every option that matters, and of no path.
    ``simulated``: the events were not recorded by a sensor; say so beside every figure that uses them.
    ``split``: how train, validation and test were told apart. ``skipped``: what was wrong with each damaged recording
    that was left out. ``classes`` are in the order of their labels; ``other_orders`` are the orders that the same
    source can give, by the spec to type for each. ``labels``: whether they were given with the data, or there are none
    (all are −1), or the answers of a float model stand for them: what is measured then is agreement with that model.
    """

    spec: str
    sha256: str
    classes: tuple[str, ...]
    simulated: bool
    train: Frames
    validation: Frames
    test: Frames
    split: str = ""
    skipped: tuple[str, ...] = ()
    other_orders: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    labels: Labels = "given"

    @property
    def pixels(self) -> Pixels | None:
        """How the images of a set that is no events are made into a network's input, real numbers."""
        return self.test.pixels

    @property
    def frames_shape(self) -> tuple[int, int, int, int]:
        """(T, C, H, W) of one sample."""
        steps, channels, height, width = self.train.frames.shape[1:]
        return steps, channels, height, width

    def spec_for(self, classes: Sequence[str]) -> str | None:
        """Return what to type for the same data with its classes in this order, None where nothing gives it."""
        orders = {self.spec: self.classes, **self.other_orders}
        return next((spec for spec, order in orders.items() if tuple(classes) == order), None)

    def class_rows(self) -> list[tuple[str, ...]]:
        """Return for every class its index, which is its label, its name and how many samples each split has of it."""
        parts = (self.train, self.validation, self.test)
        labels = [part.labels[part.labels >= 0] for part in parts]
        counts = [np.bincount(own, minlength=len(self.classes)).tolist() for own in labels]
        return [(str(index), name, *(str(own[index]) for own in counts)) for index, name in enumerate(self.classes)]

    def describe(self) -> str:
        """Return one line: sizes of the splits and how they were made, classes, shape of a sample, kind of data."""
        sizes = " + ".join(f"{len(getattr(self, split))} {split}" for split in ("train", "validation", "test"))
        shape = "x".join(str(size) for size in self.frames_shape)
        notes = [f"{len(self.classes)} classes", f"frames {shape}"]
        notes += ["simulated"] if self.simulated else []
        notes += ["no labels"] if self.labels == "none" else []
        notes += [f"images: {self.pixels}"] if self.pixels else []
        if self.test.videos is not None:
            counts = [len(np.unique(getattr(self, split).videos)) for split in ("train", "validation", "test")]
            notes.append(f"samples are clips of {' + '.join(map(str, counts))} videos")
        notes += [f"{len(self.skipped)} damaged recordings skipped"] if self.skipped else []
        return f"{self.spec}: {sizes}, {', '.join(notes)}" + (f"; split: {self.split}" if self.split else "")
