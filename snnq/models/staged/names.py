"""Upstream's names of QKFormers and Max-Formers: where they show sizes, and from ours to SpikingJelly 2's.

SpikingJelly's: (regular expression, replacement), in this order; shortcuts, attentions and MLPs are named alike. Read
in ``spikingjelly/activation_based/model`` and ``layer/attention.py`` of version 2.0.0.
"""

from __future__ import annotations

from snnq.models.upstream import Keys, Shown

Renamed = tuple[tuple[str, str], ...]


def staged_keys(
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


_MLP = ((r"\.fc([12])_conv\.", r".fc\1."), (r"\.fc([12])_bn\.", r".bn\1."))
_ATTENTION = (
    (r"\.(?:tssa\.[qk])_(conv|bn)\.", r".attn.qk_\1."),
    (r"\.tssa\.proj_", ".attn.proj_"),
    (r"\.attn\.[qkv]_(conv|bn)\.", r".attn.qkv_\1."),
    (r"\.attn\.(qk|qkv|proj)_conv\.", r".attn.\1_conv_bn.0."),
    (r"\.attn\.(qk|qkv|proj)_bn\.", r".attn.\1_conv_bn.1."),
    *_MLP,
)
QKFORMER = (
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
MAXFORMER = (
    (r"^patch_embed1\.embed([123])\.embed_(conv|bn)\.", r"patch_embed1.\2\1."),
    (r"^patch_embed1\.embed4\.embed_conv\.", "patch_embed1.shortcut.0."),
    (r"^patch_embed1\.embed4\.embed_bn\.", "patch_embed1.shortcut.1."),
    *_MIXERS,
    *_ATTENTION,
)
CIFAR_MAXFORMER = (
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
