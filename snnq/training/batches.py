"""Index lists in, batches of tensors out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from torch import Tensor
from torch.utils.data import DataLoader

from snnq.training.seeding import shuffled


class SplitSamples(Protocol):
    """A split: ``__getitems__`` gives frames (n, T, C, H, W) float32 and labels (n,) int64."""

    def __len__(self) -> int: ...

    def __getitems__(self, indices: Sequence[int], /) -> tuple[Tensor, Tensor]: ...


def steps_per_epoch(count: int, size: int) -> int:
    """Return how many full batches an epoch has, at least one."""
    return max(1, count // size)


def training_batches(count: int, size: int, seed: int, *place: int | str) -> list[list[int]]:
    """Return shuffled index lists of ``size``, without the ragged last one (BN wants full batches)."""
    order = shuffled(count, seed, *place)
    return [order[i * size : (i + 1) * size] for i in range(steps_per_epoch(count, size))]


def ordered_batches(count: int, size: int) -> list[list[int]]:
    """Return index lists over all samples in their order."""
    return [list(range(i, min(i + size, count))) for i in range(0, count, size)]


def load(samples: SplitSamples, batches: Sequence[list[int]]) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (frames, labels) for each index list."""
    yield from DataLoader(samples, batch_sampler=batches, collate_fn=lambda pair: pair)  # pyright: ignore
