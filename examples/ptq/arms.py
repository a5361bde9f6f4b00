"""The arms of the experiment on post-training quantisation, and the plans they are compared under."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from snnq.plan import Plan
from snnq.reconstructing.settings import PtqSettings
from snnq.searching.uniform import uniform_plan

BASE = "awq"
# For comparison, on all training samples and their labels: the reference experiments' recipe, and finalize's own one.
# Seeds are the recipe's.
FINETUNED: dict[str, dict[str, Any]] = {"finetuned": {"epochs": 2, "batch_size": 64}, "finetuned-default": {}}
# Knobs of PtqSettings. "kept" and "off": nothing but weights changes; "on": BN statistics estimated anew once, at the
# end; "matched" and "live": norms matched block by block. tesseraq-plain is the method as published.
KEPT: dict[str, Any] = {"norms": "kept", "batchnorm": "off"}
BLOCKS = {"method": "tesseraq", "target": "both"}
ARMS: dict[str, dict[str, Any]] = {
    "rtn": {"method": "rtn", **KEPT},
    "rtn-bn": {"method": "rtn", **KEPT, "batchnorm": "on"},
    "clip": {"method": "clip", **KEPT},
    "clip-bn": {"method": "clip", **KEPT, "batchnorm": "on"},
    "awq": {"method": "awq", **KEPT},
    "awq-bn": {"method": "awq", **KEPT, "batchnorm": "on"},
    "awq-matched": {"method": "awq", "norms": "matched", "batchnorm": "off"},
    "quantease": {"method": "quantease", **KEPT},
    "quantease-matched": {"method": "quantease", "batchnorm": "off"},
    "scale-plain": {**BLOCKS, "rounding": False, **KEPT},
    "par-plain": {**BLOCKS, "scales": False, **KEPT},
    "tesseraq-plain": {**BLOCKS, **KEPT},
    "tesseraq-plain-bn": {**BLOCKS, **KEPT, "batchnorm": "on"},
    "par-live": {**BLOCKS, "scales": False, "batchnorm": "off"},
    "tesseraq-live": {**BLOCKS, "batchnorm": "off"},
    "tesseraq-live-output": {**BLOCKS, "target": "output", "batchnorm": "off"},
    "tesseraq-live-current": {**BLOCKS, "target": "current", "batchnorm": "off"},
    "tesseraq-long": {**BLOCKS, "target": "current", "steps": 50, "batchnorm": "off"},
    "adaround-live": {"method": "adaround", "batchnorm": "off"},
}


def settings_of(arm: str, seed: int, samples: int, steps: int) -> PtqSettings:
    """Return the settings of an arm; ``steps`` is that of a round."""
    return dataclasses.replace(PtqSettings(samples=samples, steps=steps, seed=seed), **ARMS[arm])


def write_plan(name: str, checkpoint: Path, sizes: dict[str, Any], out: Path) -> None:
    """Write a plan: one scheme, ``SCHEME+ends=OTHER`` with another one in the first and last layer, or a file's."""
    if Path(name).exists():
        Plan.read(name).write(out)
        return
    scheme, _, ends = name.partition("+ends=")
    plan = uniform_plan(scheme, checkpoint=checkpoint, **sizes)
    if ends:
        layers = [layer.name for layer in plan.layers]
        plan = plan.with_schemes({layers[0]: ends, layers[-1]: ends})
    plan.write(out)
