"""The graphs of every QKFormer and Max-Former."""

from __future__ import annotations

from snnq.models.sdt.graph import membrane_mlp
from snnq.models.spikingformer.graph import self_attention
from snnq.models.staged.plans import FIRST, LATER, MIXERS, Convolutions
from snnq.models.staged.sizes import StagedConfig
from snnq.network.drawing import FRAMES, Drawing
from snnq.network.graph import Graph
from snnq.network.operations import ATTENTION_THRESHOLD


def qkformer_graph(config: StagedConfig) -> Graph:
    """Return the operations of ``QKFormer.forward``."""
    drawing, x = Drawing(config.frames_shape), FRAMES
    for stage, (width, blocks) in enumerate(zip(config.widths, config.blocks, strict=True)):
        plan = (LATER if stage else FIRST)[config.data]
        x = _spike_embedding(drawing, plan, x, f"patch_embed{stage + 1}", width)
        for index in range(blocks):
            x = _spike_block(drawing, config, x, stage, f"stage{stage + 1}.{index}")
    return drawing.finish(drawing.mean(x), "head", config.classes)


def _spike_embedding(drawing: Drawing, plan: Convolutions, x: str, path: str, width: int) -> str:
    """Add convolutions, pooled before their neurons, and the 1×1 shortcut that leaves between them."""
    seen = [x]
    for name, part, pooled in zip(plan.names, plan.parts, plan.pooled, strict=True):
        layer, norm, neuron = _names(f"{path}.{name}")
        current = drawing.layer(seen[-1], layer, norm, width // part, kernel=3)
        seen.append(drawing.neuron(drawing.pool(current) if pooled else current, neuron))
    shortcut = drawing.fire(seen[plan.branch], _names(f"{path}.proj_res"), width, stride=plan.stride)
    return drawing.add(seen[-1], shortcut, path)


def _spike_block(drawing: Drawing, config: StagedConfig, x: str, stage: int, block: str) -> str:
    imagenet, width, heads = config.data == "imagenet", config.widths[stage], config.stage_heads[stage]
    if stage < len(config.blocks) - 1:
        attention = f"{block}.tssa"
        found = _token_attention(drawing, config, x, attention, heads, width)
    else:
        attention = f"{block}.{'attn' if imagenet else 'ssa'}"
        found = drawing.neuron(self_attention(drawing, x, attention, heads, width), f"{attention}.proj_lif")
    x = drawing.add(x, found, attention)
    hidden, names = x, ("fc1", "fc2") if imagenet else ("mlp1", "mlp2")
    for name, outputs in zip(names, (config.hidden(width), width), strict=True):
        hidden = drawing.fire(hidden, _names(f"{block}.mlp.{name}"), outputs)
    return drawing.add(x, hidden, block)


def _token_attention(drawing: Drawing, config: StagedConfig, x: str, attention: str, heads: int, width: int) -> str:
    """Add Q-K attention: keys pass where LIF(Σ Q), over a head's features or over tokens, fires."""
    q, k = (drawing.fire(x, _names(f"{attention}.{name}"), width) for name in "qk")
    over = "tokens" if config.layout.endswith("-channel") else "features"
    gate = drawing.neuron(drawing.sum(q, over, heads), f"{attention}.attn_lif", ATTENTION_THRESHOLD)
    passed = drawing.multiply(gate, k, f"{attention}.mix")
    return drawing.fire(passed, _names(f"{attention}.proj"), width)


def maxformer_graph(config: StagedConfig) -> Graph:
    """Return the operations of ``MaxFormer.forward``."""
    drawing, x = Drawing(config.frames_shape), FRAMES
    for stage, (width, blocks) in enumerate(zip(config.widths, config.blocks, strict=True)):
        path = f"patch_embed{stage + 1}"
        x = _halving(drawing, x, path, width) if stage else _FIRST_EMBEDDING[config.data](drawing, x, path, width)
        for index in range(blocks):
            x = _membrane_block(drawing, config, x, stage, f"stage{stage + 1}.{index}")
    return drawing.finish(drawing.neuron(drawing.mean(x), "head_lif"), "head", config.classes)


def _embed(drawing: Drawing, x: str, path: str, outputs: int, kernel: int = 3, stride: int = 1) -> str:
    """Add an ``Embed`` behind its neuron, before its pooling."""
    return drawing.layer(x, f"{path}.embed_conv", f"{path}.embed_bn", outputs, kernel=kernel, stride=stride)


def _lif(drawing: Drawing, x: str, path: str) -> str:
    return drawing.neuron(x, f"{path}.embed_lif")


def _event(drawing: Drawing, x: str, path: str, width: int) -> str:
    x = spikes = drawing.layer(x, f"{path}.proj_conv", f"{path}.proj_bn", width // 8, kernel=3)
    for index, part in ((1, 4), (2, 2), (3, 1)):
        fired = _lif(drawing, x, f"{path}.max_embed{index}")
        spikes = fired if index == 2 else spikes
        x = drawing.pool(_embed(drawing, fired, f"{path}.max_embed{index}", width // part))
    return drawing.add(x, _embed(drawing, spikes, f"{path}.embed1", width, kernel=1, stride=4), path)


def _image(drawing: Drawing, x: str, path: str, width: int) -> str:
    x = drawing.layer(x, f"{path}.proj_conv", f"{path}.proj_bn", width // 2, kernel=3)
    first, second = (_lif(drawing, x, f"{path}.{name}") for name in ("embed1", "embed2"))
    found = _embed(drawing, first, f"{path}.embed1", width)
    return drawing.add(found, _embed(drawing, second, f"{path}.embed2", width, kernel=1), path)


def _strided(drawing: Drawing, x: str, path: str, width: int) -> str:
    x = _embed(drawing, x, f"{path}.embed1", width // 2, stride=2)
    spikes = _lif(drawing, x, f"{path}.embed2")
    x = _embed(drawing, spikes, f"{path}.embed2", width, stride=2)
    x = _embed(drawing, _lif(drawing, x, f"{path}.embed3"), f"{path}.embed3", width)
    return drawing.add(x, _embed(drawing, spikes, f"{path}.embed4", width, kernel=1, stride=2), path)


def _halving(drawing: Drawing, x: str, path: str, width: int) -> str:
    spikes = _lif(drawing, x, f"{path}.max_embed1")
    x = drawing.pool(_embed(drawing, spikes, f"{path}.max_embed1", width))
    x = _embed(drawing, _lif(drawing, x, f"{path}.embed1"), f"{path}.embed1", width)
    shortcut = drawing.pool(_embed(drawing, spikes, f"{path}.max_embed2", width, kernel=1))
    return drawing.add(x, shortcut, path)


_FIRST_EMBEDDING = {"event": _event, "cifar10": _image, "imagenet": _strided}


def _membrane_block(drawing: Drawing, config: StagedConfig, x: str, stage: int, block: str) -> str:
    width, early = config.widths[stage], MIXERS[config.data]
    if stage == len(early):
        attention = f"{block}.attn"
        seen = x if config.spikingjelly else drawing.neuron(x, f"{attention}.x_lif")
        found = self_attention(drawing, seen, attention, config.stage_heads[stage], width)
        found = drawing.neuron(found, f"{attention}.proj_lif") if config.spikingjelly else found
        x = drawing.add(found, x, attention, f"{block}.raised" if config.spikingjelly else None)
    elif (mixer := early[stage]) is not None:
        kernel, name = mixer
        path = f"{block}.mixer.{name}"
        spikes = drawing.neuron(x, f"{path}_neuron")
        found = drawing.layer(spikes, path, f"{path}_bn", width, kernel=kernel, depthwise=True)
        x = drawing.add(found, x, f"{block}.mixer")
    return membrane_mlp(drawing, x, block, (width, config.hidden(width)), "_conv")


def _names(name: str) -> tuple[str, str, str]:
    return f"{name}_conv", f"{name}_bn", f"{name}_lif"
