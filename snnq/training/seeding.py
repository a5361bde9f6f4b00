"""Randomness that depends on the place in a run and on nothing else, so that a resumed run draws the same numbers."""

from __future__ import annotations

import hashlib

import torch


def place_seed(seed: int, *place: int | str) -> int:
    """Return a seed for one place of a run."""
    digest = hashlib.sha256(repr((seed, *place)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def generator(seed: int, *place: int | str) -> torch.Generator:
    """Return a CPU generator for one place of a run, such as ``generator(seed, "gumbel", epoch, step)``."""
    return torch.Generator().manual_seed(place_seed(seed, *place))


def shuffled(count: int, seed: int, *place: int | str) -> list[int]:
    """Return 0 … count - 1 in an order that belongs to that place of the run."""
    return torch.randperm(count, generator=generator(seed, *place)).tolist()
