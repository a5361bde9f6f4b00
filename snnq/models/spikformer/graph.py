"""The graph of every Spikformer."""

from __future__ import annotations

from typing import Literal

from snnq.models.spikformer.sizes import SpikformerConfig
from snnq.network.drawing import FRAMES, Drawing
from snnq.network.graph import Graph
from snnq.network.operations import ATTENTION_THRESHOLD

ORDERS: dict[str, tuple[Literal["scores", "keys"], Literal["operand", "end"]]] = {
    "cifar10dvs": ("scores", "end"),
    "cifar10": ("scores", "operand"),
    "imagenet": ("keys", "end"),
    "spikingjelly": ("keys", "end"),
}


def spikformer_graph(config: SpikformerConfig) -> Graph:
    """Return the operations of ``Spikformer.forward``."""
    drawing = Drawing(config.frames_shape)
    x, dim = FRAMES, config.dim
    for index, (part, pooled) in enumerate(zip((8, 4, 2, 1), config.pooling, strict=True)):
        layer, norm, neuron = (f"patch_embed.proj_{what}{index or ''}" for what in ("conv", "bn", "lif"))
        x = drawing.layer(x, layer, norm, dim // part, kernel=3)
        if config.layout == "spikingjelly":
            x = drawing.neuron(drawing.pool(x) if pooled else x, neuron)
        else:
            x = drawing.neuron(x, neuron)
            x = drawing.pool(x) if pooled else x
    names = ("patch_embed.rpe_conv", "patch_embed.rpe_bn", "patch_embed.rpe_lif")
    x = drawing.add(x, drawing.fire(x, names, dim, kernel=3), "patch_embed")
    for index in range(config.depth):
        x = _block(drawing, config, x, f"block.{index}")
    return drawing.finish(drawing.mean(x), "head", config.classes)


def _block(drawing: Drawing, config: SpikformerConfig, x: str, block: str) -> str:
    attention, mlp, dim = f"{block}.attn", f"{block}.mlp", config.dim
    spikes = [drawing.fire(x, _names(f"{attention}.{name}"), dim) for name in "qkv"]
    order, scaled = ORDERS[config.layout] if config.chunk is None else ("keys", "operand")
    mixed = drawing.attention(attention, spikes, config.heads, config.attention_scale, order, scaled, config.chunk or 1)
    mixed = drawing.neuron(mixed, f"{attention}.attn_lif", ATTENTION_THRESHOLD)
    x = drawing.add(x, drawing.fire(mixed, _names(f"{attention}.proj"), dim), attention)
    hidden = drawing.fire(x, _names(f"{mlp}.fc1"), config.hidden)
    return drawing.add(x, drawing.fire(hidden, _names(f"{mlp}.fc2"), dim), block)


def _names(layer: str) -> tuple[str, str, str]:
    return layer, f"{layer}_bn", f"{layer}_lif"
