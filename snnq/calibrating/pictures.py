"""What every generator gives, and how pictures become frames: shown to the simulated camera, events cut into frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from snnq.base.errors import DataError
from snnq.checkpoints.opening import Checkpoint
from snnq.data.image_sets import CIFAR10, DIGITS, MNIST
from snnq.data.images import Shown, place, simulate
from snnq.data.integrator import By, integrate
from snnq.data.spec import DataSpec, parse_spec

LUMA = np.array([0.299, 0.587, 0.114])  # Rec. 601


def _turned(shown: Shown) -> Shown:
    """Return how pictures are shown where the view moves the other way."""
    legs = tuple((-x, -y) for x, y in shown.saccades.legs)
    return replace(shown, saccades=replace(shown.saccades, legs=legs))


# By the data whose way of showing pictures each has. Simulated sets move the picture along the path, where N-MNIST's
# sensor moved, and the picture against it: with the path turned, the polarities of all steps are as in real recordings.
CAMERAS: Mapping[str, Shown] = {
    "n-mnist": _turned(MNIST),
    "fashion-mnist": MNIST,
    "digits": DIGITS,
    "cifar10": CIFAR10,
    "cifar10-dvs": CIFAR10,
}


@dataclass(frozen=True)
class Candidate:
    """One generated sample: counts (T, 2, H, W), the class it was made for (None: none), and how it came to be."""

    frames: np.ndarray
    asked: int | None
    note: Mapping[str, object]


class Generator(Protocol):
    """Makes candidates by their numbers: the same ones whenever they are asked for.

    ``together`` are made at once: a number that is asked for begins with a multiple of it. ``facts`` are what the
    candidates depend on beside the settings, JSON-ready: versions, hashes.
    """

    together: int
    facts: Mapping[str, object]

    def make(self, start: int, stop: int) -> list[Candidate]:
        """Return candidates start … stop − 1."""
        ...


@dataclass(frozen=True)
class Camera:
    """A simulated event camera before which pictures are shown, for a model of ``frames_shape`` (T, 2, H, W)."""

    name: str
    by: By
    frames_shape: tuple[int, int, int, int]
    seed: int

    @classmethod
    def of(
        cls, opened: Checkpoint, shape: tuple[int, int, int, int], camera: str | None, by: str | None, seed: int
    ) -> Camera:
        """Return the camera that is named, or else that of the data which the checkpoint says it was trained on."""
        spec = _spec(opened)
        named = camera or (spec.name if spec and spec.name in CAMERAS else "n-mnist")
        cut: By = "time" if (by or (spec.by if spec else "count")) == "time" else "count"
        return cls(named, cut, shape, seed)

    def shoot(self, pictures: np.ndarray, numbers: Sequence[int]) -> list[np.ndarray]:
        """Return the counts (T, 2, H, W) of pictures (n, h, w) of intensities 0 … 1, each with its number's pixels."""
        shown = CAMERAS[self.name]
        steps, _, height, width = self.frames_shape
        placed = place(pictures, (height, width), shown.fill)
        events = simulate(placed, shown.saccades, numbers, self.seed)
        return [integrate(one, steps, height, width, self.by) for one in events]


def _spec(opened: Checkpoint) -> DataSpec | None:
    try:
        return parse_spec(opened.data) if opened.data else None
    except DataError:
        return None


def draw(seed: int, number: int, *place: int) -> np.random.Generator:
    """Return the random numbers of one candidate."""
    return np.random.default_rng([seed, number, *place])
