"""``snnq.imc_map`` and ``snnq.imc_report``: what a model takes on analog arrays, counted; no data is looked at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Unpack

from snnq.assessing.arrays import array_facts
from snnq.assessing.subject import Subject, open_subject
from snnq.base.errors import UsageError
from snnq.base.strict_json import Json
from snnq.checkpoints.sizes import Given
from snnq.cost.array_facts import ArrayFacts
from snnq.hardware.crossbars.chosen import Arrays
from snnq.hardware.crossbars.mapped import (
    Line,
    Mapped,
    at_steps,
    map_model,
    membrane_shares,
    over_steps,
)
from snnq.hardware.crossbars.operands import nominal_bits
from snnq.hardware.crossbars.target import ArrayTarget
from snnq.models.registry import attention_table, build
from snnq.network.layers import Layer, frames_shape
from snnq.packed.coding import read_layer
from snnq.packed.config import read_config
from snnq.packed.opening import open_tensors
from snnq.schemes.names import FLOAT32
from snnq.schemes.scheme import scheme
from snnq.schemes.whole import Whole

WIDTHS = (32, 16, 8)
STEPS = (1, 2, 4, 8)


@dataclass(frozen=True)
class ArraySubject:
    """A model and what is needed to map it: facts, layers, their schemes, and the bits of their whole weights."""

    subject: Subject
    facts: ArrayFacts
    layers: tuple[Layer, ...]
    schemes: Mapping[str, str]
    bits: Mapping[str, int]
    target: ArrayTarget

    def mapped(
        self, *, steps: int | None = None, adc_bits: int | None = None, membrane_bits: int | None = None
    ) -> Mapped:
        """Return the model on the target; ``steps``: were it run for so many."""
        facts = self.facts if steps is None else at_steps(self.facts, steps)
        words = {"adc_bits": adc_bits, "membrane_bits": membrane_bits}
        return map_model(facts, self.layers, self.schemes, bits=self.bits, target=self.target, **words)


@dataclass(frozen=True)
class ImcMap:
    """A model on a target, layer by layer."""

    path: str
    kind: str
    mapped: Mapped

    def to_dict(self) -> Json:
        """Return plain data, ready for JSON."""
        return {"path": self.path, "kind": self.kind, **self.mapped.to_dict()}


@dataclass(frozen=True)
class ImcReport:
    """A model on a target, by component: with membranes' share of the area by their bits, and lines over T.

    ``over_steps`` is empty where nothing is known of other steps than the model's.
    """

    path: str
    kind: str
    mapped: Mapped
    membrane_shares: Mapping[int, float]
    over_steps: Mapping[str, Line]

    def to_dict(self) -> Json:
        """Return plain data, ready for JSON."""
        shares = {str(bits): share for bits, share in self.membrane_shares.items()}
        lines = {name: asdict(one) for name, one in self.over_steps.items()}
        first = {"path": self.path, "kind": self.kind, **self.mapped.to_dict()}
        return {**first, "membrane_shares": shares, "over_steps": lines}


def imc_map(path: str | Path = "packed", arrays: Arrays | None = None, **given: Unpack[Given]) -> ImcMap:
    """Return how a model lies on analog arrays, layer by layer.

    ``path``: a packed folder, a plan.json with its checkpoint, or a float checkpoint (``given``: sizes it cannot tell),
    whose weights are counted as the target's ``float_bits``. ``arrays``: the target and what of it is chosen otherwise.

    Raises MachineError for a target that there is not or that is damaged, UsageError for a device it has not, and what
    opening raises.
    """
    chosen = arrays or Arrays()
    found = on_arrays(path, chosen, **given)
    return ImcMap(str(path), found.subject.kind, found.mapped(adc_bits=chosen.adc_bits))


def imc_report(
    path: str | Path = "packed",
    arrays: Arrays | None = None,
    *,
    membrane_bits: int | None = None,
    **given: Unpack[Given],
) -> ImcReport:
    """Return energy, time and area of a model on analog arrays, by component.

    The words are those of ``imc_map``; ``membrane_bits``: of a neuron's potential. Energy and time against 1, 2, 4 and
    8 steps (times an attention's chunk, or a clip's segment) come from the same counts; there are none of a model that
    runs for its own steps alone.
    """
    chosen = arrays or Arrays()
    if membrane_bits is not None and not 1 <= membrane_bits <= 64:
        raise UsageError(f"--membrane-bits {membrane_bits}: it is 1 to 64")
    found = on_arrays(path, chosen, **given)
    words = {"adc_bits": chosen.adc_bits, "membrane_bits": membrane_bits}
    whole = found.mapped(**words)
    steps = sorted({one * found.facts.least for one in STEPS} | {found.facts.steps})
    lines = over_steps({one: found.mapped(steps=one, **words) for one in steps}) if found.facts.scales else {}
    return ImcReport(str(path), found.subject.kind, whole, membrane_shares(whole, found.target, WIDTHS), lines)


def on_arrays(path: str | Path, arrays: Arrays, **given: Unpack[Given]) -> ArraySubject:
    """Return a model with what is needed to map it; raises as ``imc_map``."""
    chip = arrays.chip()
    subject = open_subject(path, plans=True, **given)
    model, shape, plan = build(subject.architecture, subject.config), frames_shape(subject.config), subject.plan
    layers = subject.layers(model)
    products = attention_table(subject.architecture, subject.config)
    words = {"target": str(arrays.target), "cells": arrays.cells, "dynamic": arrays.dynamic, "chip": chip}
    facts = array_facts(model, layers, products, shape, **words)
    if all(one.largest is None for one in facts.layers):
        raise UsageError(f"{path}: every layer is given real numbers, no array can run one")
    schemes = {one.name: one.scheme for one in plan.layers} if plan else {one.name: FLOAT32 for one in layers}
    bits = packed_bits(subject.path, facts) if subject.kind == "packed" else {}
    return ArraySubject(subject, facts, layers, schemes, bits, chip)


def packed_wholes(folder: Path, facts: ArrayFacts) -> dict[str, Whole]:
    """Return the whole weights of the quantised layers of a packed folder that lie in cells, by name."""
    config, found = read_config(folder), {}
    file = open_tensors(folder, config)
    for one in facts.layers:
        layer = config.layers[one.name]
        if one.largest is not None and layer.scheme != FLOAT32:
            found[one.name] = scheme(layer.scheme).whole(read_layer(one.name, layer, file), one.largest)
    return found


def packed_bits(folder: Path, facts: ArrayFacts) -> dict[str, int]:
    """Return the bits of the largest whole weight of each such layer, at least those its scheme names."""
    config = read_config(folder)
    return {
        name: max(int(abs(whole.values).max()).bit_length(), nominal_bits(config.layers[name].scheme, 8))
        for name, whole in packed_wholes(folder, facts).items()
    }
