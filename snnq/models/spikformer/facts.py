"""What is known of each Spikformer beside its module.

Read in the code of ZK-Zhou/spikformer, and of SpikingJelly 2.0 in ``activation_based/model/spikformer.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from snnq.base.errors import UsageError
from snnq.base.strict_json import Config, Json
from snnq.models.architecture import POOLED, Architecture, Grafted, block_products, lazily
from snnq.models.sizes import power_of_two
from snnq.models.spikformer.sizes import SpikformerConfig
from snnq.models.upstream import BLOCKS_SHOWN, Keys, SpikingJellyClass, Upstream, common_arguments, with_suffix
from snnq.network.products import Order, Products
from snnq.network.wiring import COUNT_LIMIT, FRAMES, Add, Fire, Mix, Mixing, Operation, Pool, Stage, Wiring

_CHUNKED = "its attention mixes several time steps at once, and whole numbers run step by step"
_ALL, _LAST_TWO = (True, True, True, True), (False, False, True, True)


def spikformer_wiring(config: SpikformerConfig) -> Wiring:
    """Return the wiring of a Spikformer. Every residual addition raises the bound of what follows by one spike."""
    flow: list[Operation] = []
    for index, pooled in enumerate(config.pooling):
        suffix, bound = (index, 1) if index else ("", COUNT_LIMIT)
        layer, norm, neuron = (f"patch_embed.proj_{part}{suffix}" for part in ("conv", "bn", "lif"))
        flow.append(Fire((Stage(layer, norm, neuron, bound),), "x" if index else FRAMES, ("x",)))
        flow += [Pool("x")] if pooled else []
    flow += _residual(Fire((Stage("patch_embed.rpe_conv", "patch_embed.rpe_bn", "patch_embed.rpe_lif", 1),), "x"))
    for index in range(config.depth):
        attention, mlp, bound = f"block.{index}.attn", f"block.{index}.mlp", 2 + 2 * index
        mixing = Mixing(attention, f"{attention}.attn_lif", config.attention_scale, config.heads)
        flow.append(Fire(tuple(_stage(f"{attention}.{name}", bound) for name in "qkv"), "x", ("q", "k", "v")))
        flow.append(Mix(mixing, ("q", "k", "v"), "spikes"))
        flow += _residual(Fire((_stage(f"{attention}.proj", 1),), "spikes"))
        flow.append(Fire((_stage(f"{mlp}.fc1", bound + 1),), "x"))
        flow += _residual(Fire((_stage(f"{mlp}.fc2", 1),), "spikes"))
    return Wiring(tuple(flow), "x", "head", config.steps * config.tokens, 2 + 2 * config.depth, in_c=True)


def _stage(layer: str, bound: int) -> Stage:
    return Stage(layer, f"{layer}_bn", f"{layer}_lif", bound)


def _residual(last: Fire) -> list[Operation]:
    return [last, Add("x", "spikes")]


def _wiring(config: SpikformerConfig) -> Wiring | str:
    if config.layout == "spikingjelly":
        return POOLED
    return spikformer_wiring(config) if config.chunk is None else _CHUNKED


_ORDERS: dict[str, tuple[Order, Literal["operand", "end"]]] = {
    "cifar10dvs": ("scores", "end"),
    "cifar10": ("scores", "operand"),
    "imagenet": ("keys", "end"),
    "spikingjelly": ("keys", "end"),
}


def _products(config: SpikformerConfig) -> tuple[Products, ...]:
    order, scaled = _ORDERS[config.layout] if config.chunk is None else ("keys", "operand")
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
        wiring_of=_wiring,
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
