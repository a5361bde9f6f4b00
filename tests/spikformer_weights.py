"""Weights and frames made from a seed with numpy alone, so that they are the same on every machine."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from snnq.models.sizes import Sizes

M = TypeVar("M", bound=nn.Module)


def fill_model(model: M, seed: int) -> M:
    """Overwrite every parameter and buffer, batch statistics too, so that all layers of the model spike."""
    generator = np.random.default_rng(seed)
    with torch.no_grad():
        for name, tensor in sorted(model.state_dict().items()):
            if name.endswith("num_batches_tracked"):
                continue
            tensor.copy_(torch.from_numpy(np.asarray(_values(name, tuple(tensor.shape), generator))))
    return model


def _values(name: str, shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    if name.endswith("running_var"):
        return generator.uniform(0.5, 2.0, shape).astype(np.float32)
    if "_bn" in name and name.endswith("weight"):
        return generator.uniform(1.0, 3.0, shape).astype(np.float32)
    if "_bn" in name:
        return generator.normal(0.3, 0.5, shape).astype(np.float32)
    fan_in = int(np.prod(shape[1:])) if len(shape) > 1 else (shape or (1,))[0]
    # Multiples of 1/64: sums of integer inputs are then exact in any order, and no spike hangs on rounding.
    return (np.round(64 * generator.normal(0.0, fan_in**-0.5, shape)) / 64).astype(np.float32)


def make_frames(config: Sizes, samples: int, seed: int) -> Tensor:
    """Return (samples, T, C, H, W) of event counts, Poisson, of a rate that changes from place to place."""
    generator = np.random.default_rng(seed + 1)
    height, width = config.image_size
    rates = generator.uniform(0.0, 2.0, (samples, 1, config.in_channels, 8, 8)) ** 2
    rates = rates.repeat(-(-height // 8), axis=-2).repeat(-(-width // 8), axis=-1)[..., :height, :width]
    counts = generator.poisson(np.broadcast_to(rates, (samples, *config.frames_shape)))
    return torch.from_numpy(counts.astype(np.float32))
