"""What is known of each Spike-Driven Transformer and STAtten model beside its module.

Read in the code of BICLab/Spike-Driven-Transformer and Intelligent-Computing-Lab-Yale/STAtten, and of SpikingJelly 2.0
in ``activation_based/model/spike_driven_transformer.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from snnq.base.strict_json import Config, Json
from snnq.models.architecture import Architecture, Grafted, block_products, lazily
from snnq.models.sdt.graph import sdt_graph
from snnq.models.sdt.sizes import LAYOUTS, SDTConfig
from snnq.models.sizes import power_of_two
from snnq.models.upstream import (
    BLOCKS_SHOWN,
    Keys,
    Settings,
    Shapes,
    SpikingJellyClass,
    Trained,
    Upstream,
    Variants,
    common_arguments,
    first_channels,
    with_suffix,
)
from snnq.network.products import Products


def _products(config: SDTConfig) -> tuple[Products, ...]:
    order, scaled = ("sums", None) if config.chunk is None else ("keys", "operand")
    return block_products(config, order, scaled, config.attention_scale, config.chunk)


def _graft(config: Config, chunk: int, scale: float | None) -> Grafted:
    """Return the STAtten model of the same kind; its scale c is upstream's, as a power of two."""
    layout = f"statten-{config['layout'].partition('-')[2]}"
    plain = {key: value for key, value in config.items() if key not in ("layout", "chunk", "attention_scale")}
    if scale is None:
        usual = SDTConfig.from_dict({**plain, "layout": layout, "chunk": chunk}).attention_scale
        scale = power_of_two(usual or 1.0)
    # The neuron behind the product has another name, and perhaps a leak of its own.
    renamed = None if config["layout"] == layout else ("talking_heads_lif", "attn_lif")
    return Grafted(layout, plain | {"chunk": chunk, "attention_scale": scale}, renamed)


def leaks(names: Iterable[str]) -> dict[str, str]:
    """Return the setting ``neuron``, where a file's names are of leaks that are learned."""
    learned = [key for key in names if key.endswith("_lif.w")]
    late = all(".mlp." in key or key == "head_lif.w" for key in learned)
    return {"neuron": "plif-mlp" if late else "plif"} if learned else {}


def sdt_variants(shapes: Shapes, settings: Settings) -> Variants:
    """Return which Spike-Driven Transformers or STAttens a file can be; all share all names.

    STAtten's script records ``chunk_size``, the other one does not. Both choose the variant for events by the name of
    the data, and record it as ``dvs_mode``: that of the Spike-Driven Transformer trains DVS128 Gesture without it, so
    two channels tell nothing; three do, since all sets of images are trained without it. Learned leaks everywhere are
    those of the Spike-Driven Transformer, whose attention has two neurons, one of them idle; in STAtten's code only
    MLPs and head learn theirs.
    """
    attentions, usual = _attentions(shapes, settings)
    data = ("static", "dvs")
    if "dvs_mode" in settings:
        data = ("dvs",) if settings["dvs_mode"] else ("static",)
    possible = tuple(f"{one}-{kind}" for one in attentions for kind in data)
    if first_channels(shapes) == 3 and "static" in data:
        data = ("static",)
    return Variants(possible, tuple(f"{one}-{kind}" for one in usual for kind in data))


