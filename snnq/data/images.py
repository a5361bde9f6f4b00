"""Still images made into events, and these into frames, the way N-MNIST was recorded: the view moves along a path.

An event camera's pixel fires when its log intensity has moved by a contrast threshold since its last event
(Lichtsteiner et al. 2008). N-MNIST moved the sensor in three saccades before a monitor (Orchard et al. 2015); the
default path and threshold were calibrated against real N-MNIST recordings. Such data is always called *simulated*.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from snnq.data.dataset import Part, Recordings, Request, Samples
from snnq.data.fingerprint import hash_files
from snnq.data.integrator import By, Events, integrate
from snnq.data.spec import SPLITS
from snnq.data.splits import VALIDATION_SHARE, Hashed, limited, noted, stratified

_FIELD = 34  # pixels: the field in which a path's legs are written
_HAIR = 1e-9  # of a threshold


@dataclass(frozen=True)
class Saccades:
    """How the view moves and how the pixels answer.

    ``legs``: (x, y) moves in pixels of a 34-pixel field, scaled with the smaller side of the real field.
    ``leg_us``: time of one leg in µs. ``substeps``: intensity samples a leg. ``threshold``: contrast threshold θ in log
    intensity, ``spread`` its relative standard deviation over pixels. ``dark``: intensity added to every pixel (white
    is 1), the monitor's black and the sensor's dark current.
    """

    legs: tuple[tuple[float, float], ...] = ((3.5, 7.0), (3.5, -7.0), (-7.0, 0.0))
    leg_us: int = 100_000
    substeps: int = 16
    threshold: float = 0.48
    spread: float = 0.03
    dark: float = 0.1


def path(saccades: Saccades, image_size: tuple[int, int]) -> np.ndarray:
    """Return the view's offsets in pixels, float64 (legs · substeps + 1, 2) as (x, y), centred on 0.

    Within a leg the covered share follows 10u³ − 15u⁴ + 6u⁵ (minimum jerk: speed and acceleration are 0 at both ends),
    u = 1/substeps … 1.
    """
    u = np.arange(1, saccades.substeps + 1) / saccades.substeps
    share = (10 * u**3 - 15 * u**4 + 6 * u**5)[:, None]
    corner = np.zeros(2)
    points = [corner[None]]
    for leg in np.array(saccades.legs) * (min(image_size) / _FIELD):
        points.append(corner + share * leg)
        corner = corner + leg
    walk = np.concatenate(points)
    return walk - (walk.max(axis=0) + walk.min(axis=0)) / 2


def shift(images: np.ndarray, dx: float, dy: float) -> np.ndarray:
    """Move images (B, H, W) right by ``dx`` and down by ``dy`` pixels, bilinearly; what comes in is 0."""
    height, width = images.shape[1:]
    left, top = int(np.floor(dx)), int(np.floor(dy))
    fx, fy = dx - left, dy - top
    margin = max(abs(left), abs(top)) + 1
    padded = np.pad(images, ((0, 0), (margin, margin), (margin, margin)))

    def at(down: int, right: int) -> np.ndarray:
        y, x = margin - down, margin - right
        return padded[:, y : y + height, x : x + width]

    upper = (1 - fx) * at(top, left) + fx * at(top, left + 1)
    lower = (1 - fx) * at(top + 1, left) + fx * at(top + 1, left + 1)
    return (1 - fy) * upper + fy * lower


def simulate(images: np.ndarray, saccades: Saccades, indices: Sequence[int], seed: int = 0) -> list[Events]:
    """Return the events of every image, for ``images`` (B, H, W) with intensities 0..1, H×W being the sensor's field.

    At each substep a pixel whose log intensity L = ln(I + dark) has moved from its reference R by |L − R| ≥ θ fires
    ⌊|L − R|/θ⌋ events of that sign and moves R by as many θ; each event's time is interpolated between the substeps.
    θ is drawn per pixel from (seed, the image's index), so the result does not depend on how images are batched.
    """
    walk = path(saccades, images.shape[1:])
    theta = np.stack([_thresholds(saccades, images.shape[1:], seed, index) for index in indices])
    previous = np.log(shift(images, *walk[0]) + saccades.dark)
    reference = previous.copy()
    substep_us = saccades.leg_us / saccades.substeps
    parts = []
    for number, (dx, dy) in enumerate(walk[1:]):
        current = np.log(shift(images, dx, dy) + saccades.dark)
        moved = (current - reference) / theta
        # A closed path brings back the very value it left: the hair makes such ties events on every machine.
        crossings = np.trunc(moved + np.copysign(_HAIR, moved)).astype(np.int64)
        where, since = _crossings(crossings, reference, previous, current, theta)
        parts.append((*where, ((number + since) * substep_us).astype(np.int64)))
        reference += crossings * theta
        previous = current
    return _per_image([np.concatenate(part) for part in zip(*parts, strict=True)], len(images))


def _thresholds(saccades: Saccades, image_size: tuple[int, ...], seed: int, index: int) -> np.ndarray:
    noise = np.random.default_rng([seed, index]).standard_normal(image_size)
    return saccades.threshold * np.maximum(1 + saccades.spread * noise, 0.1)


def _crossings(
    crossings: np.ndarray, reference: np.ndarray, previous: np.ndarray, current: np.ndarray, theta: np.ndarray
) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
    """Spread one substep's crossings (B, H, W) to events: (image, y, x, p), and the share of the substep passed."""
    at = np.nonzero(crossings)
    counts = np.abs(crossings[at])
    each = np.repeat(np.arange(len(counts)), counts)
    nth = np.arange(len(each)) - np.repeat(np.cumsum(counts) - counts, counts) + 1
    sign = np.sign(crossings[at])[each]
    level = reference[at][each] + sign * nth * theta[at][each]
    start, end = previous[at][each], current[at][each]
    # Should rounding hold a crossing back to where the intensity stands still, it fires at once.
    since = np.divide(level - start, end - start, out=np.zeros(len(each)), where=end != start).clip(0.0, 1.0)
    image, y, x = (axis[each] for axis in at)
    return (image, y, x, (sign > 0).astype(np.int64)), since


def _per_image(columns: list[np.ndarray], images: int) -> list[Events]:
    order = np.lexsort((columns[4], columns[0]))  # by image, then time; stable, so ties keep the pixels' order
    image, y, x, p, t = (column[order] for column in columns)
    cuts = np.searchsorted(image, np.arange(images + 1))
    spans = [slice(cuts[i], cuts[i + 1]) for i in range(images)]
    return [Events(t=t[span], x=x[span], y=y[span], p=p[span]) for span in spans]


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


@dataclass(frozen=True)
class Shown:
    """How a set's images are shown to the sensor: ``white`` is full intensity, ``fill`` the share of the field."""

    saccades: Saccades
    fill: float
    white: int = 255

    def facts(self, request: Request) -> dict[str, object]:
        """Return everything about the simulation that changes its frames, for the cache key."""
        return {"saccades": asdict(self.saccades), "fill": self.fill, "seed": request.seed, "simulation": 2}


def image_samples(
    images: Mapping[str, np.ndarray],
    labels: Mapping[str, np.ndarray],
    chosen: Mapping[str, np.ndarray],
    shown: Shown,
    request: Request,
) -> dict[str, Samples]:
    """Return the splits of an image set.

    For each split, ``images`` holds images (N, h, w), ``labels`` their classes and ``chosen`` the indices that
    belong to the split. The spec's ``limit`` and ``by`` are obeyed.
    """
    height, width = request.image_size
    size = max(1, min(_BLOCK, _BLOCK_PIXELS // (height * width)))

    def samples(split: str) -> Samples:
        indices = limited(chosen[split], labels[split], request.spec.limit(split))

        def part(start: int, stop: int) -> Part:
            chosen_ones = indices[start:stop]
            return partial(
                _record, images[split][chosen_ones] / shown.white, chosen_ones.tolist(), shown.saccades, shown.fill,
                request.seed, request.steps, request.image_size, request.spec.by,
            )  # fmt: skip

        return Samples(labels[split][indices].astype(np.int64), size, part)

    return {split: samples(split) for split in SPLITS}


def official_recordings(
    request: Request,
    files: Mapping[str, tuple[Sequence[Path], Path]],
    classes: tuple[str, ...],
    shown: Shown,
    read: Callable[[Sequence[Path], Path], tuple[np.ndarray, np.ndarray]],
) -> Recordings:
    """Return the recordings of an image set with a test split of its own, split as ``OFFICIAL`` says.

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
        return image_samples(images, labels, chosen, shown, request)

    facts = {"content": content.total, **shown.facts(request)}
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
