"""The graph of a ReSpike model: the spiking ResNet, the one for key frames, and what each is given.

Not of those whose key frames reach the spiking ResNet by way of cross-attention.
"""

from __future__ import annotations

from snnq.models.respike.sizes import BOTTLENECK, RESNETS, TAU, ReSpikeSizes
from snnq.network.drawing import FRAMES, Drawing
from snnq.network.graph import Graph

_GIVEN = "given"  # the module that frames go through before they are cut


def respike_graph(sizes: ReSpikeSizes) -> Graph:
    """Return the operations of ``ReSpike.forward``."""
    drawing = Drawing(sizes.frames_shape, TAU, segment=sizes.key_stride)
    found = []
    if sizes.has_ann:
        still = drawing.mean(_resnet(drawing, drawing.key_frames(FRAMES, _GIVEN), sizes))
        found.append(drawing.hold(still, sizes.spiking_steps) if sizes.spiking_steps else still)
    if sizes.spiking_steps:
        given = drawing.residual(FRAMES, _GIVEN) if sizes.segmented else FRAMES
        found.append(drawing.mean(_spiking_resnet(drawing, given, sizes)))
    read = found[0] if len(found) == 1 else drawing.concat(found[0], found[1], "features")
    return drawing.finish(read, "head", sizes.classes)


def _resnet(drawing: Drawing, x: str, sizes: ReSpikeSizes) -> str:
    """Add a ``ResNet``."""
    x = drawing.layer(x, "ann.conv1", "ann.bn1", sizes.ann_width, kernel=7, stride=2)
    x = drawing.pool(drawing.rectify(x))
    before = sizes.ann_width
    for stage, count in enumerate(RESNETS[sizes.depth], start=1):
        for index in range(count):
            stride = 2 if stage > 1 and index == 0 else 1
            given = sizes.context(stage)
            resized = stride != 1 or before != given
            x = _residual_block(drawing, x, f"ann.layer{stage}.{index}", sizes, stage, stride, resized=resized)
            before = given
    return x


def _residual_block(
    drawing: Drawing, x: str, name: str, sizes: ReSpikeSizes, stage: int, stride: int, *, resized: bool
) -> str:
    """Add a ``ResidualBlock``."""
    given, width = sizes.context(stage), sizes.ann_width * 2 ** (stage - 1)
    wide = sizes.depth >= BOTTLENECK
    plan = ((width, 1, 1), (width, 3, stride), (given, 1, 1)) if wide else ((width, 3, stride), (width, 3, 1))
    y = x
    for number, (channels, kernel, step) in enumerate(plan, start=1):
        y = drawing.rectify(y) if number > 1 else y
        y = drawing.layer(y, f"{name}.conv{number}", f"{name}.bn{number}", channels, kernel=kernel, stride=step)
    if resized:
        x = drawing.layer(x, f"{name}.downsample_conv", f"{name}.downsample_bn", given, stride=stride)
    return drawing.rectify(drawing.add(y, x, name))


def _spiking_resnet(drawing: Drawing, x: str, sizes: ReSpikeSizes) -> str:
    """Add a ``SpikingResNet``."""
    x = drawing.layer(x, "snn.conv1", "snn.bn1", sizes.width(1), kernel=3, stride=2)
    before = sizes.width(1)
    for stage in range(1, 5):
        for index in range(sizes.blocks):
            name, width, stride = f"snn.layer{stage}.{index}", sizes.width(stage), 1 if index else 2
            x = _spiking_block(drawing, x, name, width, stride, resized=stride > 1 or width != before)
            before = width
    return x


def _spiking_block(drawing: Drawing, x: str, name: str, width: int, stride: int, *, resized: bool) -> str:
    """Add a ``SpikingBlock``."""
    y = drawing.neuron(x, f"{name}.lif1")
    y = drawing.layer(y, f"{name}.conv1", f"{name}.bn1", width, kernel=3, stride=stride)
    y = drawing.neuron(y, f"{name}.lif2")
    y = drawing.layer(y, f"{name}.conv2", f"{name}.bn2", width, kernel=3)
    if resized:
        x = drawing.mean_pool(x, f"{name}.shortcut_pool")
        x = drawing.layer(x, f"{name}.shortcut_conv", f"{name}.shortcut_bn", width)
    return drawing.add(y, x, name)
