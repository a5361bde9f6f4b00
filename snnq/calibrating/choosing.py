"""Which candidates are kept: filters one after another, each dropping the worst by its score, class by class.

No threshold is chosen by looking at real data, let alone at its labels: how many are dropped follows from how many
candidates were made for each sample. Of P candidates and F filters, P · (N/P)^(j/F) are left behind filter j.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from snnq.assessing.rates import neuron_rates
from snnq.base.errors import UsageError
from snnq.base.progress import Progress
from snnq.calibrating.leaving_out import norm_sensitivities, rate_sensitivities
from snnq.calibrating.norm_inputs import norms_of
from snnq.calibrating.scores import attention_tokens, energy, patch_entropy
from snnq.calibrating.settings import CalibrateSettings
from snnq.cost.rate_card import RateCard
from snnq.network.products import Products

_BATCH = 32
Row = dict[str, object]


@dataclass(frozen=True)
class Judges:
    """What filters ask: the float model, in evaluation mode on ``device``, its attentions, and a card of real rates."""

    model: nn.Module
    path: str
    steps: int
    device: torch.device
    products: tuple[Products, ...] = ()
    card: RateCard | None = None


@dataclass(frozen=True)
class Choice:
    """``kept`` candidates by number, ascending; ``rows``: scores of each candidate that a filter saw.

    ``thresholds``: the worst score kept by each filter. ``facts``: what filters say of the whole set.
    """

    kept: np.ndarray
    rows: list[Row]
    thresholds: dict[str, float]
    facts: dict[str, object] = field(default_factory=dict)


def check_filters(judges: Judges, settings: CalibrateSettings) -> None:
    """Raise UsageError where a filter lacks what it goes by."""
    if "bn" in settings.filters:
        norms_of(judges.model, judges.path)
    if "rates" in settings.filters and judges.card is None:
        raise UsageError(
            "--filter rates compares with the rates of real data: it needs --rates",
            "a card that snnq inspect CKPT --rates FILE wrote, or a packed folder",
        )
    if "patch" in settings.filters and not judges.products:
        raise UsageError(f"{judges.path}: no attention of the model is known, whose tokens --filter patch looks at")


def left_behind(candidates: int, samples: int, filters: int) -> list[int]:
    """Return how many are left behind each filter."""
    return [round(candidates * (samples / candidates) ** ((j + 1) / filters)) for j in range(filters)]


def choose(
    frames: np.ndarray, asked: np.ndarray, judges: Judges, settings: CalibrateSettings, progress: Progress
) -> Choice:
    """Return which of the candidates (N, T, 2, H, W), made for classes (N,) (−1: none), are kept."""
    alive, rows = np.arange(len(frames)), [Row() for _ in range(len(frames))]
    thresholds: dict[str, float] = {}
    facts: dict[str, object] = {}
    counts = left_behind(len(frames), settings.samples, len(settings.filters)) if settings.filters else []
    for name, count in zip(settings.filters, counts, strict=True):
        scores, more, said = _SCORERS[name](_Batches(frames, alive, judges.device, name, progress), judges, settings)
        for number, place in enumerate(alive):
            rows[place] |= {name: float(scores[number])} | {key: one[number].tolist() for key, one in more.items()}
        facts |= said
        best = best_of(scores, asked[alive], count)
        thresholds[name] = float(scores[best].max())
        alive = alive[best]
    return Choice(alive[: settings.samples], rows, thresholds, facts)


def best_of(scores: np.ndarray, asked: np.ndarray, count: int) -> np.ndarray:
    """Return the places, ascending, of ``count`` least scores, the classes as even as they were.

    Every class keeps its share of those that are left, the larger remainders one more; the earlier of equals stays.
    """
    classes, sizes = np.unique(asked, return_counts=True)
    quota = sizes * count / len(scores)
    whole = np.floor(quota).astype(int)
    for place in np.argsort(whole - quota, kind="stable")[: count - whole.sum()]:
        whole[place] += 1
    found = []
    for label, own in zip(classes, whole, strict=True):
        members = np.flatnonzero(asked == label)
        found.append(members[np.argsort(scores[members], kind="stable")[:own]])
    return np.sort(np.concatenate(found))


@dataclass(frozen=True)
class _Batches:
    """Frames of the candidates that are left, in batches, again and again."""

    frames: np.ndarray
    alive: np.ndarray
    device: torch.device
    stage: str
    progress: Progress

    def __call__(self) -> Iterator[Tensor]:
        total = len(self.alive)
        for start in range(0, total, _BATCH):
            chosen = self.alive[start : start + _BATCH]
            yield torch.from_numpy(self.frames[chosen].astype(np.float32)).to(self.device)
            self.progress(f"filter {self.stage}", min(start + _BATCH, total), total)


Scores = tuple[np.ndarray, dict[str, np.ndarray], dict[str, object]]


@torch.no_grad()
def _by_energy(batches: _Batches, judges: Judges, settings: CalibrateSettings) -> Scores:
    found = [energy(judges.model(frames), settings.temperature) for frames in batches()]
    return torch.cat(found).cpu().numpy(), {}, {}


def _by_norms(batches: _Batches, judges: Judges, settings: CalibrateSettings) -> Scores:
    """Score by the mean over the norms, all steps together: stored statistics know no steps.

    Those of each norm, and of each step over the norms, are kept beside it.
    """
    found = norm_sensitivities(judges.model, norms_of(judges.model, judges.path), batches, judges.steps)
    more = {"bn_layers": found.whole.numpy(), "bn_steps": found.steps.mean(1).numpy()}
    said = {
        name: {"whole": whole, "steps": steps}
        for name, whole, steps in zip(
            found.layers, found.distances.tolist(), found.step_distances.tolist(), strict=True
        )
    }
    return found.whole.mean(1).numpy(), more, {"bn_distances": said}


def _by_rates(batches: _Batches, judges: Judges, settings: CalibrateSettings) -> Scores:
    assert judges.card is not None
    due = judges.card.means()
    found: list[Tensor] = []
    for frames in batches():
        rates = neuron_rates(judges.model, frames)
        if rates.keys() != due.keys() or any(one.shape[1] != len(due[name]) for name, one in rates.items()):
            raise UsageError("--rates: the card is of other neurons or steps than the model has")
        found.append(torch.cat([rates[name] for name in due], 1))
    wanted = torch.tensor([one for rates in due.values() for one in rates], dtype=torch.float64)
    return rate_sensitivities(torch.cat(found), wanted).numpy(), {}, {}


@torch.no_grad()
def _by_patches(batches: _Batches, judges: Judges, settings: CalibrateSettings) -> Scores:
    """Score by minus the mean entropy over the attentions: what is alike all over goes."""
    found = []
    with attention_tokens(judges.model, judges.products) as seen:
        for frames in batches():
            judges.model(frames)
            found.append(torch.stack([patch_entropy(one.cpu()) for one in seen]).mean(0))
            seen.clear()
    return -torch.cat(found).numpy(), {}, {}


_SCORERS: Mapping[str, Callable[[_Batches, Judges, CalibrateSettings], Scores]] = {
    "energy": _by_energy,
    "bn": _by_norms,
    "rates": _by_rates,
    "patch": _by_patches,
}
