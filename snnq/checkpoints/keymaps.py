"""Upstream's parameter names and ours, what the shapes tell, and recognising a layout by its names.

Ours are upstream's; Spikformers and Spike-Driven Transformers drop the suffix ``_conv`` or ``_linear`` inside their
blocks, and SpikingJelly's Spikformer is named like the others. What upstream never uses in its forward pass, ours have
not: the position embedding and layer norms of Spikformers, those of Spikingformers, the convolution over heads of the
Spike-Driven Transformer and the leak of whichever attention neuron is idle.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from statistics import mode
from typing import Any

from snnq.checkpoints import spikingjelly_names
from snnq.checkpoints.variants import (
    Settings,
    Shapes,
    Variant,
    Variants,
    neuron_of,
    sdt_variants,
    spikingformer_variants,
)
from snnq.models.registry import architecture

# A size → where shapes show it: our name (``*`` stands for anything) and the axis. What most of them say counts.
Shown = Mapping[str, tuple[tuple[str, int], ...]]

_WIDE_ENOUGH = 64  # a width that every architecture can have; names do not depend on it


@dataclass(frozen=True)
class Keys:
    """Upstream's names in one layout.

    ``architecture`` is the one whose names these are, ``others`` those that share them, and ``variant`` tells them
    apart. ``renamed`` are (regular expression, replacement) from our names to upstream's, ``unused`` matches what
    upstream never uses, ``block`` the names that count the depth (its group is the index), which is at least
    ``shallowest``, ``shown`` where sizes are seen; ``free``: every stage has as many blocks as one likes. Where several
    of ours have one name upstream, its tensor holds them one after another (``checkpoints.fused``).
    """

    architecture: str
    shown: Shown
    renamed: tuple[tuple[str, str], ...] = ()
    unused: str = r"(?!)"
    block: str = r"block\.(\d+)\."
    shallowest: int = 1
    free: bool = False
    others: tuple[str, ...] = ()
    variant: Variant | None = None

    @property
    def architectures(self) -> tuple[str, ...]:
        """Every architecture that has these names."""
        return (self.architecture, *self.others)

    def variants(self, shapes: Shapes, settings: Settings) -> Variants:
        """Return which of its architectures a file of these names can be, by its tensors and its script's settings."""
        every = self.architectures
        return Variants(every, every) if self.variant is None else self.variant(shapes, settings)

    def upstream_name(self, ours: str) -> str:
        """Return upstream's name of one of our parameters: block.0.attn.q.weight → block.0.attn.q_conv.weight."""
        for pattern, replacement in self.renamed:
            ours = re.sub(pattern, replacement, ours)
        return ours

    def blocks(self, name: str, shapes: Shapes) -> dict[str, Any]:
        """Return the depth that a file's names count, and the blocks of the stages where they are not the usual."""
        counted = {block[1] for key in shapes if (block := re.match(self.block, key))}
        found: dict[str, Any] = {"depth": max(self.shallowest, len(counted))}
        if self.free:
            stages = Counter(index.partition(".")[0] for index in counted)
            early = tuple(max(1, stages[str(stage)]) for stage in (1, 2))
            usual: Any = architecture(name).config({})
            found |= {"early": early} if early != usual.blocks[:-1] else {}
            found["depth"] = max(found["depth"], sum(early) + 1)
        return found

    def sizes(self, shape: Shapes) -> dict[str, Any]:
        """Return what shapes (by our names) tell; where tensors disagree, what most of them say."""
        found = {size: mode(_seen(shape, places)) for size, places in self.shown.items()}
        hidden, dim = found.pop("hidden"), found["dim"]
        return found | {"mlp_ratio": hidden / dim if dim else 0.0}


def _seen(shape: Shapes, places: tuple[tuple[str, int], ...]) -> Iterator[int]:
    for pattern, axis in places:
        yield from (sizes[axis] for name, sizes in shape.items() if fnmatchcase(name, pattern))


