"""What is known of each QKFormer and Max-Former beside its module.

Read in the code of zhouchenlin2096/QKFormer and bic-L/MaxFormer, and of SpikingJelly 2.0 in ``activation_based/model``.
"""

from __future__ import annotations

from snnq.base.errors import UsageError
from snnq.base.strict_json import Config, Json
from snnq.models.architecture import MEMBRANE, POOLED, Architecture, in_floating_point, lazily
from snnq.models.staged import names
from snnq.models.staged.names import staged_keys
from snnq.models.staged.sizes import HEAD_WIDTH, StagedConfig
from snnq.models.staged.sizes import QKFORMERS as QKFORMER_LAYOUTS
from snnq.models.upstream import Keys, SpikingJellyClass, Trained, Upstream, common_arguments
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


def _row(
    layout: str, *keys: Keys, always: tuple[str, ...] = (), trained: Trained = (), spikingjelly: bool = False
) -> Architecture[StagedConfig]:
    qkformer = layout in QKFORMER_LAYOUTS
    return Architecture(
        name=layout,
        layout=layout,
        config_of=StagedConfig.from_dict,
        make=lazily("staged.qkformer", "QKFormer") if qkformer else lazily("staged.maxformer", "MaxFormer"),
        wiring_of=in_floating_point(POOLED if qkformer else MEMBRANE),
        products_of=_products,
        upstream=Upstream(keys, always, trained=trained),
        spikingjelly=_CLASSES[qkformer] if spikingjelly else None,
    )


def _upstreams(
    layout: str, last: str, hidden: str, shallowest: int, *always: str, first: str = "proj_conv"
) -> Architecture[StagedConfig]:
    return _row(layout, staged_keys(layout, first, last, hidden, shallowest), always=("heads", *always))


def _spikingjellys(layout: str, renamed: names.Renamed, *others: str, first: str = "proj_conv") -> Keys:
    return staged_keys(layout, first, "stage3.attn", "fc1_conv", 3, *renamed, free=True, others=others)


_CHANNEL, _STRIDED = "qkformer-spikingjelly-channel", "embed1.embed_conv"
QKFORMERS = (
    _upstreams("qkformer-dvs", "stage2.ssa", "mlp1_conv", 2, "image_size"),
    _upstreams("qkformer-cifar10", "stage3.ssa", "mlp1_conv", 3),
    _upstreams("qkformer-imagenet", "stage3.attn", "fc1_conv", 4),
    _row(
        "qkformer-spikingjelly",
        _spikingjellys("qkformer-spikingjelly", names.QKFORMER, _CHANNEL),
        trained=_BY_STAGE,
        spikingjelly=True,
    ),
    _row(_CHANNEL, spikingjelly=True),
)
MAXFORMERS = (
    _upstreams("maxformer-event", "stage2.attn", "fc1_conv", 2, "image_size"),
    _row(
        "maxformer-cifar10",
        staged_keys("maxformer-cifar10", "proj_conv", "stage3.attn", "fc1_conv", 3),
        _spikingjellys("maxformer-cifar10", names.CIFAR_MAXFORMER),
        always=("heads",),
        spikingjelly=True,
    ),
    _upstreams("maxformer-imagenet", "stage3.attn", "fc1_conv", 4, first=_STRIDED),
    _row(
        "maxformer-spikingjelly",
        _spikingjellys("maxformer-spikingjelly", names.MAXFORMER, first=_STRIDED),
        always=("heads",),
        spikingjelly=True,
    ),
)
