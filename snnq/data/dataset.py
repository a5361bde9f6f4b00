"""What training sees: frames and labels of three splits that never mix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

Batch = TypeVar("Batch")
CLASS_COLUMNS = ("index", "class", "train", "validation", "test")


@dataclass(frozen=True)
class Frames:
    """One split, a map-style dataset: ``frames`` (N, T, C, H, W) uint8 or uint16 counts, ``labels`` int64 (N,).

    ``DataLoader(frames, batch_size=n, collate_fn=Frames.collate)`` fetches a whole batch at once.
    """

    frames: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Return one sample: float32 (T, C, H, W) counts and its int64 label ()."""
        frames, labels = self.__getitems__([index])
        return frames[0], labels[0]

    def __getitems__(self, indices: Sequence[int] | np.ndarray | Tensor) -> tuple[Tensor, Tensor]:
        """Return a batch: float32 (n, T, C, H, W) counts and int64 (n,) labels."""
        import torch

        at = np.asarray(indices, dtype=np.int64)
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
    source can give, by the spec to type for each.
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
        counts = [np.bincount(part.labels, minlength=len(self.classes)).tolist() for part in parts]
        return [(str(index), name, *(str(own[index]) for own in counts)) for index, name in enumerate(self.classes)]

    def describe(self) -> str:
        """Return one line: sizes of the splits and how they were made, classes, shape of a sample, kind of data."""
        sizes = " + ".join(f"{len(getattr(self, split))} {split}" for split in ("train", "validation", "test"))
        shape = "x".join(str(size) for size in self.frames_shape)
        notes = [f"{len(self.classes)} classes", f"frames {shape}"]
        notes += ["simulated"] if self.simulated else []
        notes += [f"{len(self.skipped)} damaged recordings skipped"] if self.skipped else []
        return f"{self.spec}: {sizes}, {', '.join(notes)}" + (f"; split: {self.split}" if self.split else "")
