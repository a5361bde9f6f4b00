"""``--rank loss:4``: the rank of each layer, or that it stays dense, by what the network loses.

Candidates of a layer are itself and the largest ranks whose cores have 1/2, 1/3, … of its weights. Each is scored as a
search scores formats: by the loss on validation samples when that layer alone is it (``searching.measuring``), at the
dense model and at the best choice so far. Chosen is the least sum of scores for which all these layers together keep a
given share of their weights (``searching.budget``). Where losses say nothing, the share of a weight's squared norm that
is lost decides.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import numpy as np
import torch.nn.functional as F
from torch import Tensor, nn

from snnq.base.errors import UsageError
from snnq.base.progress import Progress, silent
from snnq.checkpoints.decomposing import chosen
from snnq.checkpoints.sizes import Given
from snnq.network.layers import Layer
from snnq.searching.budget import allocate
from snnq.searching.constraints import Choices
from snnq.searching.measuring import PASSES, Switchboard
from snnq.structure.cores import count, decompose, kept, merge
from snnq.structure.ranks import within
from snnq.training.batches import ordered_batches
from snnq.training.devices import Compute, as_compute, placed, start_fabric
from snnq.training.job import open_job
from snnq.training.threads import keeps_threads, use_threads

if TYPE_CHECKING:
    from jaxtyping import Float

WORD = "loss:"
TIMES = (2, 3, 4, 6, 8, 12, 16)  # how many times fewer weights candidates have
_BATCH, _NORM = 32, 1e-3  # nats of a whole squared norm
_DENSE, _WEIGHTS = "dense", "weights"


@keeps_threads
def ranks_by_loss(
    checkpoint: str | Path,
    mode: str,
    rank: str,
    layers: str | None = None,
    *,
    data: str | None = None,
    samples: int = 256,
    compute: Compute | str = "auto",
    progress: Progress = silent,
    **given: Unpack[Given],
) -> dict[str, int]:
    """Return the ranks of ``rank``, such as ``loss:4``: a quarter of the weights of all layers that are candidates.

    Layers that are best left dense are not in it. Raises UsageError for another word, for htt, whose second kernel is
    not measured, and for a share that no ranks reach.
    """
    times = _times(rank)
    if mode == "htt":
        raise UsageError(f"--rank {rank}: htt has two kernels, and losses are measured of one", "give --rank ratio:4")
    job, compute = open_job(checkpoint, data, progress, **given), as_compute(compute)
    names = chosen(job.model, job.layers, mode, layers)[0]
    use_threads(compute, job.macs(_BATCH))
    model = placed(job.model, start_fabric(compute).device)
    found = _candidates(model, [one for one in job.layers if one.name in names], mode)
    most = _most(found, times, rank, mode)
    places = ordered_batches(min(samples, len(job.data.validation)), _BATCH)

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        device = next(model.parameters()).device
        for indices in places:
            frames, labels = job.data.validation.__getitems__(indices)
            yield frames.to(device), F.one_hot(labels, len(job.data.classes)).float().to(device)

    board, losses, plan = Switchboard(model, found.choices, found.made), [], [0] * len(names)
    for _ in range(PASSES):
        losses.append(board.losses(plan, batches(), lambda: progress("measuring ranks", len(losses) + 1, PASSES)))
        plan = found.solve(np.mean(losses, 0), most)
    ranks = {name: found.ranks[name][k] for name, k in zip(names, plan, strict=True)}
    return {name: one for name, one in ranks.items() if one is not None}


def _most(found: _Candidates, times: float, rank: str, mode: str) -> float:
    """Return how many weights may be left; raises UsageError where no ranks leave so few."""
    most = float(found.weights[:, 0].sum() / times)
    if np.nanmin(found.weights, 1).sum() > most:
        least = found.weights[:, 0].sum() / np.nanmin(found.weights, 1).sum()
        raise UsageError(f"--rank {rank}: as {mode} these layers keep 1/{least:.2f} of their weights, or more")
    return most


@dataclass(frozen=True)
class _Candidates:
    """What layers may become: ``ranks`` of each (None: dense), its ``weights`` (L, K) and norms that are lost, (L, K).

    Both are NaN where a layer has no such rank.
    """

    mode: str
    choices: Choices
    ranks: dict[str, list[int | None]]
    weights: Float[np.ndarray, "L K"]
    lost: Float[np.ndarray, "L K"]

    def made(self, path: str, weight: Float[Tensor, "*shape"], name: str) -> Float[Tensor, "*shape"]:
        """Return a weight as its cores at a candidate's rank are, multiplied out."""
        rank = self.ranks[path][self.choices.names.index(name)]
        if rank is None:
            return weight
        return merge(self.mode, decompose(weight.cpu(), self.mode, rank)).to(weight)

    def solve(self, losses: Float[np.ndarray, "L K"], most: float) -> list[int]:
        """Return the best candidate of each layer (L,) by losses (L, K); a larger rank never loses more."""
        scores = np.fmin.accumulate(losses[:, ::-1], 1)[:, ::-1] + _NORM * self.lost
        costs = {_WEIGHTS: np.nan_to_num(self.weights)}
        return allocate(self.choices, np.nan_to_num(scores), costs, {_WEIGHTS: most})


def _candidates(model: nn.Module, layers: list[Layer], mode: str) -> _Candidates:
    names, ranks = (_DENSE, *(f"1/{times}" for times in TIMES)), dict[str, list[int | None]]()
    weights, lost = (np.full((len(layers), len(names)), math.nan) for _ in range(2))
    for i, layer in enumerate(layers):
        weight = model.get_submodule(layer.name).get_parameter("weight").detach().cpu()
        own = [None, *(within(weight, mode, times) for times in TIMES)]
        ranks[layer.name], weights[i, 0], lost[i, 0] = own, weight.numel(), 0.0
        for k, rank in enumerate(own):
            if rank is not None:
                weights[i, k], lost[i, k] = count(mode, weight.shape, rank), 1 - kept(weight, mode, rank)
    choices = Choices(tuple(layers), names, ~np.isnan(weights), tuple(range(len(layers))))
    return _Candidates(mode, choices, ranks, weights, lost)


def _times(rank: str) -> float:
    try:
        found = float(rank.removeprefix(WORD))
    except ValueError:
        found = 0.0
    if not rank.startswith(WORD) or not 1 < found < math.inf:
        raise UsageError(f"--rank {rank}: it must be {WORD}TIMES", "such as loss:4 for a quarter of the weights")
    return found
