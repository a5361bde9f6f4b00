"""``random``: small made-up counts with a pattern per class, for smoke tests."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from snnq.base.errors import DataError
from snnq.data.dataset import Part, Recordings, Request, Samples
from snnq.data.spec import SPLITS

_PATTERN_RATE, _NOISE_RATE = 3.0, 0.2
_BLOCK = 256
_MOST_COUNTS, _MOST_PIXELS = 2**32, 2**28


def open_source(request: Request) -> Recordings:
    """Return Poisson counts (T, 2, H, W): a random half of each class' pixels is bright (rate 3), the rest dim (0.2).

    Options: ``classes``, and ``samples`` of every split. Everything follows from the seed.

    Raises DataError: more than 2³² counts in a split, or 2²⁸ pixels in the classes' patterns.
    """
    classes = request.spec.integer("classes") or 1
    samples = request.spec.integer("samples") or 1
    height, width = request.image_size
    sizes = {"samples": (samples, request.steps * 2, _MOST_COUNTS), "classes": (classes, 1, _MOST_PIXELS)}
    for name, (number, each, most) in sizes.items():
        allowed = most // (each * height * width)
        if number > allowed:
            raise DataError(f"data spec '{request.spec}': {name} is {number}, allowed here: 1 to {allowed}.")
    drawn = {"block": _BLOCK} if samples > _BLOCK else {}  # a single block is drawn as it always was
    return Recordings(
        classes=tuple(str(label) for label in range(classes)),
        fingerprint={"rates": [_PATTERN_RATE, _NOISE_RATE], "shape": [classes, samples], "seed": request.seed, **drawn},
        split="three sets of the same size, drawn separately",
        read=lambda: {split: _samples(number, classes, samples, request) for number, split in enumerate(SPLITS)},
    )


def _samples(split: int, classes: int, count: int, request: Request) -> Samples:
    labels = np.arange(count, dtype=np.int64) % classes

    def part(start: int, stop: int) -> Part:
        shape = (request.steps, 2, *request.image_size)
        return partial(_draw, labels[start:stop], classes, shape, request.seed, split, start // _BLOCK)

    return Samples(labels, _BLOCK, part)


def _draw(
    labels: np.ndarray, classes: int, shape: tuple[int, ...], seed: int, split: int, block: int
) -> Iterator[np.ndarray]:
    """Yield the counts (T, 2, H, W) of each label; every block of a split has a random stream of its own."""
    steps, *field = shape
    patterns = np.random.default_rng([seed, 0]).random((classes, 1, *field)) < 0.5
    rates = np.where(patterns, _PATTERN_RATE, _NOISE_RATE)
    rng = np.random.default_rng([seed, 1, split, block])
    for label in labels:
        yield rng.poisson(np.repeat(rates[label], steps, axis=0))
