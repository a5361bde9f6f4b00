"""What a plan costs in accuracy before any finetuning: the float weights rounded, BN statistics re-estimated."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import nn

from snnq.schemes.names import FLOAT32
from snnq.schemes.scheme import scheme
from snnq.training.batches import Samples
from snnq.training.evaluation import Score, evaluate, reestimate_batchnorm


@torch.no_grad()
def score_rounded(
    model: nn.Module, schemes: Mapping[str, str], train: Samples, validation: Samples, batch_size: int, seed: int
) -> Score:
    """Return the validation score of a float model with every layer rounded to its scheme; ``model`` is not changed.

    Each layer's parameters are the least-squares fit. With any layer rounded, BN statistics are estimated anew on
    training samples: without that, low bits shift every current and the score says little about the plan.
    """
    rounded = copy.deepcopy(model)
    for name, scheme_name in schemes.items():
        one, weight = scheme(scheme_name), rounded.get_submodule(name).weight
        weight.copy_(one.project(weight, one.fit(weight))[0])  # pyright: ignore
    if any(name != FLOAT32 for name in schemes.values()):
        reestimate_batchnorm(rounded, train, batch_size, seed)
    return evaluate(rounded, validation, batch_size)
