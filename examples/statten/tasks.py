"""The three tasks as frame folders, ``<task>/<split>/<class>/<number>.npz``: made events and images, not recordings.

``temporal-order``: two of three shapes flash one after the other on an empty field, and the class says which and in
what order: six classes. A sample of B-then-A is a sample of A-then-B played backwards, so that whatever does not know
the order of frames, were it perfect otherwise, is right in half of the cases. ``rows``: a Fashion-MNIST image, one row
a step. ``static``: the same images, whole, the same frame at every step: nothing depends on time.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import numpy as np

from snnq.data.image_sets import find_idx, read_idx

Split = Iterator[tuple[str, np.ndarray]]  # (class, frames (T, C, H, W) uint8)

SHAPES = {
    "square": ("#####", "#...#", "#...#", "#...#", "#####"),
    "cross": ("..#..", "..#..", "#####", "..#..", "..#.."),
    "saltire": ("#...#", ".#.#.", "..#..", ".#.#.", "#...#"),
}
ORDERS = tuple(permutations(SHAPES, 2))


@dataclass(frozen=True)
class Order:
    """How hard the temporal-order task is: ``shown`` steps a shape, at least ``gap`` empty steps between the two.

    ``rate`` and ``noise`` are mean event counts a pixel, step and polarity, on a shape and anywhere else; at every step
    a shape jumps by up to ``jitter`` pixels.
    """

    steps: int = 8
    side: int = 12
    shown: int = 1
    gap: int = 4
    rate: float = 2.0
    noise: float = 0.02
    jitter: int = 1


def order_frames(order: Order, pair: tuple[str, str], draw: np.random.Generator) -> np.ndarray:
    """Return event counts (T, 2, side, side), uint8: the first shape of ``pair``, then the second one.

    What the draw gives depends on the pair as a set alone; of its two orders one is the other's frames backwards.
    """
    one, other = sorted(pair)
    gap = draw.integers(order.gap, order.steps - 2 * order.shown + 1)
    start = draw.integers(0, order.steps - 2 * order.shown - gap + 1)
    means = np.full((order.steps, 2, order.side, order.side), order.noise)
    for shape, first in ((one, start), (other, start + order.shown + gap)):
        mask = np.array([[cell == "#" for cell in row] for row in SHAPES[shape]])
        size, edge = len(mask), order.jitter
        at = draw.integers(edge, order.side - size - edge + 1, 2)
        for step in range(first, first + order.shown):
            y, x = at + draw.integers(-edge, edge + 1, 2)
            means[step, :, y : y + size, x : x + size][:, mask] = order.rate
    frames = draw.poisson(means).clip(0, 255).astype(np.uint8)
    return frames if pair == (one, other) else frames[::-1].copy()


def order_split(order: Order, samples: int, seed: int, split: int) -> Split:
    """Yield samples of the six classes in turn."""
    draw = np.random.default_rng((seed, split))
    for i in range(samples):
        pair = ORDERS[i % len(ORDERS)]
        yield "-".join(pair), order_frames(order, pair, draw)


def row_frames(image: np.ndarray, height: int = 2) -> np.ndarray:
    """Return counts (28, 1, height, 28): step t shows row t of the image, repeated over ``height`` lines.

    Repeated, not at its place in the image: where a row stands would be seen without any memory of time.
    """
    return np.repeat(_counts(image)[:, None, None, :], height, axis=2)


def static_frames(image: np.ndarray, steps: int = 4) -> np.ndarray:
    """Return counts (steps, 1, 28, 28): the whole image at every step."""
    return np.repeat(_counts(image)[None, None], steps, axis=0)


def _counts(image: np.ndarray) -> np.ndarray:
    """Return intensities 0 … 255 as counts 0 … 4."""
    return np.round(image / 255 * 4).astype(np.uint8)


def image_splits(folder: Path, limit: tuple[int, int, int], frames: Callable[..., np.ndarray]) -> dict[str, Split]:
    """Return the first images of the training split as training and validation, and of the test split as test."""
    kinds = (("images-idx3", 3), ("labels-idx1", 1))
    train, test = (
        [read_idx(find_idx(folder, f"{name}-{kind}-ubyte"), axes) for kind, axes in kinds] for name in ("train", "t10k")
    )

    def walk(pair: list[np.ndarray], first: int, count: int) -> Split:
        for image, label in zip(*(part[first : first + count] for part in pair), strict=True):
            yield str(label), frames(image)

    return {
        "train": walk(train, 0, limit[0]),
        "validation": walk(train, limit[0], limit[1]),
        "test": walk(test, 0, limit[2]),
    }


def order_splits(order: Order, limit: tuple[int, int, int], seed: int) -> dict[str, Split]:
    """Return the three splits of the temporal-order task, drawn independently of each other."""
    names = ("train", "validation", "test")
    return {name: order_split(order, limit[i], seed, i) for i, name in enumerate(names)}


def write_folders(out: Path, splits: dict[str, Split]) -> None:
    """Write ``<out>/<split>/<class>/<number>.npz``, unless they are there."""
    if out.exists():
        return
    unfinished = out.with_name(out.name + ".tmp")
    shutil.rmtree(unfinished, ignore_errors=True)
    for split, samples in splits.items():
        for i, (label, frames) in enumerate(samples):
            folder = unfinished / split / label
            folder.mkdir(parents=True, exist_ok=True)
            np.savez_compressed(folder / f"{i:05d}.npz", frames=frames)
    unfinished.rename(out)
