"""``noise``: pictures of independent Gaussian pixels before the camera. Whatever beats it has to do with the task."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from snnq.calibrating.pictures import Camera, Candidate, draw

_SIDE = 28


class Noise:
    """Gaussian pixels about a middle grey, 28×28, within 0 … 1; no class."""

    together = 64

    def __init__(self, camera: Camera) -> None:
        self.camera = camera
        self.facts: Mapping[str, object] = {}

    def make(self, start: int, stop: int) -> list[Candidate]:
        """Return candidates start … stop − 1."""
        numbers = range(start, stop)
        drawn = [draw(self.camera.seed, number).normal(0.5, 0.25, (_SIDE, _SIDE)).clip(0, 1) for number in numbers]
        return [Candidate(frames, None, {}) for frames in self.camera.shoot(np.stack(drawn), list(numbers))]
