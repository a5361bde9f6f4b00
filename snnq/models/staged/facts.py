"""What is known of each QKFormer and Max-Former beside its module.

Read in the code of zhouchenlin2096/QKFormer and bic-L/MaxFormer, and of SpikingJelly 2.0 in ``activation_based/model``
and ``layer/attention.py``.
"""

from __future__ import annotations

from snnq.base.errors import UsageError
from snnq.base.strict_json import Config, Json
from snnq.models.architecture import Architecture, lazily
from snnq.models.staged.graph import maxformer_graph, qkformer_graph
from snnq.models.staged.sizes import HEAD_WIDTH, StagedConfig
from snnq.models.staged.sizes import QKFORMERS as QKFORMER_LAYOUTS
from snnq.models.upstream import Keys, Shown, SpikingJellyClass, Trained, Upstream, common_arguments
from snnq.network.products import Order, Products

_SCALE = 0.125  # upstream has it in the code


def _products(sizes: StagedConfig) -> tuple[Products, ...]:
    """Return the self-attentions of the last stage and, of a QKFormer, the token attentions of those before it."""
    last, found = len(sizes.blocks) - 1, []
    gates: Order = "channel-gates" if sizes.layout.endswith("-channel") else "gates"
    for stage, (blocks, width, tokens) in enumerate(zip(sizes.blocks, sizes.widths, sizes.stage_tokens, strict=True)):
        if stage == last:
            name = "ssa" if sizes.qkformer and sizes.data != "imagenet" else "attn"
            order, scale, scaled = "keys", _SCALE, "end"
        elif sizes.qkformer:
            name, order, scale, scaled = "tssa", gates, None, None
        else:
            continue
        heads = sizes.stage_heads[stage]
        per_head, names = (
            (heads, tokens, width // heads),
            [f"stage{stage + 1}.{index}.{name}" for index in range(blocks)],
        )
        found += [Products(one, order, *per_head, sizes.steps, scale=scale, scaled=scaled) for one in names]
    return tuple(found)


def _qkformer_arguments(sizes: StagedConfig) -> Json:
    kind = "channel" if sizes.layout.endswith("-channel") else "token"
    more = {"num_heads": sizes.stage_heads, "depths": sizes.blocks, "qka_type": kind}
    return common_arguments(sizes, sizes.hidden(sizes.dim)) | more


def _maxformer_arguments(sizes: StagedConfig) -> Json:
    cifar = sizes.data == "cifar10"
    due = 8 if cifar else max(1, sizes.dim // HEAD_WIDTH)
    if sizes.stage_heads[-1] != due:
        raise UsageError(f"its heads are {sizes.heads}, and SpikingJelly's MaxFormer of its width has {due}")
    more = {"depths": sizes.blocks} | ({"cifar": True} if cifar else {})
    return common_arguments(sizes, sizes.hidden(sizes.dim)) | more


_CLASSES = {
    True: SpikingJellyClass("qkformer", "QKFormer", _qkformer_arguments),
    False: SpikingJellyClass("maxformer", "MaxFormer", _maxformer_arguments),
}
_IMAGENET: Config = {"steps": 4, "image_size": (224, 224)}
_BY_STAGE = (
    ("qkformer_10_384", 3, {"heads": 6, **_IMAGENET}),
    ("QKFormer's defaults", 3, {"heads": (3, 6, 6), **_IMAGENET}),
)


# Ours to SpikingJelly's, in this order; shortcuts, attentions and MLPs are named alike.
_MLP = ((r"\.fc([12])_conv\.", r".fc\1."), (r"\.fc([12])_bn\.", r".bn\1."))
_ATTENTION = (
    (r"\.(?:tssa\.[qk])_(conv|bn)\.", r".attn.qk_\1."),
    (r"\.tssa\.proj_", ".attn.proj_"),
    (r"\.attn\.[qkv]_(conv|bn)\.", r".attn.qkv_\1."),
    (r"\.attn\.(qk|qkv|proj)_conv\.", r".attn.\1_conv_bn.0."),
    (r"\.attn\.(qk|qkv|proj)_bn\.", r".attn.\1_conv_bn.1."),
    *_MLP,
)
_QKFORMER = (
    (r"^(patch_embed\d)\.proj_res_conv\.", r"\1.shortcut.0."),
    (r"^(patch_embed\d)\.proj_res_bn\.", r"\1.shortcut.1."),
    *(
        (rf"^patch_embed{stages}\.{ours}_(conv|bn)\.", rf"patch_embed\1.\g<2>{number}.")
        for stages, ours, number in (
            *(("(1)", "proj", 1), ("(1)", "proj1", 2), ("(1)", "proj2", 3)),
            *(("([23])", "proj3", 1), ("([23])", "proj4", 2)),
        )
    ),
    *_ATTENTION,
)
_MIXERS = (
    *(
        (rf"^patch_embed([23])\.{ours}\.embed_(conv|bn)\.", rf"patch_embed\1.\g<2>{number}.")
        for ours, number in (("max_embed1", 1), ("embed1", 2))
    ),
    (r"^(patch_embed[23])\.max_embed2\.embed_conv\.", r"\1.shortcut.0."),
    (r"^(patch_embed[23])\.max_embed2\.embed_bn\.", r"\1.shortcut.1."),
    (r"\.mixer\.conv5?\.", ".dwconv."),
    (r"\.mixer\.conv5?_bn\.", ".bn."),
)
_MAXFORMER = (
    (r"^patch_embed1\.embed([123])\.embed_(conv|bn)\.", r"patch_embed1.\2\1."),
    (r"^patch_embed1\.embed4\.embed_conv\.", "patch_embed1.shortcut.0."),
    (r"^patch_embed1\.embed4\.embed_bn\.", "patch_embed1.shortcut.1."),
    *_MIXERS,
    *_ATTENTION,
)
_CIFAR_MAXFORMER = (
    (r"^patch_embed1\.proj_(conv|bn)\.", r"patch_embed1.\1."),
    *(
        (rf"^patch_embed1\.{ours}\.embed_{part}\.", f"patch_embed1.{theirs}.{number}.")
        for ours, theirs in (("embed1", "branch"), ("embed2", "shortcut"))
        for part, number in (("conv", 1), ("bn", 2))
    ),
    *_MIXERS,
    (r"\.attn\.[qkv]_conv\.", ".attn.qkv.0."),
    (r"\.attn\.[qkv]_bn\.", ".attn.qkv.1."),
    (r"\.attn\.proj_conv\.", ".attn.proj.0."),
    (r"\.attn\.proj_bn\.", ".attn.proj.1."),
    (r"^(stage1\.\d+)\.mlp\.", r"\1."),
    *_MLP,
)


def _keys(
    architecture: str,
    first: str,
    last: str,
    hidden: str,
    shallowest: int,
    *renamed: tuple[str, str],
    free: bool = False,
    others: tuple[str, ...] = (),
) -> Keys:
    """Return the names of a QKFormer or Max-Former.

    ``first`` is the first convolution, ``last`` the last stage's attention, ``hidden`` the first layer of an MLP.
    """
    stage = last.partition(".")[0]
    shown: Shown = {
        "in_channels": ((f"patch_embed1.{first}.weight", 1),),
        "dim": ((f"{last.replace('.', '.*.')}.proj_conv.weight", 0), ("head.weight", 1)),
        "hidden": ((f"{stage}.*.mlp.{hidden}.weight", 0), (f"{stage}.*.mlp.{hidden}.bias", 0)),
        "classes": (("head.weight", 0),),
    }
    block = r"stage(\d+\.\d+)\."
    return Keys(architecture, shown, renamed, block=block, shallowest=shallowest, free=free, others=others)


def _row(
    layout: str, *keys: Keys, always: tuple[str, ...] = (), trained: Trained = (), spikingjelly: bool = False
) -> Architecture[StagedConfig]:
    qkformer = layout in QKFORMER_LAYOUTS
    return Architecture(
        name=layout,
        layout=layout,
        config_of=StagedConfig.from_dict,
        make=lazily("staged.qkformer", "QKFormer") if qkformer else lazily("staged.maxformer", "MaxFormer"),
        graph_of=qkformer_graph if qkformer else maxformer_graph,
        products_of=_products,
        upstream=Upstream(keys, always, trained=trained),
        spikingjelly=_CLASSES[qkformer] if spikingjelly else None,
    )


def _upstreams(
    layout: str, last: str, hidden: str, shallowest: int, *always: str, first: str = "proj_conv"
) -> Architecture[StagedConfig]:
    return _row(layout, _keys(layout, first, last, hidden, shallowest), always=("heads", *always))


def _spikingjellys(layout: str, renamed: tuple[tuple[str, str], ...], *others: str, first: str = "proj_conv") -> Keys:
    return _keys(layout, first, "stage3.attn", "fc1_conv", 3, *renamed, free=True, others=others)


_CHANNEL, _STRIDED = "qkformer-spikingjelly-channel", "embed1.embed_conv"
QKFORMERS = (
    _upstreams("qkformer-dvs", "stage2.ssa", "mlp1_conv", 2, "image_size"),
    _upstreams("qkformer-cifar10", "stage3.ssa", "mlp1_conv", 3),
    _upstreams("qkformer-imagenet", "stage3.attn", "fc1_conv", 4),
    _row(
        "qkformer-spikingjelly",
        _spikingjellys("qkformer-spikingjelly", _QKFORMER, _CHANNEL),
        trained=_BY_STAGE,
        spikingjelly=True,
    ),
    _row(_CHANNEL, spikingjelly=True),
)
MAXFORMERS = (
    _upstreams("maxformer-event", "stage2.attn", "fc1_conv", 2, "image_size"),
    _row(
        "maxformer-cifar10",
        _keys("maxformer-cifar10", "proj_conv", "stage3.attn", "fc1_conv", 3),
        _spikingjellys("maxformer-cifar10", _CIFAR_MAXFORMER),
        always=("heads",),
        spikingjelly=True,
    ),
    _upstreams("maxformer-imagenet", "stage3.attn", "fc1_conv", 4, first=_STRIDED),
    _row(
        "maxformer-spikingjelly",
        _spikingjellys("maxformer-spikingjelly", _MAXFORMER, first=_STRIDED),
        always=("heads",),
        spikingjelly=True,
    ),
)
