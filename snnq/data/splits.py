"""Splits fixed by the content alone: the same files give the same splits in every run, whatever its seed."""

from __future__ import annotations

import numpy as np

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
