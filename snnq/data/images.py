"""Still images to frames: placed in the sensor's field, moved before a simulated sensor, integrated."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np

from snnq.data.contract import Part, Recordings, Request, Samples
from snnq.data.fingerprint import hash_files
from snnq.data.integrator import By, integrate
from snnq.data.saccade import Saccades, simulate
from snnq.data.spec import SPLITS
from snnq.data.splits import VALIDATION_SHARE, Hashed, limited, noted, stratified

# Images simulated at once. A large field has many events an image: fewer of them, so that the memory stays bounded.
_BLOCK = 256
_BLOCK_PIXELS = 2**16
OFFICIAL = "official train and test; validation is 15 % of train, by class"


def resize_matrix(size: int, new: int) -> np.ndarray:
    """Return the (new, size) weights that resize an axis, rows summing to 1.

    A triangle of half-width max(1, size/new) pixels: bilinear when enlarging, averaging when shrinking.
    """
    scale = size / new
    centres = (np.arange(new) + 0.5) * scale - 0.5
    distance = np.abs(centres[:, None] - np.arange(size)) / max(1.0, scale)
    weights = np.maximum(0.0, 1.0 - distance)
    return weights / weights.sum(axis=1, keepdims=True)


def place(images: np.ndarray, image_size: tuple[int, int], fill: float) -> np.ndarray:
    """Resize images (N, h, w) to ``fill`` of the field's smaller side, and centre them in the dark field (N, H, W)."""
    height, width = image_size
    side = round(fill * min(image_size))
    side = max(1, side - (min(image_size) - side) % 2)  # the same margin on both sides
    rows, columns = resize_matrix(images.shape[1], side), resize_matrix(images.shape[2], side)
    field = np.zeros((len(images), height, width))
    top, left = (height - side) // 2, (width - side) // 2
    field[:, top : top + side, left : left + side] = rows @ images @ columns.T
    return field


def image_samples(
    images: Mapping[str, np.ndarray],
    labels: Mapping[str, np.ndarray],
    chosen: Mapping[str, np.ndarray],
    saccades: Saccades,
    fill: float,
    white: int,
    request: Request,
) -> dict[str, Samples]:
    """Return the splits of an image set.

    For each split, ``images`` holds images (N, h, w), ``labels`` their classes and ``chosen`` the indices that
    belong to the split; ``white`` is the value of full intensity. The spec's ``limit`` and ``by`` are obeyed.
    """
    height, width = request.image_size
    size = max(1, min(_BLOCK, _BLOCK_PIXELS // (height * width)))

    def samples(split: str) -> Samples:
        indices = limited(chosen[split], labels[split], request.spec.limit(split))

        def part(start: int, stop: int) -> Part:
            chosen_ones = indices[start:stop]
            return partial(
                _record, images[split][chosen_ones] / white, chosen_ones.tolist(), saccades, fill, request.seed,
                request.steps, request.image_size, request.spec.by,
            )  # fmt: skip

        return Samples(labels[split][indices].astype(np.int64), size, part)

    return {split: samples(split) for split in SPLITS}


def official_recordings(
    request: Request,
    files: Mapping[str, tuple[Sequence[Path], Path]],
    classes: tuple[str, ...],
    saccades: Saccades,
    fill: float,
    read: Callable[[Sequence[Path], Path], tuple[np.ndarray, np.ndarray]],
) -> Recordings:
    """Return the recordings of an image set with a test split of its own, whose white is 255, split as ``OFFICIAL``.

    ``files`` are those of train and test: of the images, which files, and of the labels, which one. ``read`` returns
    what lies in them: images (N, h, w) and labels (N,).
    """
    root = Path(request.spec.path).expanduser()
    listed = [file for images, labels in files.values() for file in (*images, labels)]
    content = hash_files(root, listed, request.cache, request.progress)
    of = dict(zip(listed, content.files, strict=True))
    hashed = {split: Hashed(own, [0] * len(own), [of[file] for file in own]) for split, (own, _) in files.items()}

    def samples() -> dict[str, Samples]:
        found = {split: read(*own) for split, own in files.items()}
        images, labels = ({split: one[part] for split, one in found.items()} for part in (0, 1))
        validation, train = stratified(labels["train"], (VALIDATION_SHARE,))
        chosen = {"train": train, "validation": validation, "test": np.arange(len(labels["test"]))}
        images, labels = ({**parts, "validation": parts["train"]} for parts in (images, labels))
        return image_samples(images, labels, chosen, saccades, fill, 255, request)

    facts = {"content": content.total, **simulation_facts(saccades, fill, request)}
    return Recordings(classes, facts, noted(request, OFFICIAL, hashed), samples)


def _record(
    images: np.ndarray,
    indices: list[int],
    saccades: Saccades,
    fill: float,
    seed: int,
    steps: int,
    image_size: tuple[int, int],
    by: By,
) -> Iterator[np.ndarray]:
    """Move images (n, h, w), intensities 0..1, before the simulated sensor; yield the counts of each."""
    for events in simulate(place(images, image_size, fill), saccades, indices, seed):
        yield integrate(events, steps, *image_size, by)


def simulation_facts(saccades: Saccades, fill: float, request: Request) -> dict[str, object]:
    """Everything about the simulation that changes its frames, for the cache key."""
    return {"saccades": asdict(saccades), "fill": fill, "seed": request.seed, "simulation": 2}
