"""How far membrane potentials drift where a layer takes another scheme: a score that looks at neurons, not at logits.

    d_lk = mean over the neurons' layers of  mean (v − v_float)² / θ²

with v the potentials after every time step and θ the threshold, of the float model with layer l under scheme k, on
calibration samples with BN in batch statistics. Source: the membrane potential drift by which AQ4SViT gates its
candidates (Putra et al. 2026, arXiv:2606.15523); that thresholds divide it, and that a budget's integer programme adds
it over layers, is ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from snnq.base.progress import Progress
from snnq.network.neurons import is_neuron
from snnq.network.tracing import seeing
from snnq.searching.judging import Judge, rounding_prior
from snnq.searching.measuring import Switchboard, monotone
from snnq.searching.rounding import by_name
from snnq.training import processes
from snnq.training.transfers import fetched

if TYPE_CHECKING:
    from jaxtyping import Float

_Potentials = dict[str, list[Tensor]]


@torch.no_grad()
def drift(judge: Judge, progress: Progress) -> Float[np.ndarray, "L K"]:
    """Return scores (L, K), NaN where a layer may not take a scheme: no nats, but drifts to be weighed by a budget."""
    choices, board = judge.choices, Switchboard(judge.floats, judge.choices, by_name(judge.nearest(judge.floats)))
    own = [layer.get_parameter("weight").detach().clone() for layer in board.layers]
    total, count = np.full(choices.allowed.shape, np.nan), 0
    total[choices.allowed] = 0
    with _watched(board.model) as potentials:
        for frames, _ in judge.batches():
            potentials.clear()
            board.replay.record(frames)
            floats, found, places = dict(potentials), [], []
            for group in range(choices.groups):
                members = choices.members(group)
                first = min(board.replay.position(board.layers[i]) for i in members)
                for k in np.flatnonzero(choices.allowed[members[0]]):
                    potentials.clear()
                    for i in members:
                        board.set(i, int(k))
                    board.replay.run(frames, first)
                    found.append(_drifted(potentials, floats, frames))
                    places.append((members, k))
                for i in members:
                    board.layers[i].get_parameter("weight").data.copy_(own[i])
            for (members, k), value in zip(places, fetched(found), strict=True):
                total[members, k] += value
            count += 1
            progress("measuring drift", count, len(judge.order))
    # The members of a tie share what they do together: the integer programme adds their rows.
    found = processes.mean(torch.from_numpy(total)).numpy() / count / choices.sizes[:, None]
    return monotone(found + rounding_prior(judge.floats, choices, judge.nearest(judge.floats)), choices.names)


def _drifted(found: _Potentials, floats: _Potentials, like: Tensor) -> Float[Tensor, ""]:
    """Return the mean over all neurons' layers, (); what was replayed did not drift."""
    parts = [
        torch.stack([(v - own).square().mean() for v, own in zip(values, floats[name], strict=True)]).mean()
        for name, values in found.items()
    ]
    return (torch.stack(parts).sum() if parts else like.new_zeros(())) / len(floats)


@contextmanager
def _watched(model: nn.Module) -> Iterator[_Potentials]:
    """Yield what every neuron's layer, by name, has computed since it was cleared: potentials over the threshold after
    each time step, or the currents of neurons that keep none."""
    found: _Potentials = {}
    neurons: list[tuple[str, Any]] = [(name, one) for name, one in model.named_modules() if is_neuron(one)]
    keeping = [(one, one.store_v_seq) for _, one in neurons if hasattr(one, "store_v_seq") and one.step_mode == "m"]

    def note(name: str, one: Any, given: tuple[Tensor, ...], output: object) -> None:
        value = one.v_seq if getattr(one, "store_v_seq", False) else getattr(one, "v", None)
        if getattr(one, "store_v_seq", False):
            one.v_seq = None  # so that the next call, if it is replayed, has none
            if value is None:
                return
        value = value if isinstance(value, Tensor) else given[0]
        found.setdefault(name, []).append(value.detach().float() / float(getattr(one, "v_threshold", 1.0)))

    for one, _ in keeping:
        one.store_v_seq = True
    try:
        with seeing(dict(neurons), note):
            yield found
    finally:
        for one, before in keeping:
            one.store_v_seq = before
