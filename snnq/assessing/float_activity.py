"""What a float model does on training samples, measured once: what plans are priced with by events.

The activity lies in the cache as ``activity/<sha256 of all it depends on>.json``. Labels are not looked at, and of the
validation and test splits nothing is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import torch

from snnq.assessing.arrays import array_facts
from snnq.assessing.measure import SAMPLES, floats_of, measure_model
from snnq.base.files import read_text, write_atomic
from snnq.base.progress import Progress, silent
from snnq.base.strict_json import strict_json
from snnq.checkpoints.opening import load_model
from snnq.cost.activity import Activity, FloatActivity
from snnq.cost.quantities import declared
from snnq.cost.table import CostTable
from snnq.data.cache import cache_root, content_hash
from snnq.models.registry import attention_table
from snnq.network.layers import frames_shape
from snnq.training import processes
from snnq.training.devices import placed
from snnq.training.job import Job

_SPLIT = "train"
_VERSION = 1  # of how it is measured


def needs_activity(keys: Iterable[str]) -> bool:
    """Return whether a budget's keys limit anything that is known only where activity is measured."""
    return _limits(keys, "activity")


def needs_arrays(keys: Iterable[str]) -> bool:
    """Return whether a budget's keys limit anything that is known only of a model on analog arrays."""
    return _limits(keys, "arrays")


def _limits(keys: Iterable[str], needs: str) -> bool:
    return not {key for one in declared() if one.needs == needs for key in one.keys}.isdisjoint(keys)


def priced_for(
    table: CostTable, budget: Iterable[str], job: Job, device: torch.device, progress: Progress = silent
) -> CostTable:
    """Return the table on what a job's float model does and on its arrays, where the budget's keys need them."""
    if needs_arrays(budget) and table.arrays is None:
        opened = job.checkpoint
        products = attention_table(opened.architecture, opened.config)
        facts = array_facts(job.model, job.layers, products, frames_shape(opened.config), target=table.imc_target)
        table = table.on_arrays(facts)
    if not needs_activity(budget) or table.floats is not None:
        return table
    return table.on(float_activity(job, device, zeros=table.events.skips_zeros, progress=progress))


def float_activity(
    job: Job, device: torch.device, samples: int = SAMPLES, *, zeros: bool, progress: Progress = silent
) -> FloatActivity:
    """Return what a job's float model does on ``samples`` training samples, from the cache where it was measured.

    ``zeros``: with the share of weights that every scheme makes zero. Raises NotFiniteError where the model's currents
    or logits are not finite.
    """
    how = {"split": _SPLIT, "samples": samples, "torch": torch.__version__, "device": device.type}
    facts = {**job.facts(), **how, "activity": _VERSION, "zeros": zeros}
    path = cache_root() / "activity" / f"{content_hash(facts)}.json"
    try:
        return FloatActivity.model_validate(strict_json(read_text(path)))
    except (OSError, ValueError):
        pass  # not measured yet, or a damaged file: it is measured
    opened = job.checkpoint
    products, model = attention_table(opened.architecture, opened.config), placed(load_model(opened), device)
    seen = _without_each_neuron(measure_model(model, job.layers, products, job.data, _SPLIT, samples, progress))
    found = floats_of(opened, job.layers, seen, job.data.sha256, zeros=zeros)
    processes.on_first(lambda: _write(path, json.dumps(found.model_dump(mode="json"), allow_nan=False)))
    return found


def _write(path: Path, text: str) -> None:
    """Write what was measured; a cache that cannot be written is done without."""
    with suppress(OSError):
        write_atomic(path, text)


def _without_each_neuron(found: Activity) -> Activity:
    """Return an activity without how often each neuron fired: no price depends on it."""
    unknown = {"updates_each": None, "fired": (), "neurons_fired": ()}
    neurons = tuple(one.model_copy(update=unknown) for one in found.neurons)
    return found.model_copy(update={"neurons": neurons})
