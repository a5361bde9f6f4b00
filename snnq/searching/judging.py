"""What plans and layers are worth before any finetuning: a plan's score, and scores of every layer and scheme."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snnq.base.progress import Progress
from snnq.schemes.fitting.clips import grams
from snnq.schemes.fitting.descent import reconstructed
from snnq.schemes.holding import candidate
from snnq.schemes.names import FLOAT32
from snnq.schemes.scheme import Scheme, scheme
from snnq.searching.constraints import Choices
from snnq.searching.measuring import measure
from snnq.searching.objective import Objective
from snnq.searching.rounding import Nearest, Rounded
from snnq.searching.settings import SearchSettings
from snnq.structure.masked import masked_layers
from snnq.training import processes
from snnq.training.batches import SplitSamples
from snnq.training.evaluation import Score, evaluate, reestimate_batchnorm
from snnq.training.job import Job
from snnq.training.seeding import shuffled
from snnq.training.transfers import fetched, moved

if TYPE_CHECKING:
    from jaxtyping import Float

BATCHNORM_SAMPLES, SCORE_SAMPLES = 512, 1024


class Subset:
    """At most ``count`` samples of a split, chosen by ``seed``."""

    def __init__(self, samples: SplitSamples, count: int, seed: int) -> None:
        self.samples, self.chosen = samples, sorted(shuffled(len(samples), seed, "subset")[:count])

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitems__(self, indices: Sequence[int], /) -> tuple[Tensor, Tensor]:
        return self.samples.__getitems__([self.chosen[i] for i in indices])


@torch.no_grad()
def score_rounded(
    model: nn.Module,
    schemes: Mapping[str, str],
    train: SplitSamples,
    validation: SplitSamples,
    batch_size: int,
    seed: int,
    *,
    rounded: Rounded,
    as_given: bool,
) -> Score:
    """Return the validation score of a model with every layer rounded to its scheme; ``model`` is not changed.

    ``rounded`` says how, by path, weight and scheme. BN statistics are estimated anew on training samples, unless the
    weights are those of the checkpoint, ``as_given``, and stay it: without that, low bits shift every current and the
    score says little about the plan. At most ``BATCHNORM_SAMPLES`` and ``SCORE_SAMPLES`` are looked at.
    """
    changed = copy.deepcopy(model)
    for name, scheme_name in schemes.items():
        weight = changed.get_submodule(name).get_parameter("weight")
        weight.copy_(rounded(name, weight, scheme(scheme_name)))
    if not as_given or any(name != FLOAT32 for name in schemes.values()):
        reestimate_batchnorm(changed, Subset(train, BATCHNORM_SAMPLES, seed), batch_size, seed)
    return evaluate(changed, Subset(validation, SCORE_SAMPLES, seed), batch_size)


# Nats by which learned probabilities and rounding errors count beside the measured losses: they decide where those say
# nothing, as between two formats of a layer that hardly matters.
LEARNED, ROUNDING = 1e-3, 1e-3


class Judge:
    """Measures losses and scores plans on the validation split, with the weights of any model.

    ``floats`` is the float model and ``teacher`` its logits (N, classes) on that split: targets are the mean of labels
    and their softmax, as in finetuning.
    """

    def __init__(
        self,
        job: Job,
        floats: nn.Module,
        teacher: Float[Tensor, "N classes"],
        choices: Choices,
        settings: SearchSettings,
    ) -> None:
        self.job, self.floats, self.choices, self.settings = job, floats, choices, settings
        self.device = next(floats.parameters()).device
        self._nearest: dict[nn.Module, Nearest] = {}
        self.samples = Subset(job.data.validation, settings.calibration, settings.seed)
        self.teacher = torch.softmax(teacher[self.samples.chosen], 1)
        # Equal batches: batch statistics of a small rest would be noise.
        size = min(settings.batch_size, len(self.samples) // processes.count() * processes.count())
        self.order = [list(range(i * size, (i + 1) * size)) for i in range(len(self.samples) // size)]

    def nearest(self, model: nn.Module) -> Nearest:
        """Return how a model's weights, which stay as they are, are rounded to the nearest levels."""
        return self._nearest.setdefault(model, Nearest(masked_layers(model)))

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield frames (n, T, C, H, W) and targets (n, classes): this process' share of the calibration batches."""
        for indices in map(processes.shard, self.order):
            frames, labels = self.samples.__getitems__(indices)
            soft = self.teacher[indices]
            targets = (soft + F.one_hot(labels, soft.shape[1])) / 2
            yield moved(frames, self.device), moved(targets, self.device)

    def measured(
        self,
        model: nn.Module,
        anchor: list[int],
        solve: Callable[[np.ndarray], list[int]],
        progress: Progress,
        stage: str,
        prior: Float[np.ndarray, "L K"],
        rounded: Rounded | None = None,
    ) -> Float[np.ndarray, "L K"]:
        """Return scores (L, K): measured losses of two passes, and a little of ``prior``."""

        def with_prior(scores: np.ndarray) -> list[int]:
            return solve(scores + prior)

        scores = measure(
            model,
            self.choices,
            anchor,
            with_prior,
            self.batches,
            progress=progress,
            stage=stage,
            count=len(self.order),
            rounded=rounded or self.nearest(model),
        )
        return scores + prior

    def rounding(self) -> Rounded | None:
        """Return how weights are rounded for the training-free scores: to the nearest, or for the layer's outputs."""
        if not self.settings.reconstruct:
            return None
        layers = {layer.name: self.floats.get_submodule(layer.name) for layer in self.choices.layers}
        own = grams(layers, lambda: [self.floats(frames) for frames, _ in self.batches()])
        found, masked = {name: processes.mean(one) for name, one in own.items()}, masked_layers(self.floats)

        def rounded(path: str, weight: Tensor, one: Scheme) -> Tensor:
            own = candidate(one, path in masked)
            return reconstructed(weight, own, found.get(path), self.settings.reconstruct)

        return rounded

    def score(self, model: nn.Module, schemes: Mapping[str, str]) -> Score:
        """Return the validation score of a plan with these weights, BN estimated anew but in the float model itself."""
        data, one = self.job.data, self.settings
        return score_rounded(
            model,
            schemes,
            data.train,
            data.validation,
            one.batch_size,
            one.seed,
            rounded=self.nearest(model),
            as_given=model is self.floats,
        )


