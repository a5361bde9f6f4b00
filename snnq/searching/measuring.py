"""Measured losses: what the network loses when one layer takes another scheme and all others stay.

    D_lk = loss(plan with layer l under scheme k) − loss(plan)

on calibration samples, with BN in batch statistics, so that a shifted current is not held against a scheme that a
re-estimated BN would forgive. What runs before the layer that changes gives the same as before: those outputs are
replayed, so that most switches cost a small part of a forward pass.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snnq.base.errors import NotFiniteError
from snnq.base.progress import Progress, silent
from snnq.network.neurons import is_neuron
from snnq.schemes.scheme import scheme
from snnq.searching.constraints import Choices
from snnq.searching.rounding import Made, Nearest, Rounded, by_name
from snnq.training import processes
from snnq.training.batchnorm import share_batchnorm
from snnq.training.evaluation import NORMS
from snnq.training.transfers import fetched

if TYPE_CHECKING:
    from jaxtyping import Float

PASSES = 2


def soft_cross_entropy(logits: Float[Tensor, "n C"], targets: Float[Tensor, "n C"]) -> Float[Tensor, ""]:
    """Return -Σ_c t_c log softmax(logits)_c summed over the samples: cross-entropy for one-hot targets, and for those
    of a teacher the divergence from it up to a constant; logits and targets (n, C)."""
    return -(targets * F.log_softmax(logits.float(), 1)).sum()


class Switchboard:
    """A model whose layers can be switched between the candidates of their weights.

    ``model`` is copied; its weights are ``made`` (path, weight, name) the candidates of ``choices``: if
    None, rounded to the nearest levels of schemes.
    """

    def __init__(self, model: nn.Module, choices: Choices, made: Made | None = None) -> None:
        self.choices, self.made = choices, made or by_name(Nearest())
        self.model = share_batchnorm(copy.deepcopy(model)).eval()
        for norm in self.model.modules():
            if isinstance(norm, NORMS):
                norm.train()
        self.layers = [self.model.get_submodule(layer.name) for layer in choices.layers]
        self.candidates = [self._candidates(i) for i in range(len(self.layers))]
        self.replay = _Replay(self.model)

    @torch.no_grad()
    def _candidates(self, i: int) -> list[Tensor | None]:
        weight = self.layers[i].get_parameter("weight").detach().clone()
        path, allowed = self.choices.layers[i].name, self.choices.allowed[i]
        return [
            self.made(path, weight, name) if open_ else None
            for name, open_ in zip(self.choices.names, allowed, strict=True)
        ]

    def set(self, i: int, k: int) -> None:
        """Give layer ``i`` its weight under candidate ``k``."""
        candidate = self.candidates[i][k]
        assert candidate is not None
        self.layers[i].get_parameter("weight").data.copy_(candidate)

    @torch.no_grad()
    def losses(
        self, anchor: Sequence[int], batches: Iterator[tuple[Tensor, Tensor]], step: Callable[[], None]
    ) -> Float[np.ndarray, "L K"]:
        """Return D (L, K) in nats a sample at the plan ``anchor`` (L); NaN where a layer may not take a scheme.

        ``batches`` give frames (n, T, C, H, W) and targets (n, C), this process' share of each global batch. Tied
        layers switch together and share their row.
        """
        choices = self.choices
        total, samples = np.full((choices.groups, len(choices.names)), np.nan), 0
        groups = [choices.members(group) for group in range(choices.groups)]
        for members, row in zip(groups, total, strict=True):
            row[choices.allowed[members[0]]] = 0
        for i, k in enumerate(anchor):
            self.set(i, k)
        for frames, targets in batches:
            base, places, found = soft_cross_entropy(self.replay.record(frames), targets), [], []
            for group, members in enumerate(groups):
                first = min(self.replay.position(self.layers[i]) for i in members)
                for k in np.flatnonzero(choices.allowed[members[0]]):
                    if k == anchor[members[0]]:
                        continue
                    for i in members:
                        self.set(i, int(k))
                    places.append((group, k))
                    found.append(soft_cross_entropy(self.replay.run(frames, first), targets))
                for i in members:
                    self.set(i, anchor[i])
            whole, *switched = fetched([base, *found])
            for (group, k), value in zip(places, switched, strict=True):
                total[group, k] += value - whole
            samples += len(targets)
            step()
        found = processes.mean(torch.from_numpy(total)).numpy()[list(choices.group)] / samples
        self._require_finite(found)
        return found

    def _require_finite(self, found: Float[np.ndarray, "L K"]) -> None:
        """Raise NotFiniteError naming the layer and scheme whose loss (L, K) is not finite, where they are allowed."""
        for layer, k in np.argwhere(self.choices.allowed & ~np.isfinite(found)):
            name, scheme_name = self.choices.layers[layer].name, self.choices.names[k]
            raise NotFiniteError(f"measuring layers: the loss with layer '{name}' as {scheme_name} is not finite")


class _Replay:
    """Runs a model again, taking the outputs of what was called before a given call from the recorded run.

    A model that is run step by step is run whole: its neurons' voltages would lack the replayed steps.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model, self.outputs, self.order = model, [], []
        self.stepwise = any(is_neuron(one) and getattr(one, "step_mode", "m") == "s" for one in model.modules())
        self.stop, self.count = -1, 0  # −1: record
        for module in _units(model):
            module.forward = self._wrapped(module, module.forward)

    def _wrapped(self, module: nn.Module, forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def call(*arguments: object, **named: object) -> Tensor:
            number, self.count = self.count, self.count + 1
            if number < self.stop:
                return self.outputs[number]
            output = forward(*arguments, **named)
            if self.stop < 0:
                self.outputs.append(output)
                self.order.append(module)
            return output

        return call

    def record(self, frames: Tensor) -> Tensor:
        """Run the model and remember every unit's output."""
        self.outputs, self.order, self.stop, self.count = [], [], -1, 0
        return self.model(frames)

    def run(self, frames: Tensor, first: int) -> Tensor:
        """Run the model on the recorded frames; only calls from number ``first`` on are computed."""
        self.stop, self.count = first, 0
        return self.model(frames)

    def position(self, module: nn.Module) -> int:
        """Return the number of the first call that must be computed where a unit has changed: its own."""
        if self.stepwise:
            return 0
        return next(number for number, one in enumerate(self.order) if one is module)


def _units(model: nn.Module) -> Iterator[nn.Module]:
    """Yield the modules that compute: neurons, and what has no modules inside it."""
    if is_neuron(model) or not any(True for _ in model.children()):
        yield model
        return
    for child in model.children():
        yield from _units(child)


def measure(
    model: nn.Module,
    choices: Choices,
    anchor: Sequence[int],
    solve: Callable[[np.ndarray], list[int]],
    batches: Callable[[], Iterator[tuple[Tensor, Tensor]]],
    *,
    progress: Progress = silent,
    stage: str = "measuring layers",
    count: int = 1,
    rounded: Rounded | None = None,
) -> Float[np.ndarray, "L K"]:
    """Return scores (L, K) in nats: the mean of D over two anchors, the second one at the best plan so far.

    The second anchor is where layers interact as they will in the plan. Rows are known up to a constant each. Within a
    family more bits never score worse: a finer grid loses no more, the rest is noise.
    """
    board, found = Switchboard(model, choices, by_name(rounded) if rounded else None), []
    done, scores = 0, np.zeros(choices.allowed.shape)

    def step() -> None:
        nonlocal done
        done += 1
        progress(stage, done, PASSES * count)

    for _ in range(PASSES):
        found.append(board.losses(anchor, batches(), step))
        # Whoever sums the scores of a choice adds a tie's loss once for each of its members.
        scores = monotone(np.mean(found, 0), choices.names) / choices.sizes[:, None]
        anchor = solve(scores)
    return scores


def monotone(scores: Float[np.ndarray, "L K"], names: Sequence[str]) -> Float[np.ndarray, "L K"]:
    """Return scores (L, K) in which, within a family, more bits never score worse; float32 is best of all."""
    result = scores.copy()
    for k, name in enumerate(names):
        one = scheme(name)
        coarser = [
            j
            for j, other in enumerate(names)
            if j != k and (one.is_float or (scheme(other).family == one.family and scheme(other).bits < one.bits))
        ]
        if coarser:
            result[:, k] = np.fmin(scores[:, k], np.fmin.reduce(scores[:, coarser], 1))
    return np.where(np.isnan(scores), np.nan, result)
