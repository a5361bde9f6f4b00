"""From a trained mixture, or from the float model alone, to scores, a plan and the simple plans beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snnq.cost.table import CostTable
from snnq.plan.costing import BASELINES
from snnq.plan.records import Baseline
from snnq.progress import Progress
from snnq.schemes.names import FLOAT32
from snnq.schemes.scheme import scheme
from snnq.searching.allocation import allocate
from snnq.searching.budget import quantity_costs, realised
from snnq.searching.constraints import Choices
from snnq.searching.measuring import measure
from snnq.searching.patterns import matching
from snnq.searching.scoring import Subset, score_rounded
from snnq.searching.settings import SearchSettings
from snnq.training import processes
from snnq.training.evaluation import Score
from snnq.training.job import Job

# Nats by which learned probabilities and rounding errors count beside the measured losses: they decide where those say
# nothing, as between two formats of a layer that hardly matters.
LEARNED, ROUNDING = 1e-3, 1e-3
SAME_COST = ("avg_bits", "energy_fraction")


@dataclass(frozen=True)
class Objective:
    """What the final plan minimises: scores, plus the priced cost where there is no budget."""

    choices: Choices
    costs: Mapping[str, np.ndarray]
    budget: Mapping[str, float]
    penalty: np.ndarray

    def solve(self, scores: np.ndarray) -> list[int]:
        """Return the best choice (L,) for scores (L, K)."""
        return allocate(self.choices, scores + self.penalty, self.costs, self.budget)


def objective(choices: Choices, settings: SearchSettings, table: CostTable) -> Objective:
    """Return a search's objective. With a trade-off: λ_l · E_lk / E_float32 beside the scores [paper]."""
    costs = quantity_costs(choices.layers, choices.names, table)
    penalty = np.zeros_like(costs["avg_bits"])
    if not settings.budget:
        penalty = trade_offs(choices, settings)[:, None] * costs["energy_fraction"]
    return Objective(choices, costs, settings.budget or {}, penalty)


def trade_offs(choices: Choices, settings: SearchSettings) -> np.ndarray:
    """Return λ of every layer, (L,)."""
    found = np.full(len(choices.layers), settings.trade_off)
    for pattern, value in settings.trade_offs:
        found[matching(pattern, choices.layers, "--trade-off")] = value
    return found


class Judge:
    """Measures losses and scores plans on the validation split, with the weights of any model.

    ``teacher`` are the float model's logits (N, classes) on that split: targets are the mean of labels and their
    softmax, as in finetuning.
    """

    def __init__(
        self, job: Job, teacher: Tensor, choices: Choices, settings: SearchSettings, device: torch.device
    ) -> None:
        self.job, self.choices, self.settings, self.device = job, choices, settings, device
        self.samples = Subset(job.data.validation, settings.calibration, settings.seed)
        self.teacher = torch.softmax(teacher[self.samples.chosen], 1)
        # Equal batches: batch statistics of a small rest would be noise.
        size = min(settings.batch_size, len(self.samples) // processes.count() * processes.count())
        self.order = [list(range(i * size, (i + 1) * size)) for i in range(len(self.samples) // size)]

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield frames (n, T, C, H, W) and targets (n, classes): this process' share of the calibration batches."""
        for indices in map(processes.shard, self.order):
            frames, labels = self.samples.__getitems__(indices)
            soft = self.teacher[indices]
            targets = (soft + F.one_hot(labels, soft.shape[1])) / 2
            yield frames.to(self.device), targets.to(self.device)

    def measured(
        self,
        model: nn.Module,
        anchor: list[int],
        solve: Callable[[np.ndarray], list[int]],
        progress: Progress,
        stage: str,
        prior: np.ndarray,
    ) -> np.ndarray:
        """Return scores (L, K): measured losses of two passes, and a little of ``prior``."""

        def with_prior(scores: np.ndarray) -> list[int]:
            return solve(scores + prior)

        scores = measure(
            model, self.choices, anchor, with_prior, self.batches, progress=progress, stage=stage, count=len(self.order)
        )
        return scores + prior

    def score(self, model: nn.Module, schemes: Mapping[str, str]) -> Score:
        """Return the validation score of a plan with these weights, BN estimated anew."""
        data, one = self.job.data, self.settings
        return score_rounded(model, schemes, data.train, data.validation, one.batch_size, one.seed)


@torch.no_grad()
def rounding_prior(model: nn.Module, choices: Choices) -> np.ndarray:
    """Return ROUNDING · Σ(W − Q_k(W))² / Σ W², (L, K): the smaller error wins where measuring cannot tell."""
    rows = []
    for layer in choices.layers:
        weight: Any = model.get_submodule(layer.name).weight
        whole = weight.square().sum().clamp_min(torch.finfo(weight.dtype).tiny)
        ones = (scheme(name) for name in choices.names)
        errors = [(one.project(weight, one.fit(weight))[0] - weight).square().sum() / whole for one in ones]
        rows.append([float(error) for error in errors])
    return ROUNDING * np.array(rows)


def learned_prior(shares: Tensor) -> np.ndarray:
    """Return −LEARNED · log p, (L, K), of the search's probabilities."""
    return -LEARNED * np.log(shares.double().cpu().numpy().clip(1e-12))


def most_precise(choices: Choices) -> list[int]:
    """Return the choice (L,) that gives every layer its most bits."""
    bits = np.array([scheme(name).bits for name in choices.names])
    return [int(k) for k in np.where(choices.allowed, bits, -1).argmax(1)]


def sensitivity(judge: Judge, model: nn.Module, aim: Objective, progress: Progress) -> np.ndarray:
    """Return training-free scores (L, K) of a float model: first from float, then corrected at the plan so found."""
    prior = rounding_prior(model, judge.choices)
    start = most_precise(judge.choices)
    return judge.measured(model, start, aim.solve, progress, "measuring the float model", prior)


def same_cost(aim: Objective, chosen: list[int]) -> Objective:
    """Return the objective of a rival: the same budget, or else no more storage and energy than the choice (L,)."""
    limits = aim.budget or realised(aim.costs, chosen, dict.fromkeys(SAME_COST, 0.0))
    return Objective(aim.choices, aim.costs, limits, np.zeros_like(aim.penalty))


def simple_plans(
    judge: Judge, weights: nn.Module, floats: nn.Module, rival: dict[str, str] | None, progress: Progress
) -> list[Baseline]:
    """Return the uniform plans and the sensitivity plan, scored with the search's weights; float32 with its own."""
    names = [layer.name for layer in judge.choices.layers]
    plans = {name: dict.fromkeys(names, name) for name in BASELINES}
    if rival is not None:
        plans["sensitivity"] = rival
    found = []
    for i, (name, schemes) in enumerate(plans.items()):
        progress("scoring simple plans", i, len(plans))
        score = judge.score(floats if name == FLOAT32 else weights, schemes)
        mixed = None if name in BASELINES else schemes
        found.append(
            Baseline(scheme=name, schemes=mixed, validation_accuracy=score.accuracy, validation_loss=score.loss)
        )
    progress("scoring simple plans", len(plans), len(plans))
    return found
