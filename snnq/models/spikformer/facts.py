"""What is known of each Spikformer beside its module.

Read in the code of ZK-Zhou/spikformer, and of SpikingJelly 2.0 in ``activation_based/model/spikformer.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from snnq.base.errors import UsageError
from snnq.base.strict_json import Config, Json
from snnq.models.architecture import Architecture, Grafted, block_products, lazily
from snnq.models.sizes import power_of_two
from snnq.models.spikformer.graph import ORDERS, spikformer_graph
from snnq.models.spikformer.sizes import SpikformerConfig
from snnq.models.upstream import BLOCKS_SHOWN, Keys, SpikingJellyClass, Upstream, common_arguments, with_suffix
from snnq.network.products import Products

_ALL, _LAST_TWO = (True, True, True, True), (False, False, True, True)


def _products(config: SpikformerConfig) -> tuple[Products, ...]:
    order, scaled = ORDERS[config.layout] if config.chunk is None else ("keys", "operand")
    return block_products(config, order, scaled, config.attention_scale, config.chunk)


def _graft(config: Config, chunk: int, scale: float | None) -> Grafted:
    """Return the same Spikformer with ``chunk``; its scale is its own divided by the chunk, as a power of two."""
    usual = power_of_two(config["attention_scale"] / max(chunk, 1)) if scale is None else scale
    return Grafted(f"spikformer-{config['layout']}", {**config, "attention_scale": usual, "chunk": chunk})


# What upstream never uses in its forward pass: the position embedding and layer norms.
_UNUSED = r"pos_embed|norm\.(weight|bias)|block\.\d+\.norm[12]\.(weight|bias)"
# SpikingJelly's: sequences, whose parts have numbers for names, and q, k and v in one layer.
_SPIKINGJELLY = (
    (r"^patch_embed\.proj_(conv|bn)\.", r"patch_embed.proj_\g<1>0."),
    (r"^patch_embed\.proj_(conv|bn)(\d)\.", r"patch_embed.stages.\2.\1."),
    (r"^patch_embed\.rpe_(conv|bn)\.", r"patch_embed.positional_encoding.\1."),
    (r"^(patch_embed\..*)\.conv\.", r"\1.conv_bn.block.0."),
    (r"^(patch_embed\..*)\.bn\.", r"\1.conv_bn.block.1."),
    (r"^block\.", "blocks."),
    (r"\.attn\.[qkv](_bn)?\.", r".attn.qkv\1."),
    (r"\.(qkv|proj)_bn\.", r".\1_conv_bn.1."),
    (r"\.(qkv|proj)\.", r".\1_conv_bn.0."),
    (r"\.(fc[12])_bn\.", r".\1.1."),
    (r"\.(fc[12])\.(weight)", r".\1.0.\2"),
)
_IMAGENET = {(512, 8): {"heads": 8, "image_size": (224, 224)}}
_SPIKINGJELLYS_OWN = {
    (256, 4): {"heads": 8, "pooling": _ALL},
    (384, 4): {"heads": 12, "pooling": _LAST_TWO, "image_size": (32, 32)},
    (384, 6): {"heads": 12, "pooling": _ALL},
}
_SCALE, _PATCHES = 0.125, {_LAST_TWO: 4, _ALL: 16}


def _arguments(sizes: SpikformerConfig) -> Json:
    """Return what SpikingJelly's Spikformer is built with, in the order of its arguments."""
    for name, due in (("chunk", (None,)), ("attention_scale", (_SCALE,)), ("pooling", tuple(_PATCHES))):
        if getattr(sizes, name) not in due:
            found = sizes.to_dict()[name]
            raise UsageError(f"its {name} is {found}, and SpikingJelly's Spikformer has no such model")
    height, width = sizes.image_size
    images = {"img_size_h": height, "img_size_w": width, "patch_size": _PATCHES[sizes.pooling]}
    common = common_arguments(sizes, sizes.hidden)
    first = {name: common[name] for name in ("T", "in_channels")}
    return first | images | common | {"num_heads": sizes.heads, "depths": sizes.depth}


def _row(
    keys: Keys,
    *always: str,
    beside: Mapping[tuple[int, int], Config] = MappingProxyType({}),
    spikingjelly: SpikingJellyClass[SpikformerConfig] | None = None,
) -> Architecture[SpikformerConfig]:
    return Architecture(
        name=keys.architecture,
        layout=keys.architecture.removeprefix("spikformer-"),
        config_of=SpikformerConfig.from_dict,
        make=lazily("spikformer.module", "Spikformer"),
        graph_of=spikformer_graph,
        products_of=_products,
        graft=_graft,
        upstream=Upstream((keys,), (*always, "attention_scale"), beside),
        spikingjelly=spikingjelly,
    )


def _upstreams(layout: str, suffix: str) -> Keys:
    return Keys(f"spikformer-{layout}", BLOCKS_SHOWN, with_suffix(suffix), _UNUSED)


SPIKFORMERS = (
    _row(_upstreams("cifar10dvs", "_conv"), "pooling", beside={(256, 2): {"heads": 16}}),
    _row(_upstreams("cifar10", "_linear"), "pooling"),
    _row(_upstreams("imagenet", "_conv"), "pooling", "steps", beside=_IMAGENET),
    _row(
        Keys("spikformer-spikingjelly", BLOCKS_SHOWN, _SPIKINGJELLY, block=r"blocks\.(\d+)\."),
        beside=_SPIKINGJELLYS_OWN,
        spikingjelly=SpikingJellyClass("spikformer", "Spikformer", _arguments, every_step=True),
    ),
)
