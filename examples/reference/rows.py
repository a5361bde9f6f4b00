"""The rows of the reference experiments: every way to a plan that is compared, and how each makes its plan file."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from snnq.plan import Plan
from snnq.searching.run import search as run_search
from snnq.searching.settings import SearchSettings
from snnq.searching.uniform import uniform_plan
from snnq.training.devices import Compute

BITS = 2.2
TRADE_OFFS = (0.1, 0.5, 2.0, 8.0)
UNIFORM = ("uniform-4", "uniform-2", "power-of-two-4", "power-of-two-2")
RANDOM = 3


@dataclass(frozen=True)
class Setting:
    """What one experiment is run with: the float checkpoint, data, lengths of search and finetuning, the device.

    A search measures losses on ``calibration`` samples.
    """

    checkpoint: Path
    data: str
    sizes: dict[str, Any]
    search_epochs: int
    finetune_epochs: int
    batch_size: int
    compute: Compute = field(default_factory=Compute)
    calibration: int = SearchSettings.calibration


Maker = Callable[[Setting, int, Path], object]


def uniform(scheme: str) -> Maker:
    """Return a maker of the plan with one scheme everywhere."""

    def make(setting: Setting, seed: int, out: Path) -> None:
        uniform_plan(scheme, checkpoint=setting.checkpoint, **setting.sizes).write(out)

    return make


def drawn(number: int) -> Maker:
    """Return a maker of random plan ``number`` of at most ``BITS`` bits on average: the same for every seed.

    Of all sets of layers that make ``BITS`` - 0.05 … ``BITS`` bits when these take 4 bits and the rest 2, each is drawn
    with the same chance, so that no layer is favoured for being small; then every layer a family at random.
    """

    def make(setting: Setting, seed: int, out: Path) -> None:
        draw = random.Random(number)
        plan = uniform_plan("uniform-2", checkpoint=setting.checkpoint, **setting.sizes)
        weights = np.array([math.prod(layer.shape) for layer in plan.layers])
        sets = np.arange(2 ** len(weights))[:, None] >> np.arange(len(weights)) & 1
        bits = 2 + 2 * (sets @ weights) / weights.sum()
        chosen = sets[draw.choice(np.flatnonzero((bits > BITS - 0.05) & (bits <= BITS)).tolist())]
        families = [draw.choice(("uniform", "power-of-two")) for _ in plan.layers]
        names = [layer.name for layer in plan.layers]
        schemes = {name: f"{f}-{4 if more else 2}" for name, f, more in zip(names, families, chosen, strict=True)}
        plan.with_schemes(schemes).write(out)

    return make


def searched(**knobs: Any) -> Maker:
    """Return a maker that searches with these settings."""

    def make(setting: Setting, seed: int, out: Path) -> Plan:
        settings = SearchSettings(
            seed=seed,
            epochs=setting.search_epochs,
            batch_size=setting.batch_size,
            calibration=setting.calibration,
            **knobs,
        )
        return run_search(
            setting.checkpoint,
            data=setting.data,
            out=out,
            settings=settings,
            compute=setting.compute,
            **setting.sizes,
        )

    return make


ROWS: dict[str, Maker] = {
    "float-finetuned": uniform("float32"),
    **{scheme: uniform(scheme) for scheme in UNIFORM},
    **{f"random-{number}": drawn(number) for number in range(RANDOM)},
    "sensitivity": searched(method="sensitivity", budget={"avg_bits": BITS}),
    **{f"paper-{weight:g}": searched(method="paper", trade_off=weight) for weight in TRADE_OFFS},
    "budget": searched(budget={"avg_bits": BITS}),
}
