"""Two models on the same samples: whether one is better, or so many samples cannot tell.

Accuracies are compared by McNemar's exact test on the samples that only one of the two gets right, with Tango's score
interval of the difference; mean losses by a paired bootstrap. Everything is deterministic.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from pydantic import PositiveInt, model_validator

from snnq.base.validation import Many, Record

LEVEL, Z = 0.05, 1.959963984540054  # 95 % intervals, two-sided
RESAMPLES = 4000
_DIGITS = 4  # of a kept loss: far finer than what a mean over samples can tell
_CHUNK = 2**22


class PerSample(Record):
    """What a model did on every sample of a split, in the split's order.

    ``right``: a bit a sample, 1 for a right answer, as hexadecimal digits, the first sample highest. ``losses``:
    cross-entropies in nats to four digits; None where one was not finite.
    """

    samples: PositiveInt
    right: str
    losses: Many[float] | None = None

    @model_validator(mode="after")
    def _as_many_as_samples(self) -> PerSample:
        try:
            held = len(bytes.fromhex(self.right))
        except ValueError:
            raise ValueError("'right' should be hexadecimal digits") from None
        if held != -(-self.samples // 8) or (self.losses is not None and len(self.losses) != self.samples):
            raise ValueError(f"'right' and 'losses' should be those of {self.samples} samples")
        return self

    @classmethod
    def of(cls, right: np.ndarray, losses: np.ndarray) -> PerSample:
        """Return the record of right answers (N,) bool and losses (N,)."""
        kept = tuple(float(f"{loss:.{_DIGITS}g}") for loss in losses) if np.isfinite(losses).all() else None
        return cls(samples=len(right), right=np.packbits(right).tobytes().hex(), losses=kept)

    def answers(self) -> np.ndarray:
        """Return whether each sample's answer is right, (N,) bool."""
        return np.unpackbits(np.frombuffer(bytes.fromhex(self.right), np.uint8))[: self.samples].astype(bool)


class Difference(Record):
    """A model minus another one on the same samples.

    ``only_this`` and ``only_other``: samples that one of them alone gets right. ``loss`` is the mean difference in
    nats, ``loss_low`` to ``loss_high`` its 95 % interval; None where losses were not kept.
    """

    samples: PositiveInt
    only_this: int
    only_other: int
    loss: float | None = None
    loss_low: float | None = None
    loss_high: float | None = None

    @property
    def accuracy(self) -> float:
        """The difference of the accuracies, −1 … 1."""
        return (self.only_this - self.only_other) / self.samples

    @property
    def accuracy_p(self) -> float:
        """The probability of so uneven a split or more if both are as often right: McNemar's exact test."""
        return mcnemar(self.only_this, self.only_other)

    @property
    def accuracy_interval(self) -> tuple[float, float]:
        """Tango's 95 % interval of ``accuracy``, drawn to 0 where the exact test cannot exclude it."""
        low, high = tango(self.only_this, self.only_other, self.samples)
        return (low, high) if self.accuracy_p < LEVEL else (min(low, 0.0), max(high, 0.0))

    @property
    def more_accurate(self) -> int:
        """1 where this model is right more often beyond chance, −1 where the other is, 0 where it cannot be told."""
        return int(np.sign(self.accuracy)) if self.accuracy_p < LEVEL else 0

    @property
    def lower_loss(self) -> int:
        """1 where this model's loss is lower beyond chance, −1 where the other's is, 0 where it cannot be told."""
        if self.loss_low is None or self.loss_high is None:
            return 0
        return int(self.loss_high < 0) - int(self.loss_low > 0)


def difference(this: PerSample | None, other: PerSample | None) -> Difference | None:
    """Return a model minus another one; None unless both were kept, of equally many samples."""
    if this is None or other is None or this.samples != other.samples:
        return None
    ours, theirs = this.answers(), other.answers()
    counts = {"only_this": int((ours & ~theirs).sum()), "only_other": int((theirs & ~ours).sum())}
    if this.losses is None or other.losses is None:
        return Difference(samples=this.samples, **counts)
    each = np.array(this.losses) - np.array(other.losses)
    low, high = bootstrap(each)
    return Difference(samples=this.samples, **counts, loss=float(each.mean()), loss_low=low, loss_high=high)


def mcnemar(only_this: int, only_other: int) -> float:
    """Return the p value of McNemar's exact test: twice the binomial tail of n = b + c at one half, at most 1."""
    n, few = only_this + only_other, min(only_this, only_other)
    logs = (math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) - n * math.log(2) for k in range(few + 1))
    return min(1.0, 2 * math.fsum(map(math.exp, logs)))


def tango(only_this: int, only_other: int, samples: int) -> tuple[float, float]:
    """Return the 95 % score interval of a paired difference of proportions (Tango 1998, Statist. Med. 17).

    It holds every δ with |b − c − N δ| ≤ z · √(N (2 q + δ − δ²)), q the maximum-likelihood share of c at that δ.
    """
    b, c, n = only_this, only_other, samples

    def excess(delta: float) -> float:
        linear = b + c - delta * (2 * n - b + c)
        share = (linear + math.sqrt(max(0.0, linear**2 + 8 * n * c * delta * (1 - delta)))) / (4 * n)
        spread = math.sqrt(max(0.0, n * (2 * share + delta - delta**2)))
        return abs(b - c - n * delta) - Z * spread

    middle = (b - c) / n
    return _edge(excess, middle, -1.0), _edge(excess, middle, 1.0)


def _edge(excess: Callable[[float], float], inside: float, outside: float) -> float:
    """Return where ``excess`` turns positive between a point of the interval and the end of what is possible."""
    for _ in range(60):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if excess(middle) <= 0 else (inside, middle)
    return inside


def bootstrap(each: np.ndarray) -> tuple[float, float]:
    """Return the 95 % percentile interval of the mean of paired differences (N,), resampled with a fixed seed."""
    draw, n, means = np.random.default_rng(0), len(each), []
    for begin in range(0, RESAMPLES, rows := max(1, _CHUNK // n)):
        chosen = draw.integers(0, n, (min(rows, RESAMPLES - begin), n))
        means.append(each[chosen].mean(1))
    low, high = np.quantile(np.concatenate(means), [LEVEL / 2, 1 - LEVEL / 2])
    return float(low), float(high)


def wilson(share: float, samples: int) -> tuple[float, float]:
    """Return the 95 % interval of a proportion (Wilson 1927): of one model alone, where nothing is paired."""
    weight = Z**2 / samples
    middle = (share + weight / 2) / (1 + weight)
    reach = Z * math.sqrt(share * (1 - share) / samples + weight / (4 * samples)) / (1 + weight)
    return max(0.0, middle - reach), min(1.0, middle + reach)
