"""The graph of a ReSpike model without key frames: the spiking ResNet, and what it is given."""

from __future__ import annotations

from snnq.models.respike.sizes import TAU, ReSpikeSizes
from snnq.network.drawing import FRAMES, Drawing
from snnq.network.graph import Graph


def spiking_graph(sizes: ReSpikeSizes) -> Graph:
    """Return the operations of ``ReSpike.forward`` on residual frames, or on the frames themselves."""
    drawing = Drawing(sizes.frames_shape, TAU, segment=sizes.key_stride)
    given = drawing.residual(FRAMES, "given") if sizes.segmented else FRAMES
    x = drawing.layer(given, "snn.conv1", "snn.bn1", sizes.width(1), kernel=3, stride=2)
    before = sizes.width(1)
    for stage in range(1, 5):
        for index in range(sizes.blocks):
            name, width, stride = f"snn.layer{stage}.{index}", sizes.width(stage), 1 if index else 2
            x = _block(drawing, x, name, width, stride, resized=stride > 1 or width != before)
            before = width
    return drawing.finish(drawing.mean(x), "head", sizes.classes)


def _block(drawing: Drawing, x: str, name: str, width: int, stride: int, *, resized: bool) -> str:
    """Add a ``SpikingBlock``."""
    y = drawing.neuron(x, f"{name}.lif1")
    y = drawing.layer(y, f"{name}.conv1", f"{name}.bn1", width, kernel=3, stride=stride)
    y = drawing.neuron(y, f"{name}.lif2")
    y = drawing.layer(y, f"{name}.conv2", f"{name}.bn2", width, kernel=3)
    if resized:
        x = drawing.mean_pool(x, f"{name}.shortcut_pool")
        x = drawing.layer(x, f"{name}.shortcut_conv", f"{name}.shortcut_bn", width)
    return drawing.add(y, x, name)
