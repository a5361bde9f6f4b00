"""The graph of every Spike-Driven Transformer and STAtten model."""

from __future__ import annotations

from snnq.models.sdt.sizes import SDTConfig
from snnq.network.drawing import FRAMES, Drawing
from snnq.network.graph import Graph
from snnq.network.operations import ATTENTION_THRESHOLD


def sdt_graph(config: SDTConfig) -> Graph:
    """Return the operations of ``SpikeDrivenTransformer.forward``."""
    early, late = (2.0 if config.neuron in kinds else None for kinds in (("lif", "plif-mlp"), ("lif",)))
    drawing = Drawing(config.frames_shape, early)
    x = _tokenizer(drawing, config)
    for index in range(config.depth):
        x = _attention(drawing, config, x, f"block.{index}.attn")
        drawing.tau = late
        x = membrane_mlp(drawing, x, f"block.{index}", (config.dim, config.hidden))
        drawing.tau = early
    drawing.tau = late
    return drawing.finish(drawing.neuron(drawing.mean(x), "head_lif"), "head", config.classes)


def _tokenizer(drawing: Drawing, config: SDTConfig) -> str:
    """Add the tokenizer; its last potentials are pooled before their neuron."""
    x = potential = FRAMES
    for index, (part, pooled) in enumerate(zip((8, 4, 2, 1), config.pooling, strict=True)):
        layer, norm, neuron = (f"patch_embed.proj_{what}{index or ''}" for what in ("conv", "bn", "lif"))
        potential = drawing.layer(x, layer, norm, config.dim // part, kernel=3)
        if index == 3:
            potential = drawing.pool(potential) if pooled else potential
        x = drawing.neuron(potential, neuron)
        if index != 3:
            x = drawing.pool(x) if pooled else x
    positions = drawing.layer(x, "patch_embed.rpe_conv", "patch_embed.rpe_bn", config.dim, kernel=3)
    return drawing.add(positions, potential, "patch_embed")


def _attention(drawing: Drawing, config: SDTConfig, potential: str, attention: str) -> str:
    """Add an attention; return the potentials with what it adds to them."""
    x, chunked = drawing.neuron(potential, f"{attention}.shortcut_lif"), config.chunk is not None
    q, k, v = (_spikes(drawing, config, x, f"{attention}.{name}") for name in "qkv")
    if chunked:
        scale, chunk = config.attention_scale or 1.0, config.chunk or 1
        mixed = drawing.attention(attention, (q, k, v), config.heads, scale, "keys", "operand", chunk)
        mixed = drawing.neuron(mixed, f"{attention}.attn_lif", ATTENTION_THRESHOLD)
        if config.dvs:
            kept = drawing.pool(x, stride=1)
            passed = drawing.multiply(mixed, kept, f"{attention}.passed")
            mixed = drawing.add(passed, kept, f"{attention}.kept")
    else:
        mixed = _summed(drawing, config, (q, k, v), attention)
    found = drawing.layer(mixed, f"{attention}.proj", f"{attention}.proj_bn", config.dim)
    return drawing.add(potential, found, attention)


def _summed(drawing: Drawing, config: SDTConfig, spikes: tuple[str, str, str], attention: str) -> str:
    """Add Q ⊙ LIF(Σ over tokens of K ⊙ V), both products pooled in the variant for event data."""
    q, k, v = spikes
    shared = drawing.multiply(k, v, f"{attention}.shared")
    shared = drawing.pool(shared, 1, config.heads) if config.dvs else shared
    gate = drawing.neuron(drawing.sum(shared, "tokens"), f"{attention}.talking_heads_lif", ATTENTION_THRESHOLD)
    mixed = drawing.multiply(gate, q, f"{attention}.mix")
    return drawing.pool(mixed, 1, config.heads) if config.dvs else mixed


def _spikes(drawing: Drawing, config: SDTConfig, x: str, layer: str) -> str:
    """Add the spikes of q, k or v."""
    found = drawing.fire(x, (layer, f"{layer}_bn", f"{layer}_lif"), config.dim)
    pooled = config.dvs and (not layer.endswith(".q") or config.chunk is not None)
    return drawing.pool(found, stride=1) if pooled else found


def membrane_mlp(drawing: Drawing, potential: str, block: str, widths: tuple[int, int], suffix: str = "") -> str:
    """Add the operations of a ``MembraneMlp`` of (width, hidden) to the potentials; return them after it."""
    mlp, (width, hidden) = f"{block}.mlp", widths
    x = _neuron_first(drawing, potential, f"{mlp}.fc1", hidden, suffix)
    if width == hidden:
        x = potential = drawing.add(potential, x, f"{mlp}.inner")
    return drawing.add(_neuron_first(drawing, x, f"{mlp}.fc2", width, suffix), potential, block)


def _neuron_first(drawing: Drawing, x: str, name: str, outputs: int, suffix: str) -> str:
    return drawing.layer(drawing.neuron(x, f"{name}_lif"), f"{name}{suffix}", f"{name}_bn", outputs)
