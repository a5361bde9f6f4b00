"""A float checkpoint so small that whole commands take a moment, and that names its own random data."""

from __future__ import annotations

from pathlib import Path

import torch

from snnq.checkpoints.opening import save_checkpoint
from snnq.models.registry import build

TINY = "tiny.safetensors"
DATA = "random,classes=3,samples=48"
CONFIG = {"in_channels": 2, "image_size": [8, 8], "dim": 16, "depth": 1, "heads": 2, "steps": 2, "classes": 3}


def save_tiny(folder: Path) -> Path:
    """Write the checkpoint ``TINY`` into a folder; return its path."""
    torch.manual_seed(3)
    model = build("spikformer-cifar10dvs", CONFIG | {"pooling": [False, False, True, True]})
    save_checkpoint(folder / TINY, model, architecture="spikformer-cifar10dvs", facts={"data": DATA})
    return folder / TINY
