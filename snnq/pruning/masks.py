"""Which weights stay: masks by magnitude, and holding them while a model trains.

Masks are of parameters, by their names in a state dict: of weights, and where whole channels go, of what their norms
have for them. True stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from snnq.network.readers import Chain

Masks = dict[str, Tensor]


def share_after(sparsity: float, round: int, rounds: int) -> float:
    """Return the share that is gone after round 1 … R: 1 − (1 − s)^(r/R); all of it where there is no round."""
    return sparsity if rounds == 0 or round == rounds else 1 - (1 - sparsity) ** (round / rounds)


def largest(scores: Sequence[Tensor], share: float) -> list[Tensor]:
    """Return masks of all but the ``share`` of smallest scores, all together; the earlier of equals stays.

    The largest score of each tensor stays, whatever it is: no layer is cut through.
    """
    flat = torch.cat([one.flatten().double() for one in scores])
    kept = flat.numel() - round(share * flat.numel())
    mask = torch.zeros_like(flat, dtype=torch.bool)
    mask[flat.argsort(descending=True, stable=True)[:kept]] = True
    found = [part.view_as(one) for part, one in zip(mask.split([one.numel() for one in scores]), scores, strict=True)]
    for part, one in zip(found, scores, strict=True):
        part.view(-1)[one.flatten().argmax()] = True
    return found


def weight_masks(weights: Mapping[str, Tensor], share: float, scope: str) -> Masks:
    """Return masks of weights by their magnitudes; a weight of zero never stays, for it was pruned before."""
    names, sizes = list(weights), [one.detach().abs() for one in weights.values()]
    found = largest(sizes, share) if scope == "global" else [largest([one], share)[0] for one in sizes]
    return {name: mask & (size > 0) for name, mask, size in zip(names, found, sizes, strict=True)}


def pattern_masks(weights: Mapping[str, Tensor], left: int, group: int) -> Masks:
    """Return masks that leave the ``left`` largest of every ``group`` weights of a row (out, in·k·k), in its order.

    A row's last group may be shorter; it keeps as many.
    """
    found = {}
    for name, weight in weights.items():
        rows = weight.detach().abs().flatten(1)
        padded = torch.nn.functional.pad(rows, (0, -rows.shape[1] % group), value=-1.0)
        groups = padded.unflatten(1, (-1, group))
        order = groups.argsort(dim=2, descending=True, stable=True)
        mask = torch.zeros_like(groups, dtype=torch.bool).scatter_(2, order[:, :, :left], True)
        found[name] = (mask.flatten(1)[:, : rows.shape[1]] & (rows > 0)).view_as(weight)
    return found


def channel_scores(model: nn.Module, chain: Chain) -> Tensor:
    """Return what each free channel carries, (C,): the norms of its row and column, times its batch norm's gain."""
    row = model.get_submodule(chain.layer).get_parameter("weight").detach().flatten(1).norm(dim=1)
    column = model.get_submodule(chain.reader).get_parameter("weight").detach().transpose(0, 1).flatten(1).norm(dim=1)
    if chain.norm is not None:
        norm = model.get_submodule(chain.norm)
        gain = norm.get_buffer("running_var").add(norm.eps).rsqrt()  # pyright: ignore
        row = row * (gain if norm.weight is None else gain * norm.weight.detach().abs())  # pyright: ignore
    return row * column


def channel_masks(model: nn.Module, chains: Sequence[Chain], share: float, scope: str) -> Masks:
    """Return masks that silence the channels that carry least; each chain's scores are shares of their mean.

    A channel goes with its row, its column, its bias and what its norm has for it: it never fires.
    """
    scores = [channel_scores(model, chain) for chain in chains]
    scores = [one / one.mean().clamp_min(torch.finfo(one.dtype).tiny) for one in scores]
    kept = largest(scores, share) if scope == "global" else [largest([one], share)[0] for one in scores]
    found: Masks = {}
    for chain, mask in zip(chains, kept, strict=True):
        for path, axis in ((chain.layer, 0), (chain.norm, 0), (chain.reader, 1)):
            module = None if path is None else model.get_submodule(path)
            for name, one in () if module is None else module.named_parameters(recurse=False):
                if one.ndim > axis:
                    shape = [1] * one.ndim
                    shape[axis] = -1
                    key = f"{path}.{name}"
                    found[key] = found.get(key, torch.ones_like(one, dtype=torch.bool)) & mask.view(shape)
    return found


@dataclass
class HeldMasks:
    """Masks of a model's parameters: what they mask is zero, and gets no gradient. They can be saved with a run."""

    model: nn.Module
    masks: Masks

    def __post_init__(self) -> None:
        for name, parameter in self.model.named_parameters():
            parameter.register_hook(lambda gradient, name=name: self._of(name, gradient))

    def _of(self, name: str, values: Tensor) -> Tensor:
        if name not in self.masks:
            return values
        return torch.where(self.masks[name].to(values.device), values, torch.zeros_like(values))

    @torch.no_grad()
    def set(self, masks: Masks) -> None:
        """Take these masks from now on."""
        self.masks = masks
        for name in masks:
            parameter = self.model.get_parameter(name)
            parameter.copy_(self._of(name, parameter))

    def state_dict(self) -> Masks:
        """Return the masks."""
        return {name: mask.cpu() for name, mask in self.masks.items()}

    def load_state_dict(self, state: Masks) -> None:
        """Take the masks back; raises ValueError for those of another model."""
        shapes = {name: one.shape for name, one in self.model.named_parameters()}
        for name, mask in state.items():
            if shapes.get(name) != mask.shape or mask.dtype != torch.bool:
                raise ValueError(f"'{name}' has no such mask")
        self.masks = dict(state)
