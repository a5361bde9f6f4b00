"""Every architecture and variant in sizes that run in a moment."""

from __future__ import annotations

from typing import Any

import pytest

from snnq.models.metaformer.sizes import LAYOUTS
from snnq.models.registry import ARCHITECTURES
from snnq.models.respike.facts import RESPIKES

SMALL: dict[str, Any] = {"dim": 16, "heads": 2, "steps": 2, "classes": 4, "image_size": [32, 32], "in_channels": 2}
# Blocks of the architectures in stages: one each, two in the second stage of those for ImageNet.
SHALLOWEST = {"dvs": 2, "event": 2, "cifar10": 3, "imagenet": 4, "spikingjelly": 4}
# These have no graph, or no whole numbers but with quantised activations; `models/test_respike.py` is theirs.
_OTHERS = {one.name for one in RESPIKES} - {"respike-residual", "respike-dense"}
_BLOCKS = [f"layer{stage}.0" for stage in range(1, 5)]
_SIGNED = ["snn.conv1", *(f"snn.{block}.shortcut_conv" for block in _BLOCKS)]  # residual frames and potentials
_UNSIGNED = ["ann.conv1", *(f"ann.{block}.conv{number}" for block in _BLOCKS for number in (1, 2))]
_UNSIGNED += [f"ann.{block}.downsample_conv" for block in _BLOCKS[1:]]


def quantised(signed: list[str], unsigned: list[str], bits: int = 8) -> dict[str, Any]:
    """Return the structure of a model whose layers are given activations of so many bits."""
    layers = {name: {"bits": bits, "signed": name in signed} for name in (*signed, *unsigned)}
    return {"structure": [{"edit": "activations", "layers": layers}]}


VARIANTS: dict[str, dict[str, Any]] = {
    "spikformer-cifar10, chunked": {"chunk": 2},
    "spikformer-cifar10dvs, of an odd scale": {"attention_scale": 0.3},
    "sdt-static, as wide inside": {"mlp_ratio": 1.0},
    "sdt-dvs, leaks learned": {"neuron": "plif"},
    "statten-static, its own leaks learned": {"neuron": "plif-mlp"},
    "statten-dvs, all leaks learned": {"neuron": "plif"},
    "sdt-v3-large-imagenet, distilled": {"distilled": True},
    "respike-key, quantised": quantised([], [*_UNSIGNED, "head"]),
    "respike-key, in 4 bits": quantised(["head"], _UNSIGNED, 4),
    "respike-concat, quantised": quantised([*_SIGNED, "head"], _UNSIGNED),
    "respike-concat, its key frames' ResNet alone": quantised([], _UNSIGNED[1:]),
    "respike-residual, quantised": quantised([*_SIGNED, "head"], []),
}
WIDTHS = {"width1": 8, "width2": 8, "width3": 16}  # of the first three stages; ``dim`` is the last one's
# A side of 13 pixels, whose halves are odd and even ones; two segments of three frames.
RESPIKE = {"depth": 10, "blocks": 1, "ann_width": 4, "steps": 6, "key_stride": 3, "image_size": [26, 32]}
NAMES = [*(name for name in ARCHITECTURES if name not in _OTHERS), *VARIANTS]
# The same, the slow ones marked: poolings and embeddings of the same parts as their family's for event cameras have.
_ALIKE = {
    f"{family}-{layout}" for family in ("spikformer", "spikingformer", "qkformer") for layout in ("cifar10", "imagenet")
}
_ALIKE |= {
    "spikformer-spikingjelly",
    "sdt-spikingjelly",
    "qkformer-spikingjelly",
    "maxformer-cifar10",
    "maxformer-imagenet",
}
_ALIKE |= {"sdt-v2-imagenet-repconv", "sdt-v3-large-imagenet", "sdt-v3-large-imagenet, distilled"}
ONE_EACH = [pytest.param(name, marks=pytest.mark.slow if name in _ALIKE else ()) for name in NAMES]


def small(name: str) -> tuple[str, dict[str, Any]]:
    """Return the architecture that an entry of ``NAMES`` is of, and sizes of it."""
    more, name = VARIANTS.get(name, {}), name.partition(", ")[0]
    family, _, layout = name.partition("-")
    depth = SHALLOWEST[layout.partition("-")[0]] if family in ("qkformer", "maxformer") else 1
    if family == "respike":
        return name, SMALL | RESPIKE | ({"key_stride": None} if layout == "dense" else {}) | more
    others = {"chunk": 2} if family == "statten" else WIDTHS if name in LAYOUTS else {}
    return name, SMALL | {"depth": depth} | others | more
