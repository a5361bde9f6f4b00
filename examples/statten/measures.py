"""What an arm's attention does and costs: firing rates, the whole numbers in Kᵀ V, multiply-accumulates."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from spikingjelly.activation_based import neuron
from torch import Tensor, nn

from snnq.data import Frames
from snnq.models.attention import split_heads
from snnq.models.sdt.sizes import SDTConfig
from snnq.network.layers import layer_table


@torch.no_grad()
def activity(model: nn.Module, config: SDTConfig, samples: Frames, count: int = 256) -> dict[str, float]:
    """Return rates and sums on the first ``count`` samples, the model in evaluation mode.

    ``attention_rate``: share of 1 behind the attention product, over all blocks; ``rate``: of all neurons;
    ``spikes``: all neurons' a sample; ``kv_max``: the largest entry of Kᵀ V.
    """
    with _watched(model) as seen:
        model.eval()(samples.__getitems__(range(min(count, len(samples))))[0])
    behind = [spikes for name, spikes in seen.items() if name.endswith("attn_lif")]
    fired, neurons = sum(float(spikes.sum()) for spikes in seen.values()), sum(map(Tensor.numel, seen.values()))
    return {
        "attention_rate": float(torch.cat([spikes.flatten() for spikes in behind]).mean()),
        "rate": fired / neurons,
        "spikes": fired / min(count, len(samples)),
        "kv_max": max(largest_product(seen, name, config) for name in seen if name.endswith("k_lif")),
    }


def largest_product(seen: dict[str, Tensor], name: str, config: SDTConfig) -> float:
    """Return the largest entry of Kᵀ V of one block, summed over the steps of a chunk."""
    k, v = (split_heads(seen[one], config.heads) for one in (name, name.replace("k_lif", "v_lif")))
    products = k.transpose(-2, -1) @ v  # (T, B, heads, d, d)
    return float(products.unflatten(0, (-1, config.chunk or 1)).sum(1).max())


@contextmanager
def _watched(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Yield every neuron's spikes (T, B, …) by name, once the model has run."""
    seen: dict[str, Tensor] = {}
    nodes = [(name, module) for name, module in model.named_modules() if isinstance(module, neuron.BaseNode)]
    hooks = [m.register_forward_hook(lambda m, i, spikes, name=name: seen.update({name: spikes})) for name, m in nodes]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def costs(model: nn.Module, config: SDTConfig) -> dict[str, Any]:
    """Return what the sizes alone say.

    ``parameters``; ``macs`` a sample, of layers and of attention: Kᵀ V and Q (Kᵀ V) are N·d² each for every head and
    step, whatever the chunk; ``kv_bits``: ⌈log2(chunk · N + 1)⌉; ``q_buffer_bits``: Q of the steps that wait, a block.
    """
    layers = layer_table(model, config.frames_shape)
    macs = sum(layer.macs * (1 if layer.group == "head" else config.steps) for layer in layers)
    chunk = config.chunk or 1
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "macs_layers": macs,
        "macs_attention": config.depth * config.steps * 2 * config.tokens * config.dim**2 // config.heads,
        "kv_bits": math.ceil(math.log2(chunk * config.tokens + 1)),
        "q_buffer_bits": chunk * config.tokens * config.dim,
    }
