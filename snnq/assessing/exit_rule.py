"""Which threshold of entropy: accuracy and mean steps under every one that makes a difference, on known logits."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from snnq.runtime.exits import entropies, first_sure


@dataclass(frozen=True)
class Answers:
    """Logits float32 (N, answers, classes) after the steps ``after``, and the labels int64 (N,) of the samples."""

    logits: np.ndarray
    labels: np.ndarray
    after: tuple[int, ...]

    @property
    def right(self) -> np.ndarray:
        """Whether each answer is right, bool (N, answers)."""
        return self.logits.argmax(-1) == self.labels[:, None]

    def exits(self, threshold: float) -> np.ndarray:
        """Return at which of the answers each sample ends, int (N,)."""
        return first_sure(entropies(self.logits), threshold)


@dataclass(frozen=True)
class Ladder:
    """All thresholds that make a difference, ascending; how many samples are right, and steps in all, under each."""

    thresholds: np.ndarray
    right: np.ndarray
    steps: np.ndarray


def ladder(found: Answers) -> Ladder:
    """Return the thresholds from 0, where every sample takes all steps, to above the largest entropy.

    A sample ends at answer a instead of a + 1 where θ passes the least of its entropies up to a. So each of these is
    one event, and sums of them in their order are exact for every θ.
    """
    right, after = found.right.astype(np.int64), np.array(found.after)
    least = np.minimum.accumulate(entropies(found.logits)[:, :-1], 1)
    places = np.argsort(least, axis=None, kind="stable")
    change, sooner = (right[:, :-1] - right[:, 1:]).ravel(), np.broadcast_to(np.diff(after), least.shape).ravel()
    values = least.ravel()[places]
    last = np.append(np.diff(values) > 0, True)[: len(values)]  # of equal entropies all count at once
    gained, saved = np.cumsum(change[places])[last], np.cumsum(sooner[places])[last]
    above = np.append(values[last][1:], 1.0)
    middles = np.maximum((values[last] + above) / 2, np.nextafter(values[last], 2.0))
    return Ladder(
        np.append(0.0, middles),
        right[:, -1].sum() + np.append(0, gained),
        len(right) * after[-1] - np.append(0, saved),
    )


def choose(found: Answers, loss: float) -> float:
    """Return the threshold of the fewest steps among those that lose at most ``loss`` (0 … 1) of accuracy."""
    known = ladder(found)
    least = int(known.right[0]) - math.floor(loss * len(found.labels) + 1e-9)
    (good,) = np.nonzero(known.right >= least)
    return float(known.thresholds[good[-1]])
