"""The graph of every Spikingformer."""

from __future__ import annotations

from snnq.models.spikingformer.sizes import SpikingformerConfig
from snnq.network.drawing import FRAMES, Drawing
from snnq.network.graph import Graph
from snnq.network.operations import ATTENTION_THRESHOLD

SCALE = 0.125  # whatever the width of a head


def spikingformer_graph(config: SpikingformerConfig) -> Graph:
    """Return the operations of ``Spikingformer.forward``."""
    drawing, dim = Drawing(config.frames_shape, config.tau), config.dim
    first = "block0" if config.layout == "spikingformer-cifar10" else "proj"
    stages = [f"patch_embed.{name}" for name in (first, *(f"{first.rstrip('0')}{index}" for index in range(1, 5)))]
    x = drawing.layer(FRAMES, f"{stages[0]}_conv", f"{stages[0]}_bn", dim // 8, kernel=3)
    for stage, part, pooled in zip(stages[1:], (4, 2, 1, 1), config.pooling, strict=True):
        x = drawing.neuron(x, f"{stage}_lif")
        x = drawing.layer(drawing.pool(x) if pooled else x, f"{stage}_conv", f"{stage}_bn", dim // part, kernel=3)
    for index in range(config.depth):
        block = f"block.{index}"
        order = "keys" if config.layout == "spikingformer-imagenet" else "scores"
        spikes = drawing.neuron(x, f"{block}.attn.proj_lif")
        x = drawing.add(x, self_attention(drawing, spikes, f"{block}.attn", config.heads, dim, order), f"{block}.attn")
        hidden = x
        for name, outputs in ((f"{block}.mlp.mlp1", config.hidden), (f"{block}.mlp.mlp2", dim)):
            hidden = drawing.layer(drawing.neuron(hidden, f"{name}_lif"), f"{name}_conv", f"{name}_bn", outputs)
        x = drawing.add(x, hidden, block)
    return drawing.finish(drawing.mean(x), "head", config.classes)


def self_attention(drawing: Drawing, x: str, attention: str, heads: int, dim: int, order: str = "keys") -> str:
    """Add the operations of ``models.attention.SelfAttention`` behind its first neuron, up to the last norm."""
    spikes = [drawing.fire(x, _names(f"{attention}.{name}"), dim) for name in "qkv"]
    kind = "scores" if order == "scores" else "keys"
    mixed = drawing.attention(attention, spikes, heads, SCALE, kind, "end")
    mixed = drawing.neuron(mixed, f"{attention}.attn_lif", ATTENTION_THRESHOLD)
    return drawing.layer(mixed, f"{attention}.proj_conv", f"{attention}.proj_bn", dim)


def _names(name: str) -> tuple[str, str, str]:
    return f"{name}_conv", f"{name}_bn", f"{name}_lif"
