"""The graph of a Meta-SpikeFormer and its kin."""

from __future__ import annotations

from snnq.models.metaformer.sizes import V2, V3, V3_LARGE, VALUES, MetaFormerConfig, attention_scale, rounding
from snnq.network.drawing import FRAMES, Drawing
from snnq.network.graph import Graph
from snnq.network.operations import ATTENTION_THRESHOLD


def metaformer_graph(config: MetaFormerConfig) -> Graph:
    """Return the operations of ``MetaFormer.forward``."""
    large = config.layout == V3_LARGE
    drawing = Drawing(config.frames_shape, rounds=rounding(config))
    width1, width2, width3, dim = config.width1, config.width2, config.width3, config.dim
    x = FRAMES
    for stage, width, stride in (("1_1", width1 // 2, 2), ("1_2", width1, 2), ("2", width2, 2)):
        x = _downsampling(drawing, x, stage, width, stride)
        blocks = ("ConvBlock2_1", "ConvBlock2_2") if stage == "2" else (f"ConvBlock{stage}",)
        for block in blocks:
            x = _conv_block(drawing, config, x, f"{block}.0", width)
    last = (("3", width3, 2, config.blocks[0]), ("4", dim, 1, config.blocks[1]))
    for stage, width, stride, blocks in last[:1] if large else last:
        x = _downsampling(drawing, x, stage, width, stride)
        for index in range(blocks):
            x = _block(drawing, config, x, f"block{stage}.{index}", width)
    x = drawing.mean(x)
    if large and not config.distilled:
        return drawing.finish(x, "head", config.classes)
    spikes = drawing.neuron(x, "lif")
    return drawing.finish(drawing.concat(x, spikes, "both heads") if large else spikes, "head", config.classes)


def _downsampling(drawing: Drawing, x: str, stage: str, width: int, stride: int) -> str:
    name, first = f"downsample{stage}", stage == "1_1"
    x = x if first else drawing.neuron(x, f"{name}.encode_lif")
    kernel = 7 if first else 3
    return drawing.layer(x, f"{name}.encode_conv", f"{name}.encode_bn", width, kernel=kernel, stride=stride)


def _sep_conv(drawing: Drawing, config: MetaFormerConfig, x: str, name: str, width: int, kernel: int = 7) -> str:
    """Add a ``SepConv``; return what is added to the potentials x."""
    middle = 2 * width
    x = drawing.layer(drawing.neuron(x, f"{name}.lif1"), f"{name}.pwconv1", f"{name}.bn1", middle)
    x = drawing.neuron(x, f"{name}.lif2")
    norm = f"{name}.dwbn" if config.layout == V3 else None
    x = drawing.layer(x, f"{name}.dwconv", norm, middle, kernel=kernel, depthwise=True)
    x = drawing.neuron(x, f"{name}.lif3") if config.layout == V3 else x
    return drawing.layer(x, f"{name}.pwconv2", f"{name}.bn2", width)


def _conv_block(drawing: Drawing, config: MetaFormerConfig, x: str, name: str, width: int) -> str:
    if config.layout != V3_LARGE:
        x = drawing.add(_sep_conv(drawing, config, x, f"{name}.Conv", width), x, f"{name}.Conv")
    hidden = config.hidden(width)
    y = drawing.layer(drawing.neuron(x, f"{name}.lif1"), f"{name}.conv1", f"{name}.bn1", hidden, kernel=3)
    y = drawing.layer(drawing.neuron(y, f"{name}.lif2"), f"{name}.conv2", f"{name}.bn2", width, kernel=3)
    return drawing.add(x, y, name)


def _block(drawing: Drawing, config: MetaFormerConfig, x: str, name: str, width: int) -> str:
    if config.layout == V3:
        conv = f"{name}.conv"
        x = drawing.add(x, _sep_conv(drawing, config, x, conv, width, kernel=3), conv)
    if config.mixed:
        y = drawing.layer(drawing.neuron(x, f"{name}.lif"), f"{name}.rep_conv", None, width)
        x = drawing.add(x, y, f"{name}, mixed")
    x = drawing.add(x, _attention(drawing, config, x, f"{name}.attn", width), f"{name}.attn")
    y = x
    for layer, outputs in (("fc1", config.hidden(width)), ("fc2", width)):
        part = f"{name}.mlp.{layer}"
        y = drawing.layer(drawing.neuron(y, f"{part}_lif"), f"{part}_conv", f"{part}_bn", outputs)
    return drawing.add(x, y, name)


def _attention(drawing: Drawing, config: MetaFormerConfig, x: str, name: str, width: int) -> str:
    """Add an ``Attention``; return what is added to the potentials x."""
    assert isinstance(config.heads, int)
    values = VALUES * width if config.layout == V3 else width
    spikes = drawing.neuron(x, f"{name}.head_lif")
    folded = config.layout in (V2, V3, V3_LARGE)
    given = spikes if folded else drawing.pad(spikes)
    parts = []
    for part, outputs in (("q", width), ("k", width), ("v", values)):
        found = _projection(drawing, config, given, f"{name}.{part}", width, outputs)
        parts.append(drawing.neuron(found, f"{name}.{part}_lif"))
    order = "scores" if config.layout == V3 else "keys"
    scale = attention_scale(config, width)
    mixed = drawing.attention(name, parts, config.heads, scale, order)
    mixed = drawing.neuron(mixed, f"{name}.attn_lif", ATTENTION_THRESHOLD)
    mixed = mixed if folded else drawing.pad(mixed)
    return _projection(drawing, config, mixed, f"{name}.proj", values, width)


def _projection(drawing: Drawing, config: MetaFormerConfig, x: str, name: str, taken: int, outputs: int) -> str:
    """Add a layer of the attention and its norm; of a ``RepConv`` its layers, over padded spikes."""
    layer, norm = f"{name}_conv", f"{name}_bn"
    if config.layout in (V2, V3, V3_LARGE):
        return drawing.layer(x, layer, norm, outputs, kernel=3 if config.layout == V2 else 1)
    x = drawing.layer(x, f"{layer}.body.0", f"{layer}.body.1.bn", taken)
    x = drawing.layer(x, f"{layer}.body.2.0", None, taken, kernel=3, depthwise=True, padded=False)
    return drawing.layer(x, f"{layer}.body.2.1", f"{layer}.body.2.2", outputs, outer=norm)