def _attentions(shapes: Shapes, settings: Settings) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the attentions that are possible and those that are usual."""
    neuron = leaks(shapes).get("neuron")
    if "chunk_size" in settings and settings.get("attention_mode") != "SDT":  # its script does not pass that on
        return ("statten",), ("statten",)
    if "chunk_size" not in settings and any(name in settings for name in ("pooling_stat", "spike_mode", "dvs_mode")):
        return ("sdt",), ("sdt",)
    both = ("sdt", "statten")
    if neuron == "plif":
        held = tuple(one for one in both if any(name.endswith(_NEURON[one]) for name in shapes)) or both
        return held, held[:1]
    return both, ("statten",) if neuron else both


_NEURON = {"sdt": ".talking_heads_lif.w", "statten": ".attn.attn_lif.w"}

# What upstream never uses in its forward pass: the convolution over heads, leaks of attention neurons that idle.
_UNUSED = r"patch_embed\.rpe_lif\.w|block\.\d+\.attn\.(talking_heads\.weight|(attn|talking_heads)_lif\.w)"
_KEYS = Keys(
    *("sdt-static", BLOCKS_SHOWN, with_suffix("_conv"), _UNUSED),
    others=("sdt-dvs", "statten-static", "statten-dvs"),
    variant=sdt_variants,
)
# SpikingJelly's: convolution and norm of a number.
_SPIKINGJELLY = (
    (r"^patch_embed\.proj_conv\.", "patch_embed.stages.0.0."),
    (r"^patch_embed\.proj_bn\.", "patch_embed.stages.0.1."),
    (r"^patch_embed\.proj_conv([12])\.", r"patch_embed.stages.\1.0."),
    (r"^patch_embed\.proj_bn([12])\.", r"patch_embed.stages.\1.1."),
    (r"^patch_embed\.proj_conv3\.", "patch_embed.final_stage.0."),
    (r"^patch_embed\.proj_bn3\.", "patch_embed.final_stage.1."),
    (r"^block\.", "blocks."),
    (r"\.attn\.(q|k|v|proj)\.", r".attn.\1_conv."),
    (r"\.mlp\.fc([12])_bn\.", r".mlp.bn\1."),
)
_ALL, _LAST_TWO = (True, True, True, True), (False, False, True, True)
_CIFAR: Config = {"steps": 4, "heads": 8, "image_size": (32, 32), "pooling": _LAST_TWO}
_IMAGENET: Config = {"steps": 4, "heads": 8, "image_size": (224, 224), "pooling": _ALL}
_GESTURE: Config = {"steps": 16, "heads": 8, "image_size": (128, 128), "pooling": (False, *_ALL[1:])}
_DVS: Config = {"heads": 8, "image_size": (64, 64), "pooling": _LAST_TWO}
_TRAINED: Mapping[str, Trained] = {
    "sdt-static": (("CIFAR", 3, _CIFAR), ("ImageNet", 3, _IMAGENET), ("DVS128 Gesture", 2, _GESTURE)),
    "sdt-dvs": (("CIFAR10-DVS", 2, {"steps": 10, **_DVS}),),
    "statten-static": (("CIFAR", 3, {**_CIFAR, "chunk": 2}), ("ImageNet", 3, {**_IMAGENET, "chunk": 2})),
    "statten-dvs": (("CIFAR10-DVS, N-Caltech101", 2, {"steps": 16, **_DVS, "chunk": 4}),),
}


def _upstream(layout: str) -> Upstream:
    if layout == "sdt-spikingjelly":
        keys = Keys(layout, BLOCKS_SHOWN, _SPIKINGJELLY, block=r"blocks\.(\d+)\.")
        return Upstream((keys,), beside={(384, 8): {"heads": 8, "pooling": _ALL}})
    always = ("attention_scale",) if layout.startswith("statten") else ()
    return Upstream((_KEYS,) if layout == _KEYS.architecture else (), always, trained=_TRAINED[layout], told=leaks)


def _arguments(sizes: SDTConfig) -> Json:
    """Return what SpikingJelly's class is built with."""
    pooling = "".join(str(int(pooled)) for pooled in sizes.pooling)
    more = {"num_heads": sizes.heads, "depths": sizes.depth, "pooling_stat": pooling}
    return common_arguments(sizes, sizes.hidden) | more


_CLASS = SpikingJellyClass("spike_driven_transformer", "SpikeDrivenTransformer", _arguments)
SDTS = tuple(
    Architecture(
        name=layout,
        layout=layout,
        config_of=SDTConfig.from_dict,
        make=lazily("sdt.module", "SpikeDrivenTransformer"),
        graph_of=sdt_graph,
        products_of=_products,
        # Once more grafted, a STAtten model gets another chunk.
        graft=None if layout == "sdt-spikingjelly" else _graft,
        upstream=_upstream(layout),
        spikingjelly=_CLASS if layout == "sdt-spikingjelly" else None,
    )
    for layout in LAYOUTS
)
