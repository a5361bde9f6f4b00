"""A layer's weight as several small ones, its cores, and back: tensor-train, cross and low rank.

A weight W (o, i, 3, 3) at rank r becomes, without a norm or a neuron between cores (TT-SNN: Lee et al. 2024)

    stt   W[o,i,h,w] = Σ E[o,c] H[c,b,w] V[b,a,h] R[a,i]                   1×1 → 3×1 → 1×3 → 1×1
    ptt   W[o,i,h,w] = Σ E[o,c] (V[c,a,h] [w=1] + H[c,a,w] [h=1]) R[a,i]   1×1 → (3×1 + 1×3) → 1×1: its corners are 0
    htt   as ptt in the first steps; in the others Σ E[o,a] R[a,i]         1×1 → 1×1
    svd   W[o,i,…] = Σ E[o,a] S[a,i,…]                                     k×k → 1×1; any kernel, linear layers too

``stt`` comes of TT-SVD (Oseledets 2011), ``svd`` is the best of its rank (Eckart & Young 1936). The kernel of ``ptt``
is a Tucker-2 model of the five values on the cross, so that higher-order orthogonal iteration (De Lathauwer et al.
2000) gives its least squares. The factor ½ that is published for ptt stands in its cores. All in float64.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    Cores = dict[str, Tensor]
else:
    from snnq.base.lazy import torch

LAST = "expand"  # the core that gives what the layer gave, with its bias
MODES = ("stt", "ptt", "htt", "svd")
# Sweeps of the orthogonal iteration: on trained kernels the error no longer changes by 1e-6 of itself after some ten.
SWEEPS = 20
# htt: where its 1×1 → 1×1 is not the kernel's middle, because dividing by smaller singular values would blow cores up.
SMALLEST = 0.1


def bonds(mode: str, shape: Sequence[int], rank: int) -> tuple[int, ...]:
    """Return how many channels flow from core to core, each at most ``rank`` and what the weight's unfolding has."""
    rows, columns = shape[0], shape[1]
    if mode == "svd":
        return (min(rank, rows, math.prod(shape[1:])),)
    if mode == "htt":
        return (min(rank, rows, columns),) * 2
    first, last = min(rank, columns), min(rank, rows)
    return (first, last) if mode == "ptt" else (first, min(rank, 3 * first, 3 * last), last)


def core_shapes(mode: str, shape: Sequence[int], rank: int) -> dict[str, tuple[int, ...]]:
    """Return the shape of every core's weight, in the order they run."""
    rows, columns, kernel = shape[0], shape[1], tuple(shape[2:])
    between = bonds(mode, shape, rank)
    ones = (1,) * len(kernel)
    if mode == "svd":
        return {"spatial": (between[0], columns, *kernel), "expand": (rows, between[0], *ones)}
    first, last = between[0], between[-1]
    middle = between[1] if mode == "stt" else last
    return {
        "reduce": (first, columns, 1, 1),
        "vertical": (middle, first, 3, 1),
        "horizontal": (last, middle if mode == "stt" else first, 1, 3),
        "expand": (rows, last, 1, 1),
    }


def count(mode: str, shape: Sequence[int], rank: int) -> int:
    """Return the number of weights in all cores."""
    return sum(math.prod(one) for one in core_shapes(mode, shape, rank).values())


def decompose(weight: Tensor, mode: str, rank: int) -> Cores:
    """Return the weights of the cores of ``weight`` (o, i, …) at ``rank``, in float64."""
    weight = weight.detach().double()
    between = bonds(mode, weight.shape, rank)
    if mode == "svd":
        left, values, right = torch.linalg.svd(weight.flatten(1), full_matrices=False)
        keep, root = between[0], values[: between[0]].sqrt()
        expand = (left[:, :keep] * root).view(-1, keep, *(1,) * (weight.ndim - 2))
        return {"spatial": (root[:, None] * right[:keep]).view(keep, *weight.shape[1:]), "expand": expand}
    return _tensor_train(weight, *between) if mode == "stt" else _cross(weight, *between, half=mode == "htt")


