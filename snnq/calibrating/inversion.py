"""``inversion``: frames that are optimised until the norms of the float model see what they saw in training.

    minimise over z:  mean_l D_l(round(softplus(z))) + w · CE(model(round(softplus(z))), class)

D as in ``norm_inputs``, over all samples and steps of a batch; rounding passes gradients straight through, spikes by
the neurons' surrogate (Yin et al. 2020, DeepInversion, arXiv:1912.08795). Counts are what an event camera gives.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snnq.base.errors import NotFiniteError
from snnq.base.progress import Progress
from snnq.calibrating.norm_inputs import norm_inputs, norms_of, stored, wasserstein
from snnq.calibrating.pictures import Candidate
from snnq.calibrating.settings import CalibrateSettings
from snnq.training.seeding import generator

_LARGEST = 255


class Inversion:
    """Candidates are made in batches, classes in turn; ``model`` is in evaluation mode."""

    def __init__(
        self,
        model: nn.Module,
        path: str,
        shape: tuple[int, int, int, int],
        classes: int,
        settings: CalibrateSettings,
        device: torch.device,
        progress: Progress,
    ) -> None:
        self.device = device
        self.model, self.shape, self.classes, self.settings = model, shape, classes, settings
        self.norms = norms_of(model, path)
        self.facts: Mapping[str, object] = {"torch": torch.__version__}
        self.together, self.progress = settings.batch_size, progress

    def make(self, start: int, stop: int) -> list[Candidate]:
        """Return candidates start … stop − 1; those of a whole batch are made, however many are asked for."""
        found: list[Candidate] = []
        for first in range(start, stop, self.together):
            found += self._batch(first)
        return found[: stop - start]

    def _batch(self, first: int) -> list[Candidate]:
        one = self.settings
        asked = (torch.arange(first, first + self.together, device=self.device) % self.classes).long()
        z = torch.randn((self.together, *self.shape), generator=generator(one.seed, "inversion", first))
        z = z.to(self.device)
        z.requires_grad_()
        optimizer, last = torch.optim.Adam([z], lr=one.rate), 0.0
        weights = [(parameter, parameter.requires_grad) for parameter in self.model.parameters()]
        for parameter, _ in weights:
            parameter.requires_grad_(False)
        try:
            for step in range(one.rounds):
                last, loss = self._loss(z, asked)
                if not bool(torch.isfinite(loss)):
                    raise NotFiniteError(f"inversion: the loss of candidates from {first} on is not finite")
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                self.progress(f"inverting from {first} on", step + 1, one.rounds, distance=last)
        finally:
            for parameter, needed in weights:
                parameter.requires_grad_(needed)
        counts = _counts(z).detach().cpu().numpy().astype(np.int64)
        note = {"distance": round(last, 6)}
        return [Candidate(frames, int(label), note) for frames, label in zip(counts, asked, strict=True)]

    def _loss(self, z: Tensor, asked: Tensor) -> tuple[float, Tensor]:
        """Return the mean distance of the norms as a number, and the loss."""
        with norm_inputs(self.norms, self.shape[0]) as seen:
            logits = self.model(_counts(z))
            inputs = seen.take(len(z))
        parts = []
        for name, given in inputs.items():
            rows = given.movedim(2, 0).flatten(1).double()
            parts.append(wasserstein(rows.mean(1), rows.var(1, correction=0), stored(self.norms[name])))
        distance = torch.stack(parts).mean()
        loss = distance + self.settings.class_weight * F.cross_entropy(logits.double(), asked)
        return float(distance.detach()), loss


def _counts(z: Tensor) -> Tensor:
    """Return whole counts 0 … 255 of z, straight through."""
    soft = F.softplus(z)
    return soft + (soft.round().clamp_max(_LARGEST) - soft).detach()
