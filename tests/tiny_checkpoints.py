"""Float models so small that whole commands take a moment, and checkpoints of them that name their own random data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lively import wake
from torch import nn

from snnq.checkpoints.opening import save_checkpoint
from snnq.models.registry import build
from snnq.network.layers import frames_shape

TINY = "tiny.safetensors"
DATA = "random,classes=3,samples=48"
CONFIG = {"in_channels": 2, "image_size": [8, 8], "dim": 16, "depth": 1, "heads": 2, "steps": 2, "classes": 3}
POOLED = CONFIG | {"pooling": [False, False, True, True]}


def build_tiny(seed: int = 3, layout: str = "cifar10dvs", **changes: Any) -> nn.Module:
    """Return a Spikformer of the sizes ``POOLED``, but for ``changes``."""
    torch.manual_seed(seed)
    return build(f"spikformer-{layout}", POOLED | changes)


def save_tiny(
    folder: Path,
    name: str = TINY,
    data: str | None = DATA,
    *,
    seed: int = 3,
    layout: str = "cifar10dvs",
    awake: bool = False,
    **changes: Any,
) -> Path:
    """Write the checkpoint of a tiny model into a folder; return its path. ``awake``: its neurons fire."""
    model = build_tiny(seed, layout, **changes)
    if awake:
        wake(model, torch.poisson(torch.full((4, *frames_shape(POOLED | changes)), 0.5)))
    facts = {"data": data} if data else {}
    save_checkpoint(folder / name, model, architecture=f"spikformer-{layout}", facts=facts)
    return folder / name
