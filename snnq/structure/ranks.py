"""At which rank a weight is decomposed: a number, a share of its energy or of its size, or what is not noise.

``vbmf`` is the rank of the global solution of empirical variational Bayesian matrix factorisation, whose noise is
found by minimising the free energy (Nakajima, Sugiyama, Babacan & Tomioka 2013, theorems 2 and 4), of the unfolding
(o, i·k·k), and of (i, o·k·k) where that has none. Weights that were not trained are noise: their rank is 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.optimize import minimize_scalar
from torch import Tensor

from snnq.base.errors import UsageError
from snnq.structure.cores import bonds, count, kept

RULES = "vbmf, energy:SHARE, ratio:TIMES, loss:TIMES or a number"


def rank_rule(text: str) -> Callable[[str, Tensor, str], int]:
    """Return what gives (name, weight, mode) its rank, of ``vbmf``, ``energy:0.9``, ``ratio:4`` or ``24``.

    Raises ``UsageError`` for another word; the rule itself does so for a weight that has no such rank.
    """
    word, _, number = text.partition(":")
    try:
        if text.isdigit() and int(text) > 0:
            return lambda name, weight, mode: min(int(text), largest(mode, weight))
        if text == "vbmf":
            return lambda name, weight, mode: min(_not_noise(name, weight), largest(mode, weight))
        if word == "energy" and 0 < float(number) <= 1:
            return lambda name, weight, mode: _of_energy(name, weight, mode, float(number))
        if word == "ratio" and 1 < float(number) < math.inf:
            return lambda name, weight, mode: _of_size(name, weight, mode, float(number))
    except ValueError:
        pass
    raise UsageError(
        f"--rank {text}: it must be {RULES}", "such as energy:0.9, or ratio:4 for a quarter of the weights"
    )


def largest(mode: str, weight: Tensor) -> int:
    """Return the rank above which no core grows."""
    rank = 3 * max(weight.shape[:2])
    return max(bonds(mode, weight.shape, rank))


def variational_rank(matrix: np.ndarray) -> int:
    """Return how many singular values of a matrix are more than noise of a variance that is not known."""
    values, (short, long) = np.linalg.svd(matrix, compute_uv=False), sorted(matrix.shape)
    if not values[0] > 0:
        return 0
    share, size = short / long, len(values)
    values = values / values[0]
    tau = 2.5129 * math.sqrt(share)
    edge = (1 + tau) * (1 + share / tau)
    beyond = min(math.ceil(short / (1 + share)), size) - 1
    rest = values[beyond:]
    least = max(values[beyond] ** 2 / (long * edge), float(np.mean(rest**2)) / long)
    most = float(np.sum(values**2)) / (short * long)
    noise = minimize_scalar(
        _free_energy, args=(values, short, long, edge), bounds=(least, most), method="bounded", options={"xatol": 1e-12}
    ).x
    return int(np.sum(values > math.sqrt(long * noise * edge)))


def _free_energy(noise: float, values: np.ndarray, short: int, long: int, edge: float) -> float:
    share, scaled = short / long, values**2 / (long * noise)
    above, below = scaled[scaled > edge], scaled[scaled <= edge]
    tau = 0.5 * (above - (1 + share) + np.sqrt((above - (1 + share)) ** 2 - 4 * share))
    parts = np.sum(below - np.log(below)) + np.sum(above - tau) + np.sum(np.log((tau + 1) / above))
    return float(parts + share * np.sum(np.log(tau / share + 1)))


def _not_noise(name: str, weight: Tensor) -> int:
    weight = weight.detach().double()
    unfoldings = weight.flatten(1), weight.transpose(0, 1).flatten(1)
    if found := next((rank for one in unfoldings if (rank := variational_rank(one.numpy()))), 0):
        return found
    raise UsageError(
        f"--rank vbmf: nothing of {name} is more than noise", "was it trained? Give --rank energy:0.9, or a number"
    )


def _of_energy(name: str, weight: Tensor, mode: str, share: float) -> int:
    low, high = 0, largest(mode, weight)
    if kept(weight, mode, high) < share:
        raise UsageError(f"--rank energy:{share:g}: {name} keeps {kept(weight, mode, high):.3f} at most by {mode}")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if kept(weight, mode, middle) >= share else (middle, high)
    return high


def within(weight: Tensor, mode: str, times: float) -> int | None:
    """Return the largest rank whose cores have at most 1/``times`` of a weight's weights; None where none has."""
    most = weight.numel() / times
    fitting = [rank for rank in range(1, largest(mode, weight) + 1) if count(mode, weight.shape, rank) <= most]
    return fitting[-1] if fitting else None


def _of_size(name: str, weight: Tensor, mode: str, times: float) -> int:
    if (rank := within(weight, mode, times)) is not None:
        return rank
    raise UsageError(
        f"--rank ratio:{times:g}: {name} has {weight.numel()} weights, its cores {count(mode, weight.shape, 1)} or more"
    )