def merge(mode: str, cores: Cores) -> Tensor:
    """Return the dense weight (o, i, …) of cores, in float64; for ``htt`` that of its first steps."""
    weights = {name: core.detach().double() for name, core in cores.items()}
    expand = weights["expand"].flatten(1)
    if mode == "svd":
        return torch.einsum("oa,a...->o...", expand, weights["spatial"])
    reduce, vertical, horizontal = weights["reduce"][..., 0, 0], weights["vertical"], weights["horizontal"]
    if mode == "stt":
        return torch.einsum("oc,cbw,bah,ai->oihw", expand, horizontal[..., 0, :], vertical[..., 0], reduce)
    middle = vertical.new_zeros(*vertical.shape[:2], 3, 3)
    middle[..., 1] += vertical[..., 0]
    middle[..., 1, :] += horizontal[..., 0, :]
    return torch.einsum("oc,cahw,ai->oihw", expand, middle, reduce)


def kept(weight: Tensor, mode: str, rank: int) -> float:
    """Return the share of a weight's squared norm that its cores keep; of ptt and htt of that on the cross."""
    weight = weight.detach().double()
    lost = weight - merge(mode, decompose(weight, mode, rank))
    if mode in ("ptt", "htt"):
        weight, lost = _on_cross(weight), _on_cross(lost)
    return 1.0 - float(lost.square().sum() / weight.square().sum())


def _tensor_train(weight: Tensor, first: int, middle: int, last: int) -> Cores:
    rows, columns = weight.shape[:2]
    rest = weight.permute(1, 2, 3, 0).reshape(columns, -1)  # i × (h, w, o)
    left, rest = _split(rest, first)
    reduce = left.T
    left, rest = _split(rest.reshape(first * 3, -1), middle)
    vertical = left.view(first, 3, middle).permute(2, 0, 1)
    left, rest = _split(rest.reshape(middle * 3, -1), last)
    horizontal = left.view(middle, 3, last).permute(2, 0, 1)
    return {
        "reduce": reduce[..., None, None],
        "vertical": vertical[..., None],
        "horizontal": horizontal[:, :, None],
        "expand": rest.T.reshape(rows, last, 1, 1),
    }


def _split(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return the best two factors of this rank, the first orthonormal; missing directions are zero."""
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    return left[:, :rank], values[:rank, None] * right[:rank]


def _on_cross(weight: Tensor) -> Tensor:
    """Return the values up, left, in the middle, right and down, (o, i, 5)."""
    return weight.flatten(2)[..., [1, 3, 4, 5, 7]]


def _directions(tensor: Tensor, rank: int) -> Tensor:
    """Return the first left singular vectors of a tensor's unfolding along its leading axis."""
    return torch.linalg.svd(tensor.flatten(1), full_matrices=False)[0][:, :rank]


def _cross(weight: Tensor, first: int, last: int, *, half: bool) -> Cores:
    values = _on_cross(weight)
    into = _directions(values.transpose(0, 1), first)
    out = _directions(torch.einsum("oip,ia->oap", values, into), last)
    for _ in range(SWEEPS):
        into = _directions(torch.einsum("oip,oc->icp", values, out), first)
        out = _directions(torch.einsum("oip,ia->oap", values, into), last)
    core, reduce, expand = torch.einsum("oip,oc,ia->cap", values, out, into), into.T, out
    if half:  # the same kernel, in the basis in which expand · reduce is its middle
        left, size, right = torch.linalg.svd(core[..., 2])
        root = size.clamp(min=SMALLEST * float(size.max())).sqrt()
        core = torch.einsum("ck,cap,la->klp", left / root, core, right / root[:, None])
        reduce, expand = root[:, None] * (right @ reduce), (expand @ left) * root
    up, west, middle, east, down = core.unbind(-1)
    return {
        "reduce": reduce[..., None, None],
        "vertical": torch.stack([up, middle / 2, down], -1)[..., None],
        "horizontal": torch.stack([west, middle / 2, east], -1)[:, :, None],
        "expand": expand[..., None, None],
    }
