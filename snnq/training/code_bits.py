"""What the codes of rated layers take as they stand: bits for the loss, with their gradients, and entropies.

    bits(w) = (1 − f) · len(k) + f · len(k + 1),   len(k) = −log₂ ((n_k + 1) / (n + levels))
    ∂bits/∂w = (len(k + 1) − len(k)) / (l_{k+1} − l_k),   0 where w is clipped

for a weight at the share f between the levels l_k and l_{k+1} of its channel, n_k being how often the layer's weights
take level k (docs/method.md §6). Where levels are evenly spaced, the gradient is written out, and what is small is done
once for all layers of a grid: else this takes a tenth of a step of a small model.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from snnq.schemes.rated import between, code_lengths, entropies, entropy, lengths
from snnq.training.quantized import FakeQuantize

# Name, parametrization and latent weight of layers, as ``quantized_layers`` gives them.
Layers = Sequence[tuple[str, FakeQuantize, Tensor]]


def code_bits(layers: Layers) -> tuple[Tensor, Tensor]:
    """Return the bits of all codes for the loss, (), and the entropy of every layer's codes in bits, (layers,) float64.

    The first is differentiable in weights and scheme parameters, the second is not.
    """
    grids: dict[str, list[int]] = {}
    for place, (_, chain, _) in enumerate(layers):
        key = chain.scheme.grid_name if chain.scheme.format.even else str(place)
        grids.setdefault(key, []).append(place)
    found = [_bits_of([layers[place] for place in places]) for places in grids.values()]
    order = torch.tensor([place for places in grids.values() for place in places]).argsort()
    entropy = torch.cat([part for _, part in found])
    return torch.stack([part for part, _ in found]).sum(), entropy[order.to(entropy.device)]


def layer_bits(chain: FakeQuantize, latent: Tensor) -> tuple[Tensor, Tensor]:
    """Return the same of one layer on any grid, both ()."""
    one, rows = chain.scheme, latent.flatten(1)
    levels = one.format.grid(chain.params(), one.width)
    below, share = between(rows, levels)
    nearest = below + (share.detach() > 0.5)
    length = code_lengths(nearest, levels.shape[1])
    smooth = (length[below] * (1 - share) + length[below + 1] * share).sum()
    return smooth, entropy(nearest) * nearest.numel()


def _bits_of(layers: Layers) -> tuple[Tensor, Tensor]:
    """Return the same of layers whose schemes have one grid, or of one layer."""
    chains = [chain for _, chain, _ in layers]
    one = chains[0].scheme
    if not one.format.even:
        smooth, bits = layer_bits(chains[0], layers[0][2])
        return smooth, bits[None]
    starts, shifts = (
        {name: torch.cat([getattr(chain, f"{name}_{part}") for chain in chains]) for name in one.parameters}
        for part in ("start", "shift")
    )
    levels = one.format.grid(one.moved(starts, shifts), one.width)
    low, count = levels[:, :1], levels.shape[1]
    return _EvenBits.apply(count, low, levels[:, 1:2] - low, *(latent.flatten(1) for _, _, latent in layers))  # pyright: ignore


class _EvenBits(torch.autograd.Function):
    """Lowest levels and steps (channels, 1) of all layers' channels, one behind the other; weights (out, n) of each."""

    @staticmethod
    def forward(ctx: FunctionCtx, count: int, lowest: Tensor, step: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor]:
        rows = [len(weight) for weight in weights]
        steps, ways, shares, below, taken = step.split(rows), [], [], [], []
        for weight, low, gap in zip(weights, lowest.split(rows), steps, strict=True):
            way = (weight - low).div_(gap)  # in steps from the lowest level
            floor = way.floor().clamp_(0, count - 2).nan_to_num_()  # what is not finite ends in the total, not here
            share = way - floor
            nearest = share.clamp(0, 1).round_().nan_to_num_().add_(floor).long().flatten()
            ways, shares, below = [*ways, way], [*shares, share], [*below, floor.long().flatten()]
            # Not bincount, which waits for the device.
            taken.append(nearest.new_zeros(count).scatter_add_(0, nearest, torch.ones_like(nearest)))
        counts = torch.stack(taken)
        total, slopes = lowest.new_zeros(()), []
        for table, gap, place, share in zip(lengths(counts), steps, below, shares, strict=True):
            rise = (table[1:] - table[:-1]).index_select(0, place).view_as(share)
            inside = share.clamp(0, 1)
            total = total + table.index_select(0, place).view_as(share).addcmul_(rise, inside).sum()
            slopes.append(rise.div_(gap).mul_(inside == share))
        ctx.save_for_backward(*slopes, *ways)
        bits = entropies(counts) * counts.sum(1)
        ctx.mark_non_differentiable(bits)
        return total, bits

    @staticmethod
    def backward(ctx: FunctionCtx, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore
        saved: tuple[Tensor, ...] = ctx.saved_tensors  # pyright: ignore[reportAttributeAccessIssue]
        slopes, ways = saved[: len(saved) // 2], saved[len(saved) // 2 :]
        to_lowest = torch.cat([slope.sum(1, keepdim=True) for slope in slopes])
        to_step = torch.cat([(slope * way).sum(1, keepdim=True) for slope, way in zip(slopes, ways, strict=True)])
        return None, *(part * gradients[0] for part in (-to_lowest, -to_step, *slopes))