def _suffix(suffix: str) -> tuple[tuple[str, str], ...]:
    return ((r"(block\.\d+\.(?:attn\.(?:q|k|v|proj)|mlp\.fc[12]))(\.(?:weight|bias))", rf"\1{suffix}\2"),)


_SPIKFORMERS_UNUSED = r"pos_embed|norm\.(weight|bias)|block\.\d+\.norm[12]\.(weight|bias)"
_SDTS_UNUSED = r"patch_embed\.rpe_lif\.w|block\.\d+\.attn\.(talking_heads\.weight|(attn|talking_heads)_lif\.w)"
_SHOWN: Shown = {
    "in_channels": (("patch_embed.proj_conv.weight", 1),),
    "dim": (("patch_embed.rpe_conv.weight", 0), ("head.weight", 1), ("block.*.attn.proj.weight", 0)),
    "hidden": (("block.*.mlp.fc1.weight", 0), ("block.*.mlp.fc1.bias", 0), ("block.*.mlp.fc2.weight", 1)),
    "classes": (("head.weight", 0),),
}


def _staged(
    architecture: str, first: str, last: str, hidden: str, shallowest: int, *renamed: tuple[str, str], **more: Any
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
    return Keys(architecture, shown, renamed, block=r"stage(\d+\.\d+)\.", shallowest=shallowest, **more)


def _spikingformer(architecture: str, first: str, *others: str, variant: Variant | None = None) -> Keys:
    """Return the names of a Spikingformer whose first convolution is ``first`` and last one ``patch_embed.…4_conv``."""
    shown: Shown = {
        "in_channels": ((f"patch_embed.{first}_conv.weight", 1),),
        "dim": (("patch_embed.*4_conv.weight", 0), ("head.weight", 1), ("block.*.attn.proj_conv.weight", 0)),
        "hidden": tuple((f"block.*.mlp.{part}", axis) for part, axis in _SPIKINGFORMERS_HIDDEN),
        "classes": (("head.weight", 0),),
    }
    unused = r"block\.\d+\.norm[12]\.(weight|bias)"
    return Keys(architecture, shown, unused=unused, others=others, variant=variant)


_SPIKINGFORMERS_HIDDEN = (("mlp1_conv.weight", 0), ("mlp1_conv.bias", 0), ("mlp2_conv.weight", 1))
_SDTS = ("sdt-dvs", "statten-static", "statten-dvs")
KEYS = (
    Keys("spikformer-cifar10dvs", _SHOWN, _suffix("_conv"), _SPIKFORMERS_UNUSED),
    Keys("spikformer-cifar10", _SHOWN, _suffix("_linear"), _SPIKFORMERS_UNUSED),
    Keys("spikformer-imagenet", _SHOWN, _suffix("_conv"), _SPIKFORMERS_UNUSED),
    Keys("spikformer-spikingjelly", _SHOWN, spikingjelly_names.SPIKFORMER, block=r"blocks\.(\d+)\."),
    Keys("sdt-static", _SHOWN, _suffix("_conv"), _SDTS_UNUSED, others=_SDTS, variant=sdt_variants),
    Keys("sdt-spikingjelly", _SHOWN, spikingjelly_names.SDT, block=r"blocks\.(\d+)\."),
    _staged("qkformer-dvs", "proj_conv", "stage2.ssa", "mlp1_conv", 2),
    _staged("qkformer-cifar10", "proj_conv", "stage3.ssa", "mlp1_conv", 3),
    _staged("qkformer-imagenet", "proj_conv", "stage3.attn", "fc1_conv", 4),
    _staged("maxformer-event", "proj_conv", "stage2.attn", "fc1_conv", 2),
    _staged("maxformer-cifar10", "proj_conv", "stage3.attn", "fc1_conv", 3),
    _staged("maxformer-imagenet", "embed1.embed_conv", "stage3.attn", "fc1_conv", 4),
    _staged(
        "qkformer-spikingjelly",
        *("proj_conv", "stage3.attn", "fc1_conv", 3, *spikingjelly_names.QKFORMER),
        free=True,
        others=("qkformer-spikingjelly-channel",),
    ),
    _staged(
        "maxformer-spikingjelly",
        *("embed1.embed_conv", "stage3.attn", "fc1_conv", 3, *spikingjelly_names.MAXFORMER),
        free=True,
    ),
    _staged(
        "maxformer-cifar10",
        *("proj_conv", "stage3.attn", "fc1_conv", 3, *spikingjelly_names.CIFAR_MAXFORMER),
        free=True,
    ),
    _spikingformer("spikingformer-dvs", "proj", "spikingformer-imagenet", variant=spikingformer_variants),
    _spikingformer("spikingformer-cifar10", "block0"),
)


def expected_shapes(config: Mapping[str, object], architecture: str) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor in the state dict of a model, by our names."""
    import torch

    from snnq.models.registry import build

    with torch.device("meta"):
        model = build(architecture, config)
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


@dataclass(frozen=True)
class Match:
    """How well a file's names fit an architecture: upstream's names by ours, and what is missing, foreign or unused."""

    keys: Keys
    architecture: str
    blocks: dict[str, Any]
    names: dict[str, str]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    dropped: tuple[str, ...]
    misshapen: tuple[str, ...]

    @property
    def depth(self) -> int:
        """Number of blocks."""
        return self.blocks["depth"]

    @property
    def due(self) -> tuple[str, ...]:
        """Upstream's names, each once."""
        return tuple(dict.fromkeys(self.names.values()))

    @property
    def fitting(self) -> int:
        """Number of tensors that have the name and the number of dimensions of this layout."""
        return len(self.due) - len(self.missing) - len(self.misshapen)

    @property
    def exact(self) -> bool:
        """True where every name and number of dimensions is as it must be."""
        return not (self.missing or self.unexpected or self.misshapen)

    def sizes(self, shapes: Shapes) -> dict[str, Any]:
        """Return the sizes that tensors' shapes (by their names in the file) tell."""
        return self.keys.sizes({ours: shapes[theirs] for ours, theirs in self.names.items()}) | self.blocks


def recognise(shapes: Shapes) -> Match:
    """Return the match with the layout that fits the names and numbers of dimensions best.

    ``Conv1d`` weights have 3 dimensions, ``Linear`` 2, ``Conv2d`` 4: some layouts differ in nothing else. Between
    equals, the one that leaves fewer names over.
    """
    matches = [match(keys, keys.architecture, shapes) for keys in KEYS]
    return max(matches, key=lambda one: (one.fitting, -len(one.missing) - len(one.unexpected)))


@cache
def _dimensions(name: str, **sizes: Any) -> dict[str, int]:
    """Return the number of dimensions of every tensor of an architecture, which its other sizes do not change."""
    smallest = architecture(name).config({"dim": _WIDE_ENOUGH, "heads": 1, **sizes}).to_dict()
    return {name: len(shape) for name, shape in expected_shapes(smallest, name).items()}


def match(keys: Keys, name: str, shapes: Shapes) -> Match:
    """Return how well a file's names fit those of the architecture ``name``, one of ``keys``."""
    blocks = keys.blocks(name, shapes)
    ours = _dimensions(name, **blocks, **neuron_of(name, shapes))
    names = {name: keys.upstream_name(name) for name in ours}
    dimensions = {names[name]: count for name, count in ours.items()}
    unused = re.compile(keys.unused)
    idle = [name for name in shapes if name not in dimensions and unused.fullmatch(name)]
    return Match(
        keys=keys,
        architecture=name,
        blocks=blocks,
        names=names,
        missing=tuple(name for name in dimensions if name not in shapes),
        unexpected=tuple(name for name in shapes if name not in dimensions and name not in idle),
        dropped=tuple(idle),
        misshapen=tuple(name for name, count in dimensions.items() if name in shapes and len(shapes[name]) != count),
    )
