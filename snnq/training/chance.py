"""Whether a model was trained on the data it is given: its accuracy beside chance, and with its outputs reordered.

What is found is logged, so that it is said before the hours, not after them.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from shlex import quote

import numpy as np
from torch import Tensor

from snnq.data import DataSet

_LOG = logging.getLogger(__name__)
# One-sided error of every test here.
_ALPHA = 1e-3
# Cohen's κ up to which agreement is called slight (Landis & Koch 1977).
_SLIGHT = 0.2
_SHOWN = 12


@dataclass(frozen=True)
class Order:
    """Another order of a model's outputs: ``outputs[i]`` stands for class i, with which ``accuracy`` (0 … 1) is right.

    ``spec`` is the data spec that gives the classes this order, or None.
    """

    outputs: tuple[int, ...]
    accuracy: float
    spec: str | None = None


def say_fit(logits: Tensor, data: DataSet) -> None:
    """Log the float model's validation accuracy from its logits (N, classes); warnings as ``warn_misfit``."""
    labels = data.validation.labels
    if data.labels == "float model":
        _LOG.warning(
            "%s has no labels: the float model's own answers stand for them, and accuracies say how often they are "
            "given again",
            data.spec,
        )
        return
    right = float((logits.argmax(1).numpy() == labels).mean())
    said = f"Float model: right on {right:.2%} of {len(labels)} validation samples (chance: {chance(labels):.2%})."
    _LOG.info("%s", said)
    warn_misfit(logits, data, "validation", "the float model")


def warn_misfit(logits: Tensor, data: DataSet, split: str, model: str) -> None:
    """Log a warning where a model's logits (N, classes) are near chance, or better with its outputs reordered."""
    labels, guesses = np.asarray(getattr(data, split).labels), logits.argmax(1).numpy()
    found = f"{model} is right on {(guesses == labels).mean():.2%} of {len(labels)} {split} samples"
    order = better_order(guesses, labels, data)
    if order is not None:
        _LOG.warning("%s; with its outputs in another order on %s", found, _advice(order, data))
    elif near_chance(guesses == labels, chance(labels)):
        _LOG.warning("%s, near chance (%s): was it trained on %s?", found, f"{chance(labels):.2%}", data.spec)


def chance(labels: np.ndarray) -> float:
    """Return the accuracy of always guessing the most frequent class of labels (N,)."""
    return float(np.bincount(labels).max() / len(labels))


def near_chance(right: np.ndarray, guessing: float) -> bool:
    """Return whether right answers, booleans (N,), are little better than guessing, or not shown to be better at all.

    Little: κ = (a − c) / (1 − c) ≤ 0.2 of accuracy a and chance c. Not shown: a binomial test of a > c at 0.001.
    """
    if guessing >= 1:
        return False
    shown = _at_least(int(right.sum()), len(right), guessing) <= _ALPHA
    return bool(not shown or (right.mean() - guessing) / (1 - guessing) <= _SLIGHT)


def _at_least(count: int, of: int, probability: float) -> float:
    """Return the probability that at least ``count`` of so many independent events happen (binomial)."""
    from scipy.special import bdtrc

    return float(bdtrc(count - 1, of, probability)) if count > 0 else 1.0


def better_order(guesses: np.ndarray, labels: np.ndarray, data: DataSet) -> Order | None:
    """Return an order of the outputs that is right more often on guesses and labels (N,), if that is beyond doubt.

    Orders that the data's source can give come first. Any other is found on one half of the samples and scored on the
    other, each half once, so that what fits by accident gains nothing. It must not be near chance, and better than the
    outputs as they are by a sign test over the samples (McNemar) at 0.001.
    """
    own, guessing = guesses == labels, chance(labels)
    if 0.5 ** int((~own).sum()) > _ALPHA:  # too few are wrong for any order to be better beyond doubt
        return None
    for spec, classes in data.other_orders.items():
        outputs = np.array([classes.index(name) for name in data.classes])
        if _beyond_doubt(guesses == outputs[labels], own, guessing):
            return Order(tuple(outputs.tolist()), float((guesses == outputs[labels]).mean()), spec)
    fold = np.empty(len(labels), np.int64)
    fold[np.argsort(labels, kind="stable")] = np.arange(len(labels)) % 2
    right = np.zeros(len(labels), bool)
    for half in (0, 1):
        outputs = _best_order(guesses[fold != half], labels[fold != half], len(data.classes))
        right[fold == half] = (guesses == outputs[labels])[fold == half]
    if not _beyond_doubt(right, own, guessing):
        return None
    return Order(tuple(_best_order(guesses, labels, len(data.classes)).tolist()), float(right.mean()))


def _best_order(guesses: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Return for each class the output (classes,) with which most samples are right: an assignment problem."""
    from scipy.optimize import linear_sum_assignment

    counts = np.bincount(labels * classes + guesses, minlength=classes * classes).reshape(classes, classes)
    return linear_sum_assignment(counts, maximize=True)[1]


def _beyond_doubt(right: np.ndarray, own: np.ndarray, guessing: float) -> bool:
    gained, lost = int((right & ~own).sum()), int((own & ~right).sum())
    return _at_least(gained, gained + lost, 0.5) <= _ALPHA and not near_chance(right, guessing)


def _advice(order: Order, data: DataSet) -> str:
    if order.spec is not None:
        return f"{order.accuracy:.2%}: take --data {quote(order.spec)}"
    moved = sorted((output, data.classes[label]) for label, output in enumerate(order.outputs) if output != label)
    shown = ", ".join(f"output {output} is class '{name}'" for output, name in moved[:_SHOWN])
    return f"{order.accuracy:.2%}: it was trained with other labels ({shown}{', …' if len(moved) > _SHOWN else ''})"
