"""Every knob of the search, with the values that were found to work."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from snnq.base.errors import UsageError, nearest
from snnq.base.parsing import check_once, check_seed
from snnq.schemes.names import PAPER_SPACE
from snnq.schemes.scheme import allowed, scheme
from snnq.searching.budget import exact, parse_budget
from snnq.searching.constraints import Constraints, parse_lists, parse_locks, parse_space

# Those that train nothing score every layer and scheme with the checkpoint's weights.
UNTRAINED = ("sensitivity", "hessian", "drift", "random")
METHODS = ("differentiable", "paper", "rate", "halving", *UNTRAINED)
# Their summed scores estimate a loss in nats. The others' order plans of one budget and have no unit.
LOSSES = ("differentiable", "rate", "sensitivity", "hessian")
# Their scores are no nats, or plans of equal cost are wanted: a trade-off would weigh nothing against them.
BUDGETED = ("halving", "drift", "random")
# What a layer trained to a rate is made of, where no space is given.
RATE_SPACE = ("uniform-4",)


@dataclass(frozen=True)
class SearchSettings:
    """Settings of a search.

    ``method``: ``differentiable`` trains the mixture and chooses by measured losses; ``paper`` is the paper's plain
    form (one-hot samples, every layer its most probable scheme); ``rate`` trains coded bits, at one price for all
    layers; ``halving`` finetunes candidate plans shortly and keeps the better half. ``UNTRAINED`` ones train nothing.
    ``trade_off`` is λ of L = CE + λ · E/E_float32, ``trade_offs`` replace it for layers by pattern; a ``budget``, the
    limits of quantities of ``Totals``, replaces both. ``space`` are the candidates of layers that ``constraints`` give
    no others: the paper's, or ``RATE_SPACE``, unless any are given.

    Latent weights: AdamW, learning rate from ``rate_start`` to ``rate_peak`` and down a cosine to ``rate_floor``
    [paper]. Architecture parameters: Adam with ``architecture_rate`` and β₁ = 0.5, one step on the validation split
    every ``architecture_every`` weight steps. The Gumbel temperature falls exponentially from ``temperature_high`` to
    ``temperature_low``. Every ``refresh_every`` weight steps the candidates' scales follow the weights. A layer counts
    as decided when one scheme has the share ``decided_at``. Measured losses stand on ``calibration`` samples.
    ``reconstruct``: for ``sensitivity``, the passes in which each layer's levels under each scheme are chosen for its
    outputs before its loss is measured (0: weights go to the nearest level).
    """

    method: str = "differentiable"
    trade_off: float = 0.5
    trade_offs: tuple[tuple[str, float], ...] = ()
    budget: dict[str, float] | None = None
    space: tuple[str, ...] = ()
    constraints: Constraints = field(default_factory=Constraints)
    epochs: int = 12
    batch_size: int = 32
    seed: int = 0
    rate_start: float = 1e-4
    rate_peak: float = 1e-3
    rate_floor: float = 1e-5
    weight_decay: float = 0.01
    architecture_rate: float = 0.05
    architecture_every: int = 2
    temperature_high: float = 5.0
    temperature_low: float = 0.1
    refresh_every: int = 50
    decided_at: float = 0.9
    calibration: int = 256
    reconstruct: int = 0

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise UsageError(f"--method {self.method}: allowed are {', '.join(METHODS)}{nearest(self.method, METHODS)}")
        if not self.space:
            object.__setattr__(self, "space", RATE_SPACE if self.method == "rate" else PAPER_SPACE)
        if self.method == "paper" and self.budget:
            raise UsageError("--method paper takes a trade-off, not a budget", "drop --method to search for a budget")
        if self.method in BUDGETED and not self.budget:
            raise UsageError(f"--method {self.method} takes a budget, not a trade-off", "add --budget avg-bits=1.2")
        if self.method == "rate" and self.trade_offs:
            raise UsageError(
                f"--trade-off {self.trade_offs[0][0]}=…: --method rate has one price for all layers",
                "give one number, or a --budget",
            )
        if self.reconstruct < 0 or (self.reconstruct and self.method != "sensitivity"):
            raise UsageError(
                f"--reconstruct {self.reconstruct}: a number of passes, for --method sensitivity only",
                "add --method sensitivity, or drop --reconstruct",
            )
        for value in (self.trade_off, *(value for _, value in self.trade_offs)):
            if not 0 <= value < math.inf:
                raise UsageError(f"--trade-off is {value:g}, it must be a number of at least 0")
        check_seed(self.seed)
        if self.epochs < 1 or self.batch_size < 2 or self.calibration < 2:
            raise UsageError(
                f"--epochs {self.epochs}, --batch-size {self.batch_size}, --calibration {self.calibration}: "
                "at least 1, 2 and 2 are needed"
            )
        self._check_space()

    def _check_space(self) -> None:
        names = [scheme(name).name for name in self.space]
        fewest = 1 if self.method == "rate" else 2
        if len(set(names)) != len(names) or len(names) < fewest:
            what = "different schemes" if fewest == 1 else "two or more different schemes"
            raise UsageError(f"--space {','.join(self.space)}: give {what} out of {allowed()}")

    def words(self) -> tuple[str, ...]:
        """Return what is typed on the command line for these settings, as ``parse_settings`` reads it."""
        plain, one = SearchSettings(), self.constraints
        words = [] if self.method == plain.method else ["--method", self.method]
        words += ["--reconstruct", str(self.reconstruct)] if self.reconstruct else []
        for quantity, limit in (self.budget or {}).items():
            words += ["--budget", exact(quantity, limit)]
        if not self.budget:
            weights = [repr(self.trade_off), *(f"{pattern}={value!r}" for pattern, value in self.trade_offs)]
            words += [word for weight in weights for word in ("--trade-off", weight)]
        for schemes in (",".join(self.space), *(f"{pattern}={','.join(names)}" for pattern, names in one.spaces)):
            words += ["--space", schemes]
        words += [word for pattern, scheme in one.locks for word in ("--lock", f"{pattern}={scheme}")]
        words += [word for pattern in one.excludes for word in ("--exclude", pattern)]
        words += [word for tie in one.ties for word in ("--tie", ",".join(tie))]
        words += ["--epochs", str(self.epochs), "--batch-size", str(self.batch_size), "--seed", str(self.seed)]
        return tuple(words)


def parse_settings(
    *,
    budget: Sequence[str] = (),
    trade_off: Sequence[str] = (),
    space: Sequence[str] = (),
    lock: Sequence[str] = (),
    exclude: Sequence[str] = (),
    tie: Sequence[str] = (),
    **given: Any,
) -> SearchSettings:
    """Return the settings that the words of a command line mean; what is given as None takes its default.

    Raises UsageError naming the option and what is allowed.
    """
    everywhere, spaces = parse_space(space)
    flat = tuple(pattern for one in parse_lists(exclude) for pattern in one)
    weight, weights = _parse_trade_off(trade_off)
    if budget and trade_off:
        raise UsageError("--budget and --trade-off exclude each other: a budget's price is found by the search")
    facts = given | {"space": everywhere, "trade_off": weight, "budget": parse_budget(budget) or None}
    return SearchSettings(
        trade_offs=weights,
        constraints=Constraints(spaces, parse_locks(lock), flat, parse_lists(tie)),
        **{key: value for key, value in facts.items() if value is not None},
    )


def _parse_trade_off(texts: Sequence[str]) -> tuple[float | None, tuple[tuple[str, float], ...]]:
    """Read ``--trade-off`` values, a number or ``pattern=number``: that of all layers (None), and exceptions."""
    everywhere, others = None, []
    for text in (part for one in texts for part in one.split(",")):
        pattern, equals, number = text.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            raise UsageError(f"--trade-off {text}: give a number, or PATTERN=number, such as tokenizer=1.0") from None
        if equals:
            others.append((pattern.strip(), value))
        elif everywhere is not None:
            raise UsageError(f"--trade-off {everywhere:g} and {value:g}: one for all layers is given twice")
        else:
            everywhere = value
    check_once((pattern for pattern, _ in others), "--trade-off")
    return everywhere, tuple(others)
