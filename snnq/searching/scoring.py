"""What a plan is worth before any finetuning: a model's weights rounded, BN statistics re-estimated."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from snnq.schemes.names import FLOAT32
from snnq.schemes.scheme import scheme
from snnq.searching.rounding import Rounded
from snnq.training.batches import Samples
from snnq.training.evaluation import Score, evaluate, reestimate_batchnorm
from snnq.training.seeding import shuffled

BATCHNORM_SAMPLES, SCORE_SAMPLES = 512, 1024


class Subset:
    """At most ``count`` samples of a split, chosen by ``seed``."""

    def __init__(self, samples: Samples, count: int, seed: int) -> None:
        self.samples, self.chosen = samples, sorted(shuffled(len(samples), seed, "subset")[:count])

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitems__(self, indices: Sequence[int], /) -> tuple[Tensor, Tensor]:
        return self.samples.__getitems__([self.chosen[i] for i in indices])


@torch.no_grad()
def score_rounded(
    model: nn.Module,
    schemes: Mapping[str, str],
    train: Samples,
    validation: Samples,
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
        weight: Any = changed.get_submodule(name).weight
        weight.copy_(rounded(name, weight, scheme(scheme_name)))
    if not as_given or any(name != FLOAT32 for name in schemes.values()):
        reestimate_batchnorm(changed, Subset(train, BATCHNORM_SAMPLES, seed), batch_size, seed)
    return evaluate(changed, Subset(validation, SCORE_SAMPLES, seed), batch_size)