@torch.no_grad()
def rounding_errors(model: nn.Module, choices: Choices, rounded: Rounded) -> Float[np.ndarray, "L K"]:
    """Return Σ(W − Q_k(W))² / Σ W² of every layer and scheme, (L, K), NaN where it is not allowed."""
    found = np.full(choices.allowed.shape, np.nan)
    places, errors = [], []
    for i, layer in enumerate(choices.layers):
        weight: Tensor = model.get_submodule(layer.name).get_parameter("weight")
        own = rounded
        if float(weight.abs().max()) > 1e15:  # squares of float32 overflow from 1.8e19 on
            weight, own = weight / weight.abs().max(), Nearest(masked_layers(model))
        whole = weight.square().sum().clamp_min(torch.finfo(weight.dtype).tiny)
        for k in np.flatnonzero(choices.allowed[i]):
            one = own(layer.name, weight, scheme(choices.names[k]))
            errors.append((one - weight).square().sum() / whole)
            places.append((i, k))
    found[tuple(np.transpose(places))] = fetched(errors)
    return found


def rounding_prior(model: nn.Module, choices: Choices, rounded: Rounded) -> Float[np.ndarray, "L K"]:
    """Return ROUNDING times the rounding errors, (L, K): the smaller error wins where measuring cannot tell."""
    return ROUNDING * rounding_errors(model, choices, rounded)


def learned_prior(shares: Float[Tensor, "L K"]) -> Float[np.ndarray, "L K"]:
    """Return −LEARNED · log p, (L, K), of the search's probabilities."""
    return -LEARNED * np.log(shares.cpu().double().numpy().clip(1e-12))


def most_precise(choices: Choices) -> list[int]:
    """Return the choice (L,) that gives every layer its most bits."""
    bits = np.array([scheme(name).bits for name in choices.names])
    return [int(k) for k in np.where(choices.allowed, bits, -1).argmax(1)]


def sensitivity(judge: Judge, aim: Objective, progress: Progress) -> Float[np.ndarray, "L K"]:
    """Return training-free scores (L, K): losses measured from the float model, then corrected at the plan so found."""
    prior = rounding_prior(judge.floats, judge.choices, judge.nearest(judge.floats))
    start = most_precise(judge.choices)
    rounded = judge.rounding()
    return judge.measured(judge.floats, start, aim.solve, progress, "measuring the float model", prior, rounded)


def learned(
    judge: Judge, weights: nn.Module, shares: Float[Tensor, "L K"], aim: Objective, progress: Progress
) -> Float[np.ndarray, "L K"]:
    """Return the scores (L, K) of a trained mixture: measured losses at the plan it leans to, and what it learned.

    For the paper's form, −log p alone: the least sum without a budget is every layer's most probable scheme.
    """
    thought = learned_prior(shares)
    if judge.settings.method == "paper":
        return np.where(judge.choices.allowed, thought, np.nan)
    anchor = aim.solve(thought)
    prior = thought + rounding_prior(weights, judge.choices, judge.nearest(weights))
    return judge.measured(weights, anchor, aim.solve, progress, "measuring layers", prior)
