"""The first number that is not finite is found and named, wherever a threshold would hide it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from spikingjelly.activation_based import neuron
from torch import nn

from snnq.base.errors import NotFiniteError
from snnq.base.validation import require_finite
from snnq.training.evaluation import predict, reestimate_batchnorm
from snnq.training.finite import FiniteWatch, require_finite_model

INF, NAN = math.inf, math.nan


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), neuron.IFNode(step_mode="m"), nn.Linear(4, 4), neuron.PSN(2), nn.Linear(4, 2))


class Numbers:
    """A split of twelve samples of two steps, one value of which is ``value``."""

    def __init__(self, at: int, value: float) -> None:
        self.x = torch.ones(12, 2, 3)
        self.x[at, 1, 1] = value

    def __len__(self) -> int:
        return 12

    def __getitems__(self, indices: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        return self.x[list(indices)], torch.zeros(len(indices), dtype=torch.int64)


@pytest.mark.parametrize("value", [INF, -INF, NAN])
@pytest.mark.parametrize(("layer", "named"), [(0, "1"), (2, "3")])
def test_the_first_step_and_the_first_neurons_are_named(value: float, layer: int, named: str) -> None:
    model = network()
    with FiniteWatch(model, "testing") as watch:
        for step in range(5):
            if step == 2:
                model.get_parameter(f"{layer}.bias").data[1] = value
            loss = model(torch.ones(2, 6, 3)).mean()
            watch.close(f"step {step + 1}", loss)
        word = "not a number" if math.isnan(value) else "infinite"
        also = rf"so is the tensor 'bias' of '{layer}' by now"
        with pytest.raises(
            NotFiniteError, match=rf"testing: the current of neurons '{named}' is {word}.*step 3; {also}"
        ):
            watch.check()
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_finite_numbers_of_any_size_pass() -> None:
    model = network()
    with FiniteWatch(model, "testing") as watch:
        for size in (3e38, -3e38, 1e-45, 0.0):
            model.get_parameter("0.bias").data.fill_(size)
            model(torch.zeros(2, 6, 3))
            watch.close("step", torch.tensor(size))
            watch.check()


def test_a_broken_loss_behind_sound_currents() -> None:
    model = network()
    with FiniteWatch(model, "testing") as watch:
        watch.close("step 1", model(torch.ones(2, 6, 3)).mean() * NAN)
        with pytest.raises(NotFiniteError, match=r"testing: the loss is not a number .NaN., first in step 1"):
            watch.check()


@pytest.mark.parametrize("value", [INF, NAN])
def test_an_evaluation_names_the_neurons_and_the_batch(value: float) -> None:
    class Steps(nn.Sequential):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            return super().forward(input.transpose(0, 1)).mean(0)

    model = Steps(*network()).eval()
    with pytest.raises(NotFiniteError, match=r"evaluating: the current of neurons '1' is .* first in batch 3"):
        predict(model, Numbers(9, value), 4)
    model.get_parameter("4.bias").data[0] = value
    with pytest.raises(NotFiniteError, match=r"evaluating: the logits is .* first in batch 1"):
        predict(model, Numbers(9, 1.0), 4)


def test_statistics_are_named() -> None:
    model = nn.Sequential(nn.Flatten(1), nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    model.get_parameter("1.weight").data.fill_(1e30)  # a variance of float32 overflows from 1.8e19 on
    samples = Numbers(3, 2.0)
    with pytest.raises(NotFiniteError, match="statistics: the statistic 'running_var' of '2' is not finite"):
        reestimate_batchnorm(model, samples, 4, 0)
    with pytest.raises(NotFiniteError, match="here: the statistic 'running_var' of '2'"):
        require_finite_model(model, "here")


def test_facts_are_named_by_their_keys() -> None:
    require_finite({"a": [1, 2.0, {"b": "inf"}]}, "here")
    with pytest.raises(NotFiniteError, match=r"here: a\.1\.b is nan"):
        require_finite({"a": [1, {"b": NAN}]}, "here")
