"""A user's own model that does something on some data alone, or out of sight, never gets a wrong graph."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from own_networks import conv
from spikingjelly.activation_based import functional, layer, neuron
from test_own_in_whole_numbers import SIZES, saved
from torch import Tensor, nn

import snnq
from snnq.checkpoints.opening import open_checkpoint

Between = Callable[["Branched", Tensor], Tensor]


class Branched(nn.Module):
    """Steps first: a layer and neurons, whatever ``between`` does with their spikes and a branch, a linear layer."""

    def __init__(self, between: Between, second: nn.Module | None = None, threshold: float = 1.0) -> None:
        super().__init__()
        self.between, self.conv, self.node = between, conv(), neuron.LIFNode(step_mode="m")
        self.second = second or layer.Conv2d(4, 4, 3, padding=1, step_mode="m")
        self.fires = neuron.LIFNode(v_threshold=threshold, step_mode="m")
        self.head = nn.Linear(4, 4)

    def branch(self, spikes: Tensor) -> Tensor:
        """Return the spikes of the branch."""
        return self.fires(self.second(spikes))

    def forward(self, frames: Tensor) -> Tensor:
        """Return logits (T, B, 4)."""
        return self.head(self.between(self, self.node(self.conv(frames))).mean((3, 4)))


class Centred(layer.Conv2d):
    """A convolution that centres its weights."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution of centred weights."""
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return nn.functional.conv2d(x.flatten(0, 1), weight, self.bias, padding=1).unflatten(0, x.shape[:2])


class Limited(layer.Conv2d):
    """A convolution whose numbers have a limit, that few counts reach."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution, at most 200."""
        found = super().forward(x)
        assert isinstance(found, Tensor)
        return torch.clamp(found, max=200)


