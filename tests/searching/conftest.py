"""A few layers without a model, and a tiny float model on the smallest data."""

from __future__ import annotations

import pytest
from tiny_checkpoints import save_tiny

from snnq.network.layers import Layer
from snnq.searching import finishing

DATA = "random,classes=2,samples=32"


@pytest.fixture(scope="session")
def layers():
    """Return two blocks' attention layers, a convolution and a head, of different sizes."""
    conv = Layer("patch_embed.proj_conv", "tokenizer", "conv2d", (4, 2, 3, 3), 4608, 4608, "counts")
    attention = [
        Layer(f"block.{i}.attn.{name}", "attention", "linear", (16, 16 + i), 4096, 4096, "integers")
        for i in (0, 1)
        for name in ("q", "k", "v", "proj")
    ]
    return (conv, *attention, Layer("head", "head", "linear", (10, 16), 160, 160, "reals"))


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("float"), data=None, seed=0, classes=2)


@pytest.fixture
def few_plans(monkeypatch):
    """Score two simple plans beside a search's own, and two of its front."""
    monkeypatch.setattr(finishing, "BASELINES", ("float32", "power-of-two-2"))
    monkeypatch.setattr(finishing, "FRONT_POINTS", 2)
