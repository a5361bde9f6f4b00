"""Splits fixed by the content alone, the same in every run whatever its seed; and files that are in two of them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from snnq.data.dataset import Request

VALIDATION_SHARE = 0.15
TEST_SHARE = 0.20
_SEED = 20_150_513


def stratified(labels: np.ndarray, shares: tuple[float, ...]) -> list[np.ndarray]:
    """Cut samples into len(shares) + 1 disjoint groups of indices (ascending, int64), class by class.

    Group i takes round(share · n) of the n samples of every class, at least 1 where the class has that many to spare;
    the last group takes the rest. The choice depends only on ``labels`` and ``shares``.
    """
    rng = np.random.default_rng(_SEED)
    groups: list[list[np.ndarray]] = [[] for _ in range(len(shares) + 1)]
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        start = 0
        for group, share in zip(groups, shares, strict=False):
            spare = len(members) - start - 1
            stop = start + min(max(1, round(share * len(members))), spare)
            group.append(members[start:stop])
            start = stop
        groups[-1].append(members[start:])
    return [np.sort(np.concatenate(group)) if group else np.zeros(0, np.int64) for group in groups]


def limited(indices: np.ndarray, labels: np.ndarray, limit: int | None) -> np.ndarray:
    """Keep at most ``limit`` of the indices (ascending), the classes as even as they can be; None keeps all."""
    if limit is None or limit >= len(indices):
        return indices
    own = labels[indices]
    rank = np.zeros(len(indices), dtype=np.int64)
    for label in np.unique(own):
        rank[own == label] = np.arange(np.count_nonzero(own == label))
    return np.sort(indices[np.lexsort((own, rank))[:limit]])


_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Hashed:
    """A split's files, their labels, and what of each is equal for equal content."""

    files: Sequence[Path]
    labels: Sequence[int]
    hashes: Sequence[str]


def noted(request: Request, how: str, splits: Mapping[str, Hashed]) -> str:
    """Return how a set was split, with what ``repeats`` finds; that is logged as a warning, too."""
    said = repeats(splits)
    if said:
        _LOG.warning("%s: %s.", request.spec, said)
    return f"{how}; {said}" if said else how


def repeats(splits: Mapping[str, Hashed]) -> str:
    """Return in a few words which files of a split are in one before it, too, and which in two classes; '' for none.

    A network has seen such a sample before it is tested on it: an accuracy there says less than it seems to.
    """
    first: dict[str, tuple[str, Path, int]] = {}
    twice: dict[tuple[str, str], list[tuple[Path, Path]]] = {}
    torn: dict[str, tuple[Path, Path]] = {}
    for split, own in splits.items():
        for file, label, content in zip(own.files, own.labels, own.hashes, strict=True):
            where, before, before_label = first.setdefault(content, (split, file, label))
            if where != split:
                twice.setdefault((split, where), []).append((file, before))
            if label != before_label:
                torn.setdefault(content, (file, before))
    said = []
    for (split, where), pairs in twice.items():
        one, other = pairs[0]
        count = f"{len(pairs)} of {len(splits[split].files)} {split} files"
        said.append(f"{count} are in {where}, too (such as {one}, which is {other})")
    if torn:
        one, other = next(iter(torn.values()))
        said.append(f"{len(torn)} files are in two classes (such as {one}, which is {other})")
    return "; ".join(said)
