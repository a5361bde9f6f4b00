"""``random``: small made-up counts with a pattern per class, for smoke tests."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from snnq.data.contract import Recordings, Request, Samples
from snnq.data.spec import SPLITS

_PATTERN_RATE, _NOISE_RATE = 3.0, 0.2
_BLOCK = 256


def open_source(request: Request) -> Recordings:
    """Return Poisson counts (T, 2, H, W): a random half of each class' pixels is bright (rate 3), the rest dim (0.2).

    Options: ``classes``, and ``samples`` of every split. Everything follows from the seed.
    """
    classes = request.spec.integer("classes") or 1
    samples = request.spec.integer("samples") or 1
    return Recordings(
        classes=tuple(str(label) for label in range(classes)),
        fingerprint={"rates": [_PATTERN_RATE, _NOISE_RATE], "shape": [classes, samples], "seed": request.seed},
        read=lambda: {split: _samples(number, classes, samples, request) for number, split in enumerate(SPLITS)},
    )


def _samples(split: int, classes: int, count: int, request: Request) -> Samples:
    labels = np.arange(count, dtype=np.int64) % classes
    patterns = np.random.default_rng([request.seed, 0]).random((classes, 1, 2, *request.image_size)) < 0.5
    rates = np.where(patterns, _PATTERN_RATE, _NOISE_RATE)

    def blocks() -> Iterator[np.ndarray]:
        rng = np.random.default_rng([request.seed, 1, split])
        for start in range(0, count, _BLOCK):
            part = rates[labels[start : start + _BLOCK]]
            yield rng.poisson(np.repeat(part, request.steps, axis=1))

    return Samples(labels, blocks)
