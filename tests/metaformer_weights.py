"""Weights of Meta-SpikeFormer and its kin under upstream's names, made from a seed with numpy alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from snnq.models.metaformer.module import MetaFormer
from snnq.models.metaformer.sizes import V2, V2_PARTS, MetaFormerConfig
from snnq.models.metaformer.stored import converted, stored_model
from snnq.models.registry import architecture


def config_of(case: dict[str, Any]) -> MetaFormerConfig:
    config = architecture(case["architecture"]).config(case["changes"])
    assert isinstance(config, MetaFormerConfig)
    return config


def theirs(config: MetaFormerConfig, name: str) -> str:
    """Return upstream's name of a tensor."""
    layout = V2 if config.layout == V2_PARTS else config.layout
    return architecture(layout).upstream.keys[0].upstream_name(name)


def upstream_state(config: MetaFormerConfig, seed: int) -> dict[str, Tensor]:
    """Return every tensor of upstream's state dict, such that all layers spike."""
    generator, state = np.random.default_rng(seed), {}
    shapes = {theirs(config, name): tensor for name, tensor in stored_model(config).state_dict().items()}
    for name, tensor in sorted(shapes.items()):
        state[name] = torch.from_numpy(np.asarray(_values(name, tuple(tensor.shape), generator), np.float32))
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(7)
    return state


def _values(name: str, shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    kind = name.rpartition(".")[2]
    if kind == "init_state":
        return np.ones(shape)
    if kind == "alpha":
        return generator.uniform(0.05, 0.2, shape)
    if kind == "running_var" or kind.startswith("layer_scale"):
        return generator.uniform(0.5, 2.0, shape)
    if kind == "bias" and len(shape) == 1 and ".attn." in name:
        return generator.normal(1.6, 0.5, shape)  # few tokens: attention must be lively to be heard behind its neuron
    if len(shape) < 2:
        return generator.uniform(1.0, 3.0, shape) if kind == "weight" else generator.normal(0.6, 0.5, shape)
    return generator.normal(0.0, int(np.prod(shape[1:])) ** -0.5, shape)


def our_model(config: MetaFormerConfig, state: dict[str, Tensor]) -> nn.Module:
    """Return the model, in evaluation mode, of upstream's state dict."""
    model = MetaFormer(config)
    ours = {name: state[theirs(config, name)] for name in stored_model(config).state_dict()}
    model.load_state_dict(converted(ours, config), strict=True)
    return model.eval()


def images(config: MetaFormerConfig, samples: int, seed: int) -> Tensor:
    """Return (samples, T, C, H, W) of normalised pixels, one image for all steps."""
    generator = np.random.default_rng(seed + 1)
    height, width = config.image_size
    coarse = generator.normal(0.0, 3.0, (samples, 1, config.in_channels, -(-height // 16), -(-width // 16)))
    patches = coarse.repeat(16, axis=-2).repeat(16, axis=-1)[..., :height, :width]
    pixels = (patches + generator.normal(0.0, 1.0, patches.shape)).astype(np.float32)
    return torch.from_numpy(pixels).expand(-1, config.steps, -1, -1, -1).contiguous()
