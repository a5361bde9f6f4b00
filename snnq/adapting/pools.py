"""Pools of prompts as they are trained: floats, a surrogate behind them, and slots that belong to tasks.

For the query q of an attention (a mean over tokens and steps, or the last features of a frozen pass):

    os, os++   a_m = cos(q, K_m),        spike = [Σ a_m P_m ≥ θ]      OS-Prompt (Kim et al. 2024, arXiv:2402.16189)
    coda       a_m = cos(q ⊙ A_m, K_m),  the same                     CODA-Prompt (Smith et al. 2023, arXiv:2211.13218)
    l2p        the top slots by cos(q, K_m), spike = [P_m ≥ θ]        L2P (Wang et al. 2022, arXiv:2112.08654)

A prompt's spikes are the same at every step. Their surrogate gradient is that of the neurons, a sigmoid of slope 4.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from spikingjelly.activation_based import surrogate
from torch import Tensor, nn

from snnq.adapting.settings import CODA, L2P, AdaptSettings
from snnq.arithmetic.prompts import SELECTED, WEIGHTED, Slots, slots_of
from snnq.base.errors import NotFiniteError, UsageError
from snnq.network.prefixes import Site
from snnq.training.seeding import generator

# L2P's pull: how much a selected key is drawn to the query.
PULL = 0.5
_LEAST = 1e-3  # of a row's own part, below which it is no direction of its own


class SlotPool(nn.Module):
    """The slots of one attention: ``keys`` (M, C), ``prompts`` (M, L, C) and for CODA ``attention`` (M, C)."""

    attention: nn.Parameter | None

    def __init__(self, site: Site, settings: AdaptSettings) -> None:
        super().__init__()
        self.site, self.top = site, settings.top if settings.method == L2P else None
        self.threshold = WEIGHTED if self.top is None else SELECTED
        slots, channels = settings.pool, site.channels
        self.keys = nn.Parameter(torch.zeros(slots, channels))
        self.prompts = nn.Parameter(torch.zeros(slots, settings.length, channels))
        attended = nn.Parameter(torch.zeros(slots, channels)) if settings.method == CODA else None
        self.register_parameter("attention", attended)
        self.fires = surrogate.Sigmoid(alpha=4.0)
        self.first, self.end = 0, slots  # the slots of the task that is learned, and those before them

    @torch.no_grad()
    def begin(self, first: int, end: int, seed: int) -> None:
        """Start the slots ``first`` … ``end`` − 1, orthogonal to one another and to those before them."""
        place = (self.site.module, first)
        for name, part in self.named_parameters():
            rows = part.view(len(part), -1)
            rows[first:end] = orthogonal(rows[:first], end - first, generator(seed, "prompts", name, *place))

    def weights(self, query: Tensor) -> Tensor:
        """Return a_m (B, slots so far) of queries (B, C); gradients reach the task's own slots alone."""
        keys = F.normalize(self._seen(self.keys), dim=-1)
        if self.attention is None:
            return F.normalize(query, dim=-1) @ keys.T
        return (F.normalize(query[:, None] * self._seen(self.attention), dim=-1) * keys).sum(-1)

    def forward(self, query: Tensor) -> tuple[Tensor, Tensor]:
        """Return the spikes beside keys and values, (B, rows, C) each."""
        found, prompts = self.weights(query), self._seen(self.prompts)
        if self.top is None:
            spikes = self.fires(torch.einsum("bm,mlc->blc", found, prompts) - self.threshold)
            return tuple(spikes.chunk(2, 1))  # pyright: ignore[reportReturnType]
        chosen = found.detach().topk(min(self.top, found.shape[1]), dim=1).indices
        keys, values = self.fires(prompts - self.threshold)[chosen].chunk(2, 2)
        return keys.flatten(1, 2), values.flatten(1, 2)

    def pull(self, query: Tensor) -> Tensor:
        """Return L2P's loss (), 1 − the mean cosine of the selected keys."""
        found = self.weights(query)
        return 1 - found.topk(min(self.top or 1, found.shape[1]), dim=1).values.mean()

    @torch.no_grad()
    def whole(self) -> Slots:
        """Return the slots so far in whole numbers."""
        parts = (
            None if one is None else one[: self.end].cpu().numpy() for one in (self.keys, self.prompts, self.attention)
        )
        keys, prompts, attention = parts
        assert keys is not None
        assert prompts is not None
        return slots_of(keys, prompts, attention, None if self.top is None else min(self.top, self.end), self.threshold)

    def _seen(self, part: Tensor) -> Tensor:
        return torch.cat((part[: self.first].detach(), part[self.first : self.end]))


