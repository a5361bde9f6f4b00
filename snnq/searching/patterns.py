"""Naming layers by pattern, in constraints: ``q``, ``attn.*``, ``tokenizer``, ``block.0.*``."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from snnq.base.errors import UsageError, nearest
from snnq.network.layers import Layer


def layer_names(layer: Layer) -> list[str]:
    """Return everything a layer answers to: its group, every dotted ending of its name, and group.ending.

    ``block.0.attn.q`` answers to ``attention``, ``q``, ``attn.q``, …, ``attention.q`` and so on.
    """
    parts = layer.name.split(".")
    endings = [".".join(parts[i:]) for i in range(len(parts))]
    return [*endings, layer.group, *(f"{layer.group}.{ending}" for ending in endings)]


def matching(pattern: str, layers: Sequence[Layer], option: str) -> list[int]:
    """Return the positions of the layers that a pattern (with ``*``, ``?`` and ``[…]``) names, at least one.

    Raises UsageError naming the nearest layer if there is none.
    """
    found = [i for i, layer in enumerate(layers) if any(fnmatchcase(name, pattern) for name in layer_names(layer))]
    if not found:
        known = dict.fromkeys(name for layer in layers for name in layer_names(layer))
        raise UsageError(
            f"{option}: no layer is called '{pattern}'{nearest(pattern, known)}", "snnq inspect CKPT lists the layers"
        )
    return found
