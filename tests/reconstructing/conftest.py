"""A tiny folded Spikformer that fires, and a float checkpoint."""

from __future__ import annotations

import pytest
import torch
from tiny_models import CONFIG, DATA, Tiny, tiny_of

from snnq.checkpoints.opening import save_checkpoint
from snnq.models.registry import build


@pytest.fixture(scope="session")
def tiny() -> Tiny:
    return tiny_of("spikformer-cifar10dvs", CONFIG)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory):
    torch.manual_seed(3)
    path = tmp_path_factory.mktemp("float") / "float.safetensors"
    facts = {"data": DATA}
    save_checkpoint(path, build("spikformer-cifar10dvs", CONFIG), architecture="spikformer-cifar10dvs", facts=facts)
    return path
