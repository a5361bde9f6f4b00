"""The sizes of a model: what is refused, and that they survive a file."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from snnq.base.errors import UsageError
from snnq.models.registry import ARCHITECTURES, architecture, build
from snnq.models.spikformer.sizes import LAYOUTS, SpikformerConfig


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_config_survives_json(layout: str) -> None:
    config = SpikformerConfig.published(layout, image_size=(33, 20), mlp_ratio=2.5)
    assert SpikformerConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("layout", "tokens", "grid"), [("cifar10dvs", 64, (8, 8)), ("cifar10", 64, (8, 8)), ("imagenet", 196, (14, 14))]
)
def test_published_tokens(layout: str, tokens: int, grid: tuple[int, int]) -> None:
    assert (SpikformerConfig.published(layout).tokens, SpikformerConfig.published(layout).grid) == (tokens, grid)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dim": 100}, ["dim", "100", "multiple of heads", "16"]),
        ({"dim": 4, "heads": 1}, ["dim", "4", "at least 8"]),
        ({"steps": 0}, ["steps", "0", "at least 1"]),
        ({"steps": 2.5}, ["steps", "2.5", "whole number"]),
        ({"depth": True}, ["depth", "True"]),
        ({"image_size": (32,)}, ["image_size", "height and width"]),
        ({"image_size": (0, 32)}, ["image_size", "0"]),
        ({"pooling": (True, True)}, ["pooling", "four booleans"]),
        ({"mlp_ratio": 0.0}, ["mlp_ratio", "0.0"]),
        ({"attention_scale": -1.0}, ["attention_scale", "-1", "greater than 0"]),
        ({"layout": "cifar10dsv"}, ["layout", "cifar10dsv", "did you mean 'cifar10dvs'"]),
    ],
)
def test_impossible_sizes_are_named(changes: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        SpikformerConfig.from_dict({**SpikformerConfig.published("cifar10dvs").to_dict(), **changes})
    assert [word for word in words if word not in caught.value.message] == []


def test_an_unknown_key_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'heads'"):
        SpikformerConfig.from_dict({"layout": "cifar10", "head": 3})


def test_registry_names_and_defaults() -> None:
    names = [f"spikformer-{layout}" for layout in ("cifar10dvs", "cifar10", "imagenet", "spikingjelly")]
    names += ["sdt-static", "sdt-dvs", "statten-static", "statten-dvs", "sdt-spikingjelly"]
    jellies = ("spikingjelly", "spikingjelly-channel")
    names += [f"qkformer-{layout}" for layout in ("dvs", "cifar10", "imagenet", *jellies)]
    names += [f"maxformer-{layout}" for layout in ("event", "cifar10", "imagenet", "spikingjelly")]
    names += [f"spikingformer-{layout}" for layout in ("dvs", "cifar10", "imagenet")]
    names += ["sdt-v2-imagenet", "sdt-v2-imagenet-repconv", "sdt-v3-imagenet", "sdt-v3-large-imagenet"]
    names += ["qsd-imagenet"]
    names += [f"respike-{layout}" for layout in ("cross", "pooled", "concat", "key", "residual", "dense")]
    assert list(ARCHITECTURES) == names
    assert architecture("spikformer-cifar10").default_config()["dim"] == 384
    with pytest.raises(UsageError, match="did you mean 'spikformer-imagenet'"):
        architecture("spikformer-imagnet")
    with pytest.raises(UsageError, match="layout 'cifar10'"):
        build("spikformer-imagenet", {"layout": "cifar10"})
    model = build("spikformer-imagenet", {"dim": 8, "heads": 1, "depth": 1, "classes": 3})
    assert isinstance(model, torch.nn.Module)
    assert model.get_submodule("block.0.mlp.fc1").get_parameter("weight").ndim == 4
