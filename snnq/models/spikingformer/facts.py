"""What is known of each Spikingformer beside its module; read in the code of zhouchenlin2096/Spikingformer."""

from __future__ import annotations

from snnq.models.architecture import Architecture, block_products, lazily
from snnq.models.spikingformer.graph import spikingformer_graph
from snnq.models.spikingformer.sizes import LAYOUTS, SpikingformerConfig
from snnq.models.upstream import Keys, Settings, Shapes, Shown, Upstream, Variant, Variants, first_channels
from snnq.network.products import Products

_SCALE = 0.125  # whatever the width of a head


def _products(config: SpikingformerConfig) -> tuple[Products, ...]:
    return block_products(config, "keys" if config.layout == "spikingformer-imagenet" else "scores", "end", _SCALE)


def spikingformer_variants(shapes: Shapes, settings: Settings) -> Variants:
    """Return whether a file is the Spikingformer for events or for ImageNet, which share all names.

    Upstream writes out two channels for events and three for images; ``connect_f`` is a setting of the scripts for
    events alone.
    """
    both = ("spikingformer-dvs", "spikingformer-imagenet")
    if "connect_f" in settings:
        return Variants(both[:1], both[:1])
    return Variants(both, {2: both[:1], 3: both[1:]}.get(first_channels(shapes), both))


_HIDDEN = (("mlp1_conv.weight", 0), ("mlp1_conv.bias", 0), ("mlp2_conv.weight", 1))


def _keys(architecture: str, first: str, *others: str, variant: Variant | None = None) -> Keys:
    """Return the names of a Spikingformer whose first convolution is ``first`` and last one ``patch_embed.…4_conv``."""
    shown: Shown = {
        "in_channels": ((f"patch_embed.{first}_conv.weight", 1),),
        "dim": (("patch_embed.*4_conv.weight", 0), ("head.weight", 1), ("block.*.attn.proj_conv.weight", 0)),
        "hidden": tuple((f"block.*.mlp.{part}", axis) for part, axis in _HIDDEN),
        "classes": (("head.weight", 0),),
    }
    unused = r"block\.\d+\.norm[12]\.(weight|bias)"  # layer norms
    return Keys(architecture, shown, unused=unused, others=others, variant=variant)


_UPSTREAM = {
    "spikingformer-dvs": Upstream(
        (_keys("spikingformer-dvs", "proj", "spikingformer-imagenet", variant=spikingformer_variants),),
        ("pooling", "image_size"),
        {(256, 2): {"heads": 16}},
    ),
    "spikingformer-cifar10": Upstream((_keys("spikingformer-cifar10", "block0"),), ("pooling", "steps")),
    "spikingformer-imagenet": Upstream((), ("pooling", "steps")),
}
SPIKINGFORMERS = tuple(
    Architecture(
        name=layout,
        layout=layout,
        config_of=SpikingformerConfig.from_dict,
        make=lazily("spikingformer.module", "Spikingformer"),
        graph_of=spikingformer_graph,
        products_of=_products,
        upstream=_UPSTREAM[layout],
    )
    for layout in LAYOUTS
)
