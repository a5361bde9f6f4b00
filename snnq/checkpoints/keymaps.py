"""Upstream's parameter names and ours, and recognising a layout by them.

Ours are upstream's without the suffix ``_conv`` or ``_linear`` inside the blocks. What upstream never uses in its
forward pass, ours have not: Spikformer's position embedding and layer norms, the convolution over heads of the
Spike-Driven Transformer and the leak of whichever attention neuron is idle.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from snnq.models.registry import architecture

Shapes = Mapping[str, tuple[int, ...]]

_SPIKFORMERS_UNUSED = r"pos_embed|norm\.(weight|bias)|block\.\d+\.norm[12]\.(weight|bias)"
_SDTS_UNUSED = r"patch_embed\.rpe_lif\.w|block\.\d+\.attn\.(talking_heads\.weight|attn_lif\.w)"
_BLOCK_LAYER = re.compile(r"(block\.\d+\.(?:attn\.(?:q|k|v|proj)|mlp\.fc[12]))(\.(?:weight|bias))")


@dataclass(frozen=True)
class Keys:
    """Upstream's names in one layout: the suffix of layers inside the blocks, and what is never used.

    ``architecture`` is the one whose names these are; others may share them (``upstream.variant``).
    """

    architecture: str
    suffix: str
    unused: str

    def upstream_name(self, ours: str) -> str:
        """Return upstream's name of one of our parameters: block.0.attn.q.weight → block.0.attn.q_conv.weight."""
        return _BLOCK_LAYER.sub(rf"\1{self.suffix}\2", ours)


KEYS = (
    Keys("spikformer-cifar10dvs", "_conv", _SPIKFORMERS_UNUSED),
    Keys("spikformer-cifar10", "_linear", _SPIKFORMERS_UNUSED),
    Keys("spikformer-imagenet", "_conv", _SPIKFORMERS_UNUSED),
    Keys("sdt-static", "_conv", _SDTS_UNUSED),
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
    """How well a file's names fit a layout: upstream's names by ours, and what is missing, foreign or unused."""

    architecture: str
    depth: int
    names: dict[str, str]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    dropped: tuple[str, ...]
    misshapen: tuple[str, ...]

    @property
    def fitting(self) -> int:
        """Number of tensors that have the name and the number of dimensions of this layout."""
        return len(self.names) - len(self.missing) - len(self.misshapen)

    @property
    def exact(self) -> bool:
        """True where every name and number of dimensions is as it must be."""
        return not (self.missing or self.unexpected or self.misshapen)


def recognise(shapes: Shapes) -> Match:
    """Return the match with the layout that fits the names and numbers of dimensions best.

    ``Conv1d`` weights have 3 dimensions, ``Linear`` 2, ``Conv2d`` 4: the layouts differ in nothing else.
    """
    matches = [_match(keys, shapes) for keys in KEYS]
    return max(matches, key=lambda match: match.fitting)


def neuron_of(name: str, shapes: Shapes) -> dict[str, str]:
    """Return the setting of an architecture whose neurons may learn their leak, where a file holds such leaks."""
    learned = name.startswith("sdt") and any(key.endswith("_lif.w") for key in shapes)
    return {"neuron": "plif"} if learned else {}


def _match(keys: Keys, shapes: Shapes) -> Match:
    depth = max(1, len({found[1] for name in shapes if (found := re.match(r"block\.(\d+)\.", name))}))
    sizes = {"dim": 8, "heads": 1, "depth": depth, **neuron_of(keys.architecture, shapes)}
    smallest = architecture(keys.architecture).config(sizes).to_dict()
    ours = expected_shapes(smallest, keys.architecture)
    names = {name: keys.upstream_name(name) for name in ours}
    theirs, unused = set(names.values()), re.compile(keys.unused)
    return Match(
        architecture=keys.architecture,
        depth=depth,
        names=names,
        missing=tuple(name for name in names.values() if name not in shapes),
        unexpected=tuple(name for name in shapes if name not in theirs and not unused.fullmatch(name)),
        dropped=tuple(name for name in shapes if unused.fullmatch(name)),
        misshapen=tuple(name for own, name in names.items() if name in shapes and len(shapes[name]) != len(ours[own])),
    )
