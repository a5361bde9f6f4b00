"""What is known of each ReSpike model beside its module, read in the code of GinnyXiao/ReSpike and of torchvision."""

from __future__ import annotations

import re
from collections.abc import Iterable

from snnq.base.strict_json import Config, Json
from snnq.models.architecture import Architecture, lazily
from snnq.models.respike.graph import respike_graph
from snnq.models.respike.sizes import BOTTLENECK, LAYOUTS, RESNETS, ReSpikeSizes
from snnq.models.upstream import Keys, Settings, Shapes, Shown, Upstream, Variants
from snnq.network.graph import Graph
from snnq.network.products import Products

_REASON = (
    "its key frames run in a ResNet (ann.*) of real numbers, and what joins its features to the potentials of the "
    "spiking ResNet (fusion.*) has a softmax"
)


def _graph(sizes: ReSpikeSizes) -> Graph | str:
    """Return the operations of a model without cross-attention, or why one with it runs in floating point."""
    return _REASON if sizes.fused else respike_graph(sizes)


def _products(sizes: ReSpikeSizes) -> tuple[Products, ...]:
    """Return the products of both attentions behind each stage, which run once a residual frame."""
    found = []
    for stage in sizes.fused:
        rows, columns = sizes.grid_of(stage)
        width = sizes.head_width(stage)
        per_head = (sizes.width(stage) // width, rows * columns, width)
        names = (f"fusion.{stage}.attn1", f"fusion.{stage}.attn2")
        found += [Products(name, "softmax", *per_head, sizes.runs, 1, width**-0.5, "operand") for name in names]
    return tuple(found)


# The frames of upstream's own models are those of torchvision's ResNets; numbers count what stands in a Sequential.
_RESNET = ((r"\.downsample_conv\.", ".downsample.0."), (r"\.downsample_bn\.", ".downsample.1."), (r"^head\.", "fc."))
_HYBRID = (
    (r"^ann\.conv1\.", "ann_layer0.0."),
    (r"^ann\.bn1\.", "ann_layer0.1."),
    (r"^ann\.layer", "ann_layer"),
    (r"^snn\.", "snn_backbone."),
    (r"^fusion\.(\d)\.", r"snn_backbone.fusion\1."),
    (r"\.shortcut_conv\.", ".shortcut.1."),
    (r"\.shortcut_bn\.", ".shortcut.2."),
    (r"(\.fusion\d)\.(attn\d|norm\d|ff_)", r"\1.transformer_blocks.0.\2"),
    (r"\.to_out\.", ".to_out.0."),
    (r"\.ff_in\.", ".ff.net.0.proj."),
    (r"\.ff_out\.", ".ff.net.2."),
    *_RESNET,
)
_BLOCK = re.compile(r"(?:ann_)?layer([1-4])\.(\d+)\.(\w+)\.")
_SHOWN: Shown = {"classes": (("head.weight", 0),), "in_channels": (("ann.conv1.weight", 1),)}


def _depth(names: Iterable[str]) -> Json:
    """Return how many layers a ResNet has by the blocks of its stages; 18 where they are those of none."""
    found = {one.groups() for name in names if (one := _BLOCK.match(name))}
    blocks = {(stage, index) for stage, index, _ in found}
    counts = tuple(sum(stage == number for stage, _ in blocks) for number in "1234")
    wide = any(layer == "conv3" for _, _, layer in found)
    fitting = (depth for depth, plan in RESNETS.items() if plan == counts and (depth >= BOTTLENECK) == wide)
    return {"depth": next(fitting, BOTTLENECK if wide else 18)}


def _blocks(names: Iterable[str]) -> Json:
    """Return how many blocks the stages of the spiking ResNet have, where they are not two."""
    found = {one[1] for name in names if (one := re.match(r"snn_backbone\.layer1\.(\d+)\.", name))}
    return {"blocks": len(found)} if found and len(found) != 2 else {}


def _variants(shapes: Shapes, settings: Settings) -> Variants:
    """Return that a file holds either model: --downsample has no weights, and upstream's scripts save nothing else."""
    both = ("respike-cross", "respike-pooled")
    return Variants(both, both)


_KEYS = {
    "respike-cross": Keys(
        "respike-cross",
        _SHOWN
        | {
            "dim": (("snn.layer4.*.conv1.weight", 0),),
            "hidden": (("fusion.4.ff_out.weight", 1),),
            "ann_width": (("ann.conv1.weight", 0),),
        },
        _HYBRID,
        unused=r"snn_backbone\.fusion1\..*",  # respike-cross has its weights, and upstream never runs it
        others=("respike-pooled",),
        variant=_variants,
        counted=_depth,
    ),
    "respike-key": Keys(
        "respike-key",
        _SHOWN | {"ann_width": (("ann.conv1.weight", 0),)},
        ((r"^ann\.", ""), *_RESNET),
        counted=_depth,
    ),
}
_IMAGENET: Config = {"steps": 16, "key_stride": 4, "image_size": (224, 224)}
_KINETICS: Config = {"steps": 16, "key_stride": 2, "image_size": (224, 224)}
_TRAINED = (("HMDB-51, UCF-101", 3, _IMAGENET), ("Kinetics-400", 3, _KINETICS))


def _row(layout: str) -> Architecture[ReSpikeSizes]:
    keys = (_KEYS[layout],) if layout in _KEYS else ()
    trained = _TRAINED if layout in ("respike-cross", "respike-pooled") else ()
    return Architecture(
        name=layout,
        layout=layout,
        config_of=ReSpikeSizes.from_dict,
        make=lazily("respike.module", "ReSpike"),
        graph_of=_graph,
        products_of=_products,
        upstream=Upstream(keys, ("heads",), trained=trained, told=_blocks),
    )


RESPIKES = tuple(_row(layout) for layout in LAYOUTS)
