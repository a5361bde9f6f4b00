"""``snnq quantise-activations``: whole-number activations of a network, or part, that does not spike."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Unpack

import torch
from torch import Tensor, nn

from snnq.base.errors import OutputExistsError, UsageError
from snnq.base.progress import Progress, silent
from snnq.base.strict_json import Config
from snnq.checkpoints.opening import load_model, save_checkpoint
from snnq.checkpoints.sizes import Given
from snnq.network.layers import Layer
from snnq.network.tracing import seeing
from snnq.structure.activations import ACTIVATIONS, BITS, RANGE, best_range
from snnq.structure.edits import apply_edits
from snnq.training.devices import Compute, as_compute, placed, start_fabric
from snnq.training.evaluation import evaluate
from snnq.training.job import Job, open_job
from snnq.training.threads import keeps_threads, use_threads

_KEPT = 2**15  # activations of a layer that are looked at
_BATCH = 8


@dataclass(frozen=True)
class QuantisedInput:
    """A layer whose activations are quantised: their bits, whether any is negative, and the range r."""

    name: str
    bits: int
    signed: bool
    range: float


@dataclass(frozen=True)
class QuantisedActivations:
    """A written checkpoint, its quantised layers, and the validation accuracy (0 … 1) before and after."""

    out: str
    layers: tuple[QuantisedInput, ...]
    samples: int
    validation_before: float
    validation: float


@keeps_threads
def quantise_activations(
    checkpoint: str | Path,
    *,
    data: str | None = None,
    bits: int = 8,
    layers: str | None = None,
    samples: int = 64,
    out: str | Path,
    compute: Compute | str = "auto",
    force: bool = False,
    progress: Progress = silent,
    **given: Unpack[Given],
) -> QuantisedActivations:
    """Write a float checkpoint whose layers get activations of ``bits`` bits, in ranges that are learned later.

    By default these are all layers that are given activations of a part that does not spike; ``layers`` names some of
    them, by patterns with commas between. Each range has the least squared error on ``samples`` training samples, and
    is trained with the weights by whatever finetunes the checkpoint. Nothing is trained here.

    Raises UsageError for layers that are given spikes or are not there, OutputExistsError, and what opening raises.
    """
    if os.path.lexists(out) and not force:
        raise OutputExistsError(f"{out} is already there", "add --force to overwrite it, or name another --out")
    if not BITS[0] <= bits <= BITS[1] or samples < 1:
        raise UsageError(f"--bits {bits}, --samples {samples}: {BITS[0]} to {BITS[1]} bits, and at least 1 sample")
    job, compute = open_job(checkpoint, data, progress, **given), as_compute(compute)
    names = _chosen(job.layers, layers)
    use_threads(compute, job.macs(_BATCH))
    model, validation = placed(load_model(job.checkpoint), start_fabric(compute).device), job.data.validation
    before = evaluate(model, validation, 4 * _BATCH, progress, "as given, on validation").accuracy
    model, made = _quantised(model, _inputs(job, model, names, samples, progress), bits)
    after = evaluate(model, validation, 4 * _BATCH, progress, "quantised, on validation").accuracy
    facts = {"data": job.data.spec}
    save_checkpoint(out, model, architecture=job.checkpoint.architecture, facts=facts, overwrite=force)
    return QuantisedActivations(str(out), made, min(samples, len(job.data.train)), before, after)


def _quantised(model: nn.Module, seen: Mapping[str, Tensor], bits: int) -> tuple[nn.Module, tuple[QuantisedInput, ...]]:
    """Return the model whose layers quantise activations such as those ``seen``, and how."""
    signs = {name: bool((values < 0).any()) for name, values in seen.items()}
    edit: Config = {
        "edit": ACTIVATIONS, "layers": {name: {"bits": bits, "signed": signed} for name, signed in signs.items()}
    }  # fmt: skip
    model, made = apply_edits(model, [edit]), []
    for name, values in seen.items():
        log_range = best_range(values, bits, signs[name])
        with torch.no_grad():
            model.get_submodule(name).get_parameter(RANGE).fill_(log_range)
        made.append(QuantisedInput(name, bits, signs[name], math.exp(log_range)))
    return model, tuple(made)


def _chosen(table: tuple[Layer, ...], patterns: str | None) -> list[str]:
    """Return the layers to quantise; raises UsageError where there is none, and for one that is given spikes."""
    dense = [one.name for one in table if one.input == "activations"]
    if patterns is None:
        if not dense:
            raise UsageError("no layer is given activations: every part of this model spikes", "there is nothing to do")
        return dense
    named = [one for one in table if any(fnmatchcase(one.name, each) for each in patterns.split(","))]
    if wrong := [one for one in named if one.name not in dense]:
        raise UsageError(f"--layers {patterns}: {wrong[0].name} is given {wrong[0].input}, no activations")
    if not named:
        raise UsageError(f"--layers {patterns}: no layer is called that", f"such as {', '.join(dense[:3])}")
    return [one.name for one in named]


@torch.no_grad()
def _inputs(job: Job, model: nn.Module, names: list[str], samples: int, progress: Progress) -> dict[str, Tensor]:
    """Return some of what each layer is given on training samples, spread evenly over what there is."""
    count = min(samples, len(job.data.train))
    places = [index * len(job.data.train) // count for index in range(count)]
    batches = [places[at : at + _BATCH] for at in range(0, count, _BATCH)]
    found: dict[str, list[Tensor]] = {name: [] for name in names}

    def keep(name: str, layer: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
        values = given[0].flatten()
        stride = max(1, values.numel() * len(batches) // _KEPT)
        kept = values[::stride]
        found[name].append(torch.cat([kept, values.min()[None], values.max()[None]]))

    with seeing({name: model.get_submodule(name) for name in names}, keep):
        for number, batch in enumerate(batches, start=1):
            model(job.data.train.__getitems__(batch)[0].to(next(model.parameters()).device))
            progress("looking at activations", number, len(batches))
    return {name: torch.cat(parts) for name, parts in found.items()}