def orthogonal(before: Tensor, count: int, draw: torch.Generator) -> Tensor:
    """Return ``count`` new rows (count, n) of deviation 1, by Gram–Schmidt orthogonal to ``before`` and to one another.

    There are n directions; rows beyond them stay as they were drawn. Prompts start so in CODA-Prompt's code.
    """
    basis: list[Tensor] = []

    def own_part(row: Tensor) -> Tensor:
        for _ in range(2):  # twice is enough (Kahan)
            for one in basis:
                row = row - (row @ one) * one
        return row

    def take(row: Tensor) -> bool:
        left = own_part(row)
        if len(basis) < len(row) and float(left.norm()) > _LEAST * float(row.norm()):
            basis.append(left / left.norm())
            return True
        return False

    for row in before.double():
        take(row)
    found = []
    for _ in range(count):
        row = torch.randn(before.shape[1], generator=draw, dtype=torch.float64)
        found.append(basis[-1] * before.shape[1] ** 0.5 if take(row) else row)
    return torch.stack(found).to(before.dtype)


def shares(pool: int, tasks: int) -> list[int]:
    """Return where each task's slots begin, and where the last one's end; no slot is left over.

    Raises UsageError where some task would have none.
    """
    if pool < tasks:
        raise UsageError(f"--pool {pool}: each of the {tasks} tasks needs a slot of its own", f"--pool {tasks}")
    return [pool * task // tasks for task in range(tasks + 1)]


class Pools(nn.Module):
    """The pools of all prompted attentions. Of L2P all slots belong to every task."""

    def __init__(self, sites: tuple[Site, ...], settings: AdaptSettings, tasks: int) -> None:
        super().__init__()
        self.pools = nn.ModuleList(SlotPool(site, settings) for site in sites)
        shared = settings.method == L2P
        bounds = [0, settings.pool] if shared else shares(settings.pool, tasks)
        self.bounds, self.shared, self.seed = list(pairwise(bounds)), shared, settings.seed

    def by_module(self) -> dict[str, SlotPool]:
        """Return the pools by attention."""
        return {one.site.module: one for one in self.pools}  # pyright: ignore[reportReturnType, reportAttributeAccessIssue]

    def at(self, task: int) -> None:
        """Say which slots are the task's own."""
        first, end = self.bounds[0 if self.shared else task]
        for one in self.by_module().values():
            one.first, one.end = first, end

    def begin(self, task: int) -> None:
        """Start the slots of a task."""
        self.at(task)
        if task == 0 or not self.shared:
            for one in self.by_module().values():
                one.begin(one.first, one.end, self.seed)

    def whole(self) -> dict[str, Slots]:
        """Return all pools in whole numbers, by attention."""
        return {name: one.whole() for name, one in self.by_module().items()}


def rounded_head(head: nn.Linear) -> tuple[np.ndarray, np.ndarray]:
    """Return weight and bias as an adapter stores them, float16; raises NotFiniteError where they are too large."""
    with np.errstate(over="ignore"):
        weight, bias = (one.detach().cpu().numpy().astype(np.float16) for one in (head.weight, head.bias))
    if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
        raise NotFiniteError("adapting: the head has numbers that float16 does not hold; lower --learning-rate")
    return weight, bias
