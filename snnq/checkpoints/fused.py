"""Upstream's tensors that hold several of ours, one after another along their first axis: q, k and v in one layer."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from snnq.base.errors import CheckpointError

Shape = tuple[int, ...]


def cut(
    path: str, tensors: Mapping[str, Tensor], expected: Mapping[str, Shape], names: Mapping[str, str], model: str
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return a file's tensors and their names by ours, such that each of ours has a tensor of its own.

    ``expected`` gives the shape by our name, ``names`` the file's name by ours; where it is the same for several of
    ours, they are its rows in our order and are called so: ``qkv.weight[0:64]``. Single numbers are the same for all of
    them. ``model`` says in words what the shapes belong to. Raises ``CheckpointError`` for a tensor of other shape.
    """
    tensors, names = dict(tensors), dict(names)
    for theirs, ours in _shared(names).items():
        whole = tensors.get(theirs)
        if whole is None or not expected[ours[0]]:
            continue
        rows = [expected[one][0] for one in ours]
        due = (sum(rows), *expected[ours[0]][1:])
        if tuple(whole.shape) != due:
            raise CheckpointError(f"{path}: key '{theirs}' has shape {tuple(whole.shape)}, {model} needs {due}")
        del tensors[theirs]
        start = 0
        for one, part in zip(ours, whole.split(rows), strict=True):
            names[one] = f"{theirs}[{start}:{start + len(part)}]"
            tensors[names[one]], start = part, start + len(part)
    return tensors, names


def join(state: Mapping[str, Tensor], names: Mapping[str, str]) -> dict[str, Tensor]:
    """Return a state dict under upstream's ``names`` (by ours): the inverse of ``cut``."""
    shared = _shared(names)
    joined = {theirs: state[ours] for ours, theirs in names.items() if theirs not in shared}
    for theirs, ours in shared.items():
        parts = [state[one] for one in ours]
        joined[theirs] = torch.cat(parts) if parts[0].ndim else parts[0]
    return joined


def _shared(names: Mapping[str, str]) -> dict[str, list[str]]:
    """Return ours by theirs, where several of ours have the same name there."""
    found: dict[str, list[str]] = {}
    for ours, theirs in names.items():
        found.setdefault(theirs, []).append(ours)
    return {theirs: ours for theirs, ours in found.items() if len(ours) > 1}
