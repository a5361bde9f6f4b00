"""State dicts under upstream's own key names, written here by hand, at any size."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

Shape = tuple[int, ...]
HEADS = {"cifar10dvs": 16, "cifar10": 12, "imagenet": 8}
PUBLISHED: dict[str, dict[str, Any]] = {
    "cifar10dvs": {"dim": 256, "depth": 2, "channels": 2, "classes": 10},
    "cifar10": {"dim": 384, "depth": 4, "channels": 3, "classes": 10},
    "imagenet": {"dim": 512, "depth": 8, "channels": 3, "classes": 1000},
}
TINY: dict[str, Any] = {"dim": 16, "depth": 2, "channels": 2, "classes": 3}


def upstream_shapes(
    layout: str, *, dim: int, depth: int, channels: int, classes: int, ratio: int = 4, tokens: int = 64
) -> dict[str, Shape]:
    """Return every key of an upstream state dict with its shape."""
    shapes: dict[str, Shape] = {"pos_embed": (1, tokens, dim)} if layout == "cifar10dvs" else {}
    widths = (channels, dim // 8, dim // 4, dim // 2, dim)
    for stage, suffix in enumerate(("", "1", "2", "3")):
        shapes[f"patch_embed.proj_conv{suffix}.weight"] = (widths[stage + 1], widths[stage], 3, 3)
        shapes |= _norm(f"patch_embed.proj_bn{suffix}", widths[stage + 1])
    shapes["patch_embed.rpe_conv.weight"] = (dim, dim, 3, 3)
    shapes |= _norm("patch_embed.rpe_bn", dim)
    for index in range(depth):
        shapes |= _block(layout, f"block.{index}", dim, ratio * dim)
    if layout == "cifar10dvs":
        shapes |= {"norm.weight": (dim,), "norm.bias": (dim,)}
    return shapes | {"head.weight": (classes, dim), "head.bias": (classes,)}


def _block(layout: str, block: str, dim: int, hidden: int) -> dict[str, Shape]:
    shapes: dict[str, Shape] = {}
    kind = "linear" if layout == "cifar10" else "conv"
    attn_tail: Shape = () if layout == "cifar10" else (1,)
    mlp_tail: Shape = {"cifar10dvs": (1,), "cifar10": (), "imagenet": (1, 1)}[layout]
    for part in ("norm1", "norm2"):
        shapes |= {f"{block}.{part}.weight": (dim,), f"{block}.{part}.bias": (dim,)}
    for name in ("q", "k", "v", "proj"):
        shapes[f"{block}.attn.{name}_{kind}.weight"] = (dim, dim, *attn_tail)
        if name == "proj" or layout == "cifar10":
            shapes[f"{block}.attn.{name}_{kind}.bias"] = (dim,)
        shapes |= _norm(f"{block}.attn.{name}_bn", dim)
    for name, size_in, size_out in (("fc1", dim, hidden), ("fc2", hidden, dim)):
        shapes[f"{block}.mlp.{name}_{kind}.weight"] = (size_out, size_in, *mlp_tail)
        shapes[f"{block}.mlp.{name}_{kind}.bias"] = (size_out,)
        shapes |= _norm(f"{block}.mlp.{name}_bn", size_out)
    return shapes


def _norm(name: str, channels: int) -> dict[str, Shape]:
    parts = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{part}": (channels,) for part in parts} | {f"{name}.num_batches_tracked": ()}


def filled(shapes: dict[str, Shape], seed: int = 0) -> dict[str, Tensor]:
    """Return random tensors of these shapes."""
    generator = np.random.default_rng(seed)
    return {
        name: torch.tensor(7)
        if name.endswith("num_batches_tracked")
        else torch.from_numpy(generator.uniform(0.1, 1.0, shape).astype(np.float32))
        for name, shape in shapes.items()
    }


def tiny(layout: str, seed: int = 0, **changes: Any) -> dict[str, Tensor]:
    """Return a small upstream state dict."""
    return filled(upstream_shapes(layout, **{**TINY, **changes}), seed)


def dvs_container(state: dict[str, Tensor], **args: Any) -> dict[str, Any]:
    """Return what upstream's cifar10dvs/train.py saves; the best accuracy is a numpy scalar."""
    return {
        "model": state,
        "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 1e-3, "params": [0]}]},
        "lr_scheduler": {"last_epoch": 3},
        "epoch": 3,
        "args": Namespace(**args),
        "max_test_acc1": np.float64(78.9),
        "test_acc5_at_max_test_acc1": np.float32(99.0),
    }


def timm_container(state: dict[str, Tensor], ema: dict[str, Tensor], **args: Any) -> dict[str, Any]:
    """Return what timm's CheckpointSaver saves."""
    return {
        "epoch": 9,
        "arch": "spikformer",
        "state_dict": state,
        "optimizer": {"state": {}, "param_groups": []},
        "version": 2,
        "args": Namespace(**args),
        "amp_scaler": {"scale": 65536.0},
        "state_dict_ema": ema,
        "metric": np.float64(95.19),
    }
