"""Upstream's parameter names and ours, and recognising a layout by them.

Ours are upstream's without the suffix ``_conv`` or ``_linear`` inside the blocks. Upstream's position embedding and
layer norms are never used in its forward pass; ours have none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from snnq.models.config import LAYOUTS, published

Shapes = Mapping[str, tuple[int, ...]]

UNUSED = re.compile(r"pos_embed|norm\.(weight|bias)|block\.\d+\.norm[12]\.(weight|bias)")
_BLOCK_LAYER = re.compile(r"(block\.\d+\.(?:attn\.(?:q|k|v|proj)|mlp\.fc[12]))(\.(?:weight|bias))")
_SUFFIXES = {"cifar10dvs": "_conv", "cifar10": "_linear", "imagenet": "_conv"}


def upstream_name(ours: str, layout: str) -> str:
    """Return upstream's name of one of our parameters: block.0.attn.q.weight → block.0.attn.q_conv.weight."""
    return _BLOCK_LAYER.sub(rf"\1{_SUFFIXES[layout]}\2", ours)


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

    layout: str
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
    matches = [_match(layout, shapes) for layout in LAYOUTS]
    return max(matches, key=lambda match: match.fitting)


def _match(layout: str, shapes: Shapes) -> Match:
    depth = max(1, len({found[1] for name in shapes if (found := re.match(r"block\.(\d+)\.", name))}))
    smallest = published(layout, dim=8, heads=1, depth=depth).to_dict()
    ours = expected_shapes(smallest, f"spikformer-{layout}")
    names = {name: upstream_name(name, layout) for name in ours}
    theirs = set(names.values())
    return Match(
        layout=layout,
        depth=depth,
        names=names,
        missing=tuple(name for name in names.values() if name not in shapes),
        unexpected=tuple(name for name in shapes if name not in theirs and not UNUSED.fullmatch(name)),
        dropped=tuple(name for name in shapes if UNUSED.fullmatch(name)),
        misshapen=tuple(name for own, name in names.items() if name in shapes and len(shapes[name]) != len(ours[own])),
    )
