"""What a filter asks of single samples: the float model's energy, and how much a sample's patches differ."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor, nn

from snnq.models.attention import SpikingAttention
from snnq.network.products import Products

# Points at which a density of cosine similarities is computed, over −1 … 1 and a little more on both sides.
_POINTS = 257
_MARGIN = 0.25


def energy(logits: Tensor, alpha: float) -> Tensor:
    """Return E = −α log Σ_c exp(f_c / α) of logits f (N, C), float64 (N,): low where a sample is like those trained on.

    Liu et al. 2020, arXiv:2010.03759, as StableQ uses it.
    """
    return -alpha * torch.logsumexp(logits.double() / alpha, 1)


def patch_entropy(tokens: Tensor) -> Tensor:
    """Return the differential entropy (nats) of the cosine similarities of each sample's patches (B, N, d), (B,).

    The density of the N (N − 1) / 2 similarities is a Gaussian kernel estimate with Silverman's bandwidth, as in
    PSAQ-ViT (Li et al. 2022, arXiv:2203.02250); a patch without a spike is similar to none, 0. High: patches differ in
    many ways. Samples with fewer than three patches have entropy 0.
    """
    rows = torch.nn.functional.normalize(tokens.double(), dim=2)
    count = rows.shape[1]
    if count < 3:
        return torch.zeros(len(rows), dtype=torch.float64)
    upper = torch.triu_indices(count, count, 1)
    similar = (rows @ rows.transpose(1, 2))[:, upper[0], upper[1]]  # (B, pairs)
    return torch.stack([_entropy(one) for one in similar])


def _entropy(values: Tensor) -> Tensor:
    """Return the differential entropy of a kernel estimate of the density of values (n,) from −1 to 1."""
    width = float((values.std() * 1.06 * len(values) ** -0.2).clamp_min(1e-2))
    grid = torch.linspace(-1 - _MARGIN, 1 + _MARGIN, _POINTS, dtype=torch.float64)
    parts = torch.exp(-0.5 * ((grid[:, None] - values) / width).square()).mean(1)
    density = parts / (width * math.sqrt(2 * math.pi))
    return -torch.trapezoid(torch.special.xlogy(density, density), grid)


@contextmanager
def attention_tokens(model: nn.Module, products: tuple[Products, ...]) -> Iterator[list[Tensor]]:
    """Give the tokens that every attention mixes while a model runs: spikes a step of its last operand, (B, N, d)."""
    seen: list[Tensor] = []
    undo = []
    for one in products:
        module = model.get_submodule(one.name)
        undo.append(_watched(module, seen))
    try:
        yield seen
    finally:
        for put_back in undo:
            put_back()


def _watched(module: nn.Module, seen: list[Tensor]) -> Callable[[], None]:
    attention = cast(SpikingAttention, module)
    own, mix = "mix" in vars(module), attention.mix

    def watched(*spikes: Tensor) -> Tensor:
        last = [one for one in spikes if isinstance(one, Tensor)][-1]  # (T, B, heads, N, d)
        seen.append(last.detach().mean(0).transpose(1, 2).flatten(2))
        return mix(*spikes)

    attention.mix = watched
    return lambda: setattr(module, "mix", mix) if own else delattr(module, "mix")