class Adding(layer.Conv2d):
    """A convolution to which something else is added."""

    def forward(self, x: Tensor, other: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the sum."""
        found = super().forward(x)
        assert isinstance(found, Tensor)
        return torch.add(found, other)


class Parametrised(Branched):
    """It has a parameter of its own, which says nothing as it is."""

    def __init__(self, between: Between, value: float) -> None:
        super().__init__(between)
        self.own = nn.Parameter(torch.full((1, 1, 4, 16, 16) if value == 0 else (1,), value))


def large(x: Tensor) -> Tensor:
    """Return 1 for what is large."""
    return (x >= 1e4).to(x.dtype)


with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # users' code has it
    compiled = torch.jit.script(large)


def turned_if_large(model: Branched, x: Tensor) -> Tensor:
    """Return something else for what is large, which a number says."""
    return x.flip(3) if float(x.sum((3, 4)).flatten()[0]) > 1e4 else x


def turned_if_listed(model: Branched, x: Tensor) -> Tensor:
    """Return something else for what is large, which a list says."""
    return x.flip(3) if max(x.sum((3, 4)).flatten().tolist()) > 1e4 else x


def of_numpy(model: Branched, x: Tensor) -> Tensor:
    """Return the same and what numpy makes of it."""
    return x + torch.from_numpy((x.numpy() > 1e4).astype(x.numpy().dtype))


def by_an_alias(model: Branched, x: Tensor) -> Tensor:
    """Return what a view of it was written into."""
    alias = x.view(x.shape)
    alias += model.branch(x)
    return x


def by_a_buffer(model: Branched, x: Tensor) -> Tensor:
    """Return the same and what was written into a tensor of zeros."""
    room = torch.zeros(x.shape, dtype=x.dtype)
    part = room.view(x.shape)
    part += model.branch(x)
    return x + room


def by_data(model: Branched, x: Tensor) -> Tensor:
    """Return a tensor that was given other numbers."""
    x.data = (x + model.branch(x)).data
    return x


def at_rest(model: Branched, x: Tensor) -> Tensor:
    """Return a residual whose neurons forget at every step."""
    model.fires.step_mode = "s"
    spikes = []
    for current in model.second(x):
        functional.reset_net(model.fires)
        spikes.append(model.fires(current))
    return x + torch.stack(spikes)


def with_chance(model: Branched, x: Tensor) -> Tensor:
    """Return a residual that is left out by chance."""
    return x if random.random() < 1e-9 else x + model.branch(x)


def with_numpys_chance(model: Branched, x: Tensor) -> Tensor:
    """Return a residual that is left out by chance."""
    return x if np.random.rand() < 1e-9 else x + model.branch(x)


def dropping(model: Branched, x: Tensor) -> Tensor:
    """Return a residual some of which is always left out."""
    return x + nn.functional.dropout(model.branch(x))


def residual(model: Branched, x: Tensor) -> Tensor:
    """Return a residual."""
    return x + model.branch(x)


def in_vain(model: Branched, x: Tensor) -> Tensor:
    """Return the same, though the branch ran."""
    model.branch(x)
    return x


SILENT = 1e6  # a threshold
READS, ADDS = "its code reads numbers that are made of the frames", "adds a tensor that is not made of the frames"
OTHERS = "the operations that were found in it are not its own"
FOOLING: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "a number decides": (lambda: Branched(turned_if_large), f"{READS} (torch's __float__)"),
    "a list decides": (lambda: Branched(turned_if_listed), f"{READS} (torch's tolist)"),
    "numpy": (lambda: Branched(of_numpy), f"{READS} (torch's numpy)"),
    "compiled": (lambda: Branched(lambda model, x: x + compiled(model.second(x))), ADDS),
    "an alias": (lambda: Branched(by_an_alias, threshold=SILENT), "could not be followed"),
    "a buffer": (lambda: Branched(by_a_buffer, threshold=SILENT), ADDS),
    "data": (lambda: Branched(by_data, threshold=SILENT), "writes into a tensor (torch's __set__)"),
    "out": (lambda: Branched(lambda _, x: torch.add(x, x, out=torch.empty_like(x))), "writes into a tensor"),
    "a second tensor": (
        lambda: Branched(lambda model, x: model.second(x, x), Adding(4, 4, 3, padding=1, step_mode="m")),
        "'second' is given more than one tensor that is made of the frames",
    ),
    "a second tensor, named": (
        lambda: Branched(lambda model, x: model.second(x, other=x), Adding(4, 4, 3, padding=1, step_mode="m")),
        "'second' is given more than one tensor that is made of the frames",
    ),
    "a silent branch of another class": (
        lambda: Branched(residual, Centred(4, 4, 3, padding=1, step_mode="m"), threshold=50.0),
        OTHERS,
    ),
    "a silent branch at rest": (lambda: Branched(at_rest, threshold=50.0), OTHERS),
    "a class with a limit": (
        lambda: nn.Sequential(
            Limited(2, 4, 3, padding=1, step_mode="m"),
            layer.AdaptiveAvgPool2d(1, step_mode="m"),
            layer.Flatten(step_mode="m"),
            layer.Linear(4, 4, step_mode="m"),
        ),
        OTHERS,
    ),
    "a parameter of zeros": (lambda: Parametrised(lambda model, x: x + model.get_parameter("own"), 0.0), ADDS),
    "a parameter of one": (
        lambda: Parametrised(lambda model, x: x * model.get_parameter("own"), 1.0),
        "multiplies by a parameter, which training moves",
    ),
    "chance": (lambda: Branched(with_chance), "it draws random numbers"),
    "numpy's chance": (lambda: Branched(with_numpys_chance), "it draws random numbers"),
    "a silent dropout": (lambda: Branched(dropping, threshold=SILENT), "it draws random numbers"),
    "in vain": (lambda: Branched(in_vain), "'fires' runs, but its logits are not made of what it gives"),
    "fewer digits": (lambda: Branched(lambda _, x: x.to(torch.bfloat16).to(x.dtype)), "torch's to changes numbers"),
}


@pytest.mark.parametrize("how", FOOLING)
def test_what_depends_on_data_or_is_out_of_sight_is_refused(how: str, tmp_path: Path) -> None:
    builder, said = FOOLING[how]
    found = snnq.inspect(saved(builder, tmp_path / "own.pth"), model=builder, **SIZES)
    assert found.wiring.arithmetic == "float"
    assert said in found.wiring.where


def from_zeros(model: Branched, x: Tensor) -> Tensor:
    """Return a sum that begins with zeros, as people write it, its shape printed."""
    total = torch.zeros(4)[:, None, None].expand(4, 16, 16).to(x.device)
    total = total + x if f"{x.shape}" and len(x) else x
    total += model.branch(torch.flip(input=x, dims=(3,)).flip(3))
    return total


class Named(nn.Module):
    """Its modules are called as the first and the last stream are."""

    def __init__(self) -> None:
        super().__init__()
        self.frames, self.node, self.logits = conv(), neuron.LIFNode(step_mode="m"), nn.Linear(4, 4)

    def forward(self, frames: Tensor) -> Tensor:
        """Return logits (T, B, 4)."""
        return self.logits(self.node(self.frames(frames)).mean((3, 4)))


def test_what_has_no_form_in_c_is_said(tmp_path: Path) -> None:
    def builder() -> nn.Module:
        between = nn.Sequential(
            layer.Conv2d(4, 4, 3, step_mode="m"),
            layer.MaxPool2d(3, 2, 1, step_mode="m"),
            neuron.LIFNode(step_mode="m"),
        )
        return nn.Sequential(
            conv(),
            between,
            layer.AdaptiveAvgPool2d(1, step_mode="m"),
            layer.Flatten(step_mode="m"),
            layer.Linear(4, 4, step_mode="m"),
        )

    found = snnq.inspect(saved(builder, tmp_path / "own.pth"), model=builder, **SIZES)
    assert found.wiring.where == "in whole numbers, on torch, on the integer engine"


@pytest.mark.parametrize(
    ("builder", "due"),
    [
        (lambda: Branched(from_zeros), ["layer", "neuron"] * 2 + ["add", "mean", "head"]),
        (lambda: Branched(residual, threshold=SILENT), ["layer", "neuron"] * 2 + ["add", "mean", "head"]),
        (Named, ["layer", "neuron", "mean", "head"]),
    ],
    ids=["from zeros", "silent", "names"],
)
def test_what_is_plain_is_followed(builder: Callable[[], nn.Module], due: list[str], tmp_path: Path) -> None:
    config = open_checkpoint(saved(builder, tmp_path / "own.pth"), model=builder, **SIZES).config
    assert [one["operation"] for one in config.get("graph", ())] == due, config.get("floating")
