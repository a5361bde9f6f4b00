"""``moving-fashion:DIR``: simulated clips, of five kinds of clothes that move in one of seven ways.

A label is both: what moves, and how. One frame does not tell how: places and angles at the beginning are uniform,
whatever the motion is, and the field is a torus. What moves is no help either, since every kind moves in every way.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from snnq.base.errors import DataError
from snnq.data.dataset import Part, Recordings, Request, Samples
from snnq.data.fingerprint import hash_files
from snnq.data.image_sets import find_idx, read_idx
from snnq.data.pixels import Pixels
from snnq.data.spec import SPLITS
from snnq.data.splits import VALIDATION_SHARE, limited, stratified

# Labels of Fashion-MNIST whose pictures are told apart upside down, too.
OBJECTS = {"trouser": 1, "dress": 3, "sandal": 5, "bag": 8, "boot": 9}
# Pixels (right, down) and degrees (clockwise) a frame, in a field of 32 pixels.
SPEED, TURN = 1.25, 8.0
MOTIONS = {
    "still": (0, 0, 0),
    "left": (-SPEED, 0, 0),
    "right": (SPEED, 0, 0),
    "up": (0, -SPEED, 0),
    "down": (0, SPEED, 0),
    "clockwise": (0, 0, TURN),
    "counterclockwise": (0, 0, -TURN),
}
CLASSES = tuple(f"{thing}-{motion}" for thing in OBJECTS for motion in MOTIONS)
_FIELD, _SHOWN = 32, 0.625  # pixels of the field that speeds are for; share of its side that an image takes
_SPREAD = 0.2  # of speeds, around those above
_FILES = {"train": "train", "test": "t10k"}


def open_source(request: Request) -> Recordings:
    """Return the clips: each image of the five kinds moves once, in the ways in turn.

    Raises DataError: an IDX file is missing or damaged.
    """
    root = Path(request.spec.path).expanduser()
    files = {
        split: tuple(find_idx(root, f"{name}-{kind}-ubyte") for kind in ("images-idx3", "labels-idx1"))
        for split, name in _FILES.items()
    }
    used = [file for own in files.values() for file in own]
    content = hash_files(root, used, request.cache, request.progress).total
    return Recordings(
        classes=CLASSES,
        fingerprint={"content": content, "seed": request.seed, "motions": MOTIONS, "shown": _SHOWN, "spread": _SPREAD},
        split="train and test as published; validation is 15 % of train, by class",
        read=lambda: _read(files, request),
        pixels=Pixels((0.0,), (1.0,), "grey, 0 to 1", still=False),
    )


def _read(files: dict[str, tuple[Path, ...]], request: Request) -> dict[str, Samples]:
    images, labels, sources = {}, {}, {}
    for split, (pictures, kinds) in files.items():
        images[split], found = read_idx(pictures, 3), read_idx(kinds, 1)
        if len(found) != len(images[split]):
            raise DataError(f"{kinds}: {len(found)} labels for {len(images[split])} images in {pictures}.")
        sources[split], labels[split] = joint_labels(found)
    held, kept = stratified(labels["train"], (VALIDATION_SHARE,))
    places = {"train": kept, "validation": held, "test": np.arange(len(labels["test"]))}
    return {split: _samples(split, places[split], images, labels, sources, request) for split in SPLITS}


def joint_labels(kinds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which images are used, by Fashion-MNIST's labels, and the label of the clip that each becomes, int64."""
    places, labels = [], []
    for thing, kind in enumerate(OBJECTS.values()):
        own = np.flatnonzero(kinds == kind)
        places.append(own)
        labels.append(thing * len(MOTIONS) + np.arange(len(own)) % len(MOTIONS))
    return np.concatenate(places), np.concatenate(labels).astype(np.int64)


def _samples(
    split: str,
    places: np.ndarray,
    images: dict[str, np.ndarray],
    labels: dict[str, np.ndarray],
    sources: dict[str, np.ndarray],
    request: Request,
) -> Samples:
    of = "test" if split == "test" else "train"
    chosen = limited(places, labels[of], request.spec.limit(split))
    pictures, own = images[of][sources[of][chosen]], labels[of][chosen]
    # Drawn by the image's place in its file: the same clip whatever the limit is.
    seeds = [(request.seed, of == "test", int(place)) for place in sources[of][chosen]]

    def part(start: int, stop: int) -> Part:
        rows = slice(start, stop)
        return partial(_clips, pictures[rows], own[rows], seeds[rows], request.steps, request.image_size)

    return Samples(own, request.chunk, part)


def _clips(
    images: np.ndarray, labels: np.ndarray, seeds: list[tuple[int, bool, int]], steps: int, size: tuple[int, int]
) -> Iterator[np.ndarray]:
    ways = tuple(MOTIONS.values())
    for image, label, seed in zip(images, labels, seeds, strict=True):
        yield clip(image, ways[int(label) % len(ways)], steps, size, np.random.default_rng(seed))


def clip(
    image: np.ndarray,
    way: tuple[float, float, float],
    steps: int,
    size: tuple[int, int],
    draw: np.random.Generator,
) -> np.ndarray:
    """Return bytes (T, 1, height, width) of an image that moves from a random place and angle at ``way``'s speeds."""
    height, width = size
    begin = draw.uniform((0, 0, 0), (width, height, 2 * np.pi))
    pace = draw.uniform(1 - _SPREAD, 1 + _SPREAD) * np.array((*way[:2], np.radians(way[2])))
    pace[:2] *= min(size) / _FIELD
    x, y, angle = (begin + np.arange(steps)[:, None] * pace).T[:, :, None, None]
    right = (np.arange(width) - x + width / 2) % width - width / 2
    down = (np.arange(height)[:, None] - y + height / 2) % height - height / 2
    scale = max(image.shape) / (_SHOWN * min(size))
    columns = (right * np.cos(angle) + down * np.sin(angle)) * scale + (image.shape[1] - 1) / 2
    rows = (down * np.cos(angle) - right * np.sin(angle)) * scale + (image.shape[0] - 1) / 2
    return np.rint(_bilinear(image, rows, columns)).astype(np.uint8)[:, None]


def _bilinear(image: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return an image's values between its pixels, zero outside."""
    framed = np.pad(image.astype(np.float64), 1)
    rows, columns = (np.clip(at + 1, 0, side + 0.999) for at, side in zip((rows, columns), image.shape, strict=True))
    top, left = rows.astype(np.int64), columns.astype(np.int64)
    down, right = rows - top, columns - left
    above = framed[top, left] * (1 - right) + framed[top, left + 1] * right
    below = framed[top + 1, left] * (1 - right) + framed[top + 1, left + 1] * right
    return above * (1 - down) + below * down
