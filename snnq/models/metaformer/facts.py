"""What is known of Meta-SpikeFormer and its kin beside their module.

Read in the code of BICLab/Spike-Driven-Transformer-V2, BICLab/Spike-Driven-Transformer-V3 (classification) and
bollossom/QSD-Transformer.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from snnq.base.strict_json import Json
from snnq.models.architecture import Architecture, lazily
from snnq.models.metaformer.graph import metaformer_graph
from snnq.models.metaformer.sizes import (
    LAYOUTS,
    QSD,
    V2,
    V2_PARTS,
    V3,
    V3_LARGE,
    VALUES,
    MetaFormerConfig,
    attention_scale,
)
from snnq.models.upstream import Keys, Settings, Shapes, StoredForm, Upstream, Variants
from snnq.network.products import Products

if TYPE_CHECKING:
    from torch import Tensor


def _products(sizes: MetaFormerConfig) -> tuple[Products, ...]:
    assert isinstance(sizes.heads, int)
    order, values = ("scores", VALUES) if sizes.layout == V3 else ("keys", 1)
    found = []
    for stage, blocks, width in ((3, sizes.blocks[0], sizes.width3), (4, sizes.blocks[1], sizes.dim)):
        per_head = (sizes.heads, sizes.tokens, width // sizes.heads)
        scale = attention_scale(sizes, width)
        more: Json = {"value_ratio": values, "substeps": sizes.substeps or 1}
        names = [f"block{stage}.{index}.attn" for index in range(blocks)]
        found += [Products(name, order, *per_head, sizes.steps, 1, scale, "end", **more) for name in names]
    return tuple(found)


def _variants(shapes: Shapes, settings: Settings) -> Variants:
    """Return that upstream's V2 is both, and folded where its user says nothing."""
    return Variants((V2, V2_PARTS), (V2,))


def _told(names: Iterable[str]) -> Json:
    return {"distilled": True} if "head_kd.weight" in set(names) else {}


def _told_of_large(names: Iterable[str]) -> Json:
    seen = set(names)
    return _told(seen) | ({"mixed": True} if "block3.0.rep_conv.conv1.0.weight" in seen else {})


def _converted(state: dict[str, Tensor], sizes: MetaFormerConfig) -> dict[str, Tensor]:
    from snnq.models.metaformer.stored import converted

    return converted(state, sizes)


def _said(sizes: MetaFormerConfig) -> tuple[str, ...]:
    """Return in sentences what was made of a file's tensors."""
    found = []
    if sizes.layout == QSD:
        found.append("a quantised model in float32: taken are the 4-bit weights that it computes with")
    if sizes.layout == V2:
        found.append(f"RepConv is folded to one convolution; --architecture {V2_PARTS} keeps its layers")
    if sizes.layout == V3_LARGE:
        found.append("RepConv is folded to one convolution")
    if sizes.substeps is not None:
        found.append(f"spikes are whole numbers from 0 to {sizes.substeps}; weights behind them are divided instead")
    if sizes.distilled:
        found.append("the head is the mean of both heads" + (", side by side" if sizes.layout == V3_LARGE else ""))
    return tuple(found)


# Our names and upstream's, who numbers a layer and the norm behind it; of sdt-v3 also in ``SepConv``.
RENAMED = (
    (r"(\.attn\.(?:q|k|v|proj))_bn\.", r"\1_conv.1."),
    (r"(\.attn\.(?:q|k|v|proj)_conv)\.(weight|body|conv\d)", r"\1.0.\2"),
)
_RENAMED_LARGE = (
    *RENAMED,
    (r"(ConvBlock\d_\d\.0)\.bn([12])\.", r"\1.conv\2.0.1."),
    (r"(ConvBlock\d_\d\.0)\.conv([12])\.(weight|bias)", r"\1.conv\2.0.0.\3"),
)
_RENAMED_V3 = (
    *RENAMED,
    (r"\.([Cc]onv)\.bn([12])\.", r".\1.pwconv\2.1."),
    (r"\.([Cc]onv)\.dwbn\.", r".\1.dwconv.1."),
    (r"\.([Cc]onv)\.(pwconv[12]|dwconv)\.weight", r".\1.\2.0.weight"),
)


def _keys(layout: str) -> Keys:
    large = layout == V3_LARGE
    last = "block3" if large else "block4"
    shown = {
        "in_channels": (("downsample1_1.encode_conv.weight", 1),),
        "width1": (("downsample1_2.encode_conv.weight", 0),),
        "width2": (("downsample2.encode_conv.weight", 0),),
        "width3": (("downsample3.encode_conv.weight", 0),),
        "dim": (("downsample3.encode_conv.weight" if large else "downsample4.encode_conv.weight", 0),),
        "hidden": ((f"{last}.*.mlp.fc1_conv.weight", 0), (f"{last}.*.mlp.fc1_conv.bias", 0)),
        "classes": (("head.weight", 0), ("head.bias", 0)),
    }
    # QSD's layers hold what would quantise their inputs, and never use it.
    unused = r".*\.act\.(alpha|zero_point|init_state|signed)" if layout == QSD else r"(?!)"
    both = layout == V2
    return Keys(
        layout,
        shown,
        {V3: _RENAMED_V3, V3_LARGE: _RENAMED_LARGE}.get(layout, RENAMED),
        unused=unused,
        block=r"block([34]\.\d+)\.",
        others=(V2_PARTS,) if both else (),
        variant=_variants if both else None,
    )


# Neurons without a potential: one image is one step. V3's larger models are published with D of 4 and of 8.
_ALWAYS = {V3: ("steps", "heads", "substeps"), V3_LARGE: ("steps", "heads"), QSD: ("steps", "heads", "substeps")}


def _row(layout: str) -> Architecture[MetaFormerConfig]:
    keys = () if layout == V2_PARTS else (_keys(layout),)
    told = {V2: _told, V2_PARTS: _told, V3_LARGE: _told_of_large}.get(layout, lambda names: {})
    stored = StoredForm(lazily("metaformer.stored", "stored_model"), _converted, _said)
    return Architecture(
        name=layout,
        layout=layout,
        config_of=MetaFormerConfig.from_dict,
        make=lazily("metaformer.module", "MetaFormer"),
        graph_of=metaformer_graph,
        products_of=_products,
        upstream=Upstream(keys, _ALWAYS.get(layout, ("heads",)), told=told, stored=stored),
    )


METAFORMERS = tuple(_row(layout) for layout in LAYOUTS)
