"""Leave-one-out sensitivities: by how much a set's distance falls when one sample is left out of it.

    S(i) = D(set) − D(set without i)

is positive for samples whose presence takes the set away from what the model was trained on (StableQ, Li et al. 2023,
arXiv:2312.05272). Single samples' own statistics are biased; with sums kept, leaving one out costs a subtraction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from snnq.calibrating.norm_inputs import norm_inputs, stored, wasserstein

Batches = Callable[[], Iterator[Tensor]]


@dataclass(frozen=True)
class Sensitivities:
    """``layers`` by name in order; ``whole`` (N, L): over all steps together; ``steps`` (N, L, T): of each step.

    ``distances`` (L,) and ``step_distances`` (L, T) are those of the whole set.
    """

    layers: tuple[str, ...]
    whole: Tensor
    steps: Tensor
    distances: Tensor
    step_distances: Tensor


ROUNDING = 1e-11  # share of a second power


class _Sums:
    """Sums about a norm's stored mean over a set, float64 (T, 2, C), first and second powers; ``count`` a step."""

    def __init__(self) -> None:
        self.total: Tensor | None = None
        self.count = 0

    def add(self, own: Tensor, positions: int) -> None:
        """Take the sums of samples (B, T, 2, C), of so many positions each."""
        added = own.sum(0)
        self.total = added if self.total is None else self.total + added
        self.count += positions * len(own)


def _powers(inputs: Tensor, mean: Tensor) -> tuple[Tensor, int]:
    """Return each sample's sums (B, T, 2, C) of inputs (T, B, C, …) about ``mean`` (C,), and its positions a step."""
    rows = inputs.detach().double().transpose(0, 1).flatten(3) if inputs.ndim > 3 else inputs.detach().double()
    rows = rows if inputs.ndim > 3 else rows.transpose(0, 1).unsqueeze(3)
    moved = rows - mean[:, None]
    return torch.stack([moved.sum(3), moved.square().sum(3)], 2), rows.shape[3]


def _distance(sums: Tensor, count: int, norm: tuple[Tensor, Tensor]) -> Tensor:
    """Return D (…) of sums (…, 2, C) over ``count`` positions."""
    first, second = sums[..., 0, :] / count, sums[..., 1, :] / count
    variance = second - first.square()
    # What is left of two equal numbers is rounding: its root would be far larger than what it is taken from.
    return wasserstein(norm[0] + first, torch.where(variance > ROUNDING * second, variance, 0), norm)


@torch.no_grad()
def norm_sensitivities(model: nn.Module, norms: Mapping[str, nn.Module], batches: Batches, steps: int) -> Sensitivities:
    """Return the sensitivities of all samples to every norm and step; ``batches`` give frames (B, T, C, H, W), twice.

    The model, in evaluation mode, runs twice on every sample, so that memory does not grow with the set. A set of one
    sample has no sensitivities: ValueError.
    """
    facts, sums = {name: stored(one) for name, one in norms.items()}, {name: _Sums() for name in norms}
    with norm_inputs(norms, steps) as seen:
        for frames in batches():
            model(frames)
            for name, inputs in seen.take(len(frames)).items():
                sums[name].add(*_powers(inputs, facts[name][0]))
        ran = [name for name in norms if sums[name].total is not None]
        whole, each, count = [], [], 0
        for frames in batches():
            model(frames)
            inputs = seen.take(len(frames))
            parts = [_left_out(sums[name], inputs[name], facts[name]) for name in ran]
            whole.append(torch.stack([one for one, _ in parts], 1))
            each.append(torch.stack([one for _, one in parts], 1))
            count += len(frames)
    if count < 2:
        raise ValueError("a set of one sample has no sensitivities")
    return Sensitivities(
        tuple(ran),
        torch.cat(whole).cpu(),
        torch.cat(each).cpu(),
        torch.stack([_whole(sums[name], facts[name]) for name in ran]).cpu(),
        torch.stack([_distance(_total(sums[name]), sums[name].count, facts[name]) for name in ran]).cpu(),
    )


def _total(sums: _Sums) -> Tensor:
    assert sums.total is not None
    return sums.total


def _whole(sums: _Sums, norm: tuple[Tensor, Tensor]) -> Tensor:
    total = _total(sums)
    return _distance(total.sum(0), sums.count * len(total), norm)


def _left_out(sums: _Sums, inputs: Tensor, norm: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Return S of samples with inputs (T, B, C, …): (B,) over all steps, and (B, T) of each."""
    own, positions = _powers(inputs, norm[0])
    total, steps = _total(sums), own.shape[1]
    rest, count = total - own, sums.count - positions
    if count <= 0:
        raise ValueError("a set of one sample has no sensitivities")
    whole = _whole(sums, norm) - _distance(rest.sum(1), count * steps, norm)
    return whole, _distance(total, sums.count, norm) - _distance(rest, count, norm)


def rate_sensitivities(rates: Tensor, due: Tensor) -> Tensor:
    """Return S (N,) of firing rates (N, K), of K groups of neurons and steps, to a card's mean rates ``due`` (K,).

        D = 1/K Σ_k (r̄_k − m_k)² / max(m_k (1 − m_k), 10⁻⁴),   r̄ the set's mean rates

    so that a rate counts in units of a spike's own variance.
    """
    if len(rates) < 2:
        raise ValueError("a set of one sample has no sensitivities")
    unit = (due * (1 - due)).clamp_min(1e-4)
    total = rates.sum(0)

    def distance(mean: Tensor) -> Tensor:
        return ((mean - due).square() / unit).mean(-1)

    return distance(total / len(rates)) - distance((total - rates) / (len(rates) - 1))
