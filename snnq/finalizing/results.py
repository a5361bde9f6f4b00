"""What finalize found out, for report.json: accuracies, the search's history, weights before and after."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from snnq.errors import SnnqError
from snnq.files import read_text
from snnq.measuring.run import measure_model
from snnq.models.attentions import attention_table
from snnq.plan import Plan
from snnq.progress import Progress
from snnq.searching.scores import FRONT_COLUMNS, front
from snnq.strict_json import strict_json
from snnq.training.devices import placed
from snnq.training.evaluation import Score, evaluate, score
from snnq.training.job import Job
from snnq.training.run_folder import METRICS
from snnq.training.teacher import float_logits

BINS = 61


def weight_record(before: Tensor, after: Tensor) -> dict[str, Any]:
    """Return histograms of a layer's float and final weights over the same bins, and the share of exact zeros.

    ``low`` and ``high`` are the outer edges of ``BINS`` equal bins; ``before`` and ``after`` are counts.
    """
    values = torch.stack([before.detach().flatten().double(), after.detach().flatten().double()])
    reach = max(float(values.abs().max()), 1e-12)
    counts = [torch.histc(row, BINS, -reach, reach).to(torch.int64).tolist() for row in values]
    zeros = (values == 0).double().mean(1).tolist()
    return {
        "low": -reach,
        "high": reach,
        "before": counts[0],
        "after": counts[1],
        "zeros_before": zeros[0],
        "zeros_after": zeros[1],
    }


def weight_records(before: Mapping[str, Tensor], folded: nn.Module, plan: Plan) -> dict[str, Any]:
    """Return the ``weight_record`` of every layer of the plan, by name."""
    names = [layer.name for layer in plan.layers]
    return {name: weight_record(before[f"{name}.weight"], folded.get_parameter(f"{name}.weight")) for name in names}


def accuracies(job: Job, folded: nn.Module, fabric: Fabric, batch_size: int, progress: Progress) -> dict[str, Any]:
    """Return accuracies (0 … 1) and losses (nats) of the float model and of the folded one, on validation and test."""
    record: dict[str, Any] = {"data": job.data.spec, "simulated": job.data.simulated, "split": job.data.split}
    record |= {"float": {}, "plan": {}}
    placed(folded, fabric.device)
    for split, samples in (("validation", job.data.validation), ("test", job.data.test)):
        logits = float_logits(job, split, fabric, batch_size, progress)
        record["float"] |= _named(split, score(logits, torch.from_numpy(samples.labels)))
        record["plan"] |= _named(split, evaluate(folded, samples, batch_size, progress, f"plan model on {split}"))
        record[f"{split}_samples"] = len(samples)
    folded.cpu()
    return record


def _named(split: str, found: Score) -> dict[str, Any]:
    """Return a split's accuracy and loss, and each of its samples, for paired tests."""
    each = found.each.model_dump(mode="json") if found.each else None
    return {split: found.accuracy, f"{split}_loss": found.loss, f"{split}_each": each}


def without_samples(accuracy: Mapping[str, Any]) -> dict[str, Any]:
    """Return an accuracy record without what was kept of each sample, to be printed."""
    return {
        key: {name: one for name, one in value.items() if not name.endswith("_each")}
        if isinstance(value, Mapping)
        else value
        for key, value in accuracy.items()
    }


def activity_record(job: Job, exact: nn.Module, samples: int, progress: Progress) -> dict[str, Any] | None:
    """Return what the packed and the float model do on validation samples, for the event model of energy.

    None for no samples.
    """
    if samples == 0:
        return None
    products = attention_table(job.checkpoint.architecture, job.checkpoint.config)
    models = {"plan": exact, "float": job.model}
    return {
        name: measure_model(model, job.layers, products, job.data, "validation", samples, progress).model_dump()
        for name, model in models.items()
    }


def search_record(plan: Plan, folder: Path | None, data_sha256: str) -> dict[str, Any]:
    """Return the search that made this plan, from its run folder; None for what cannot be read there.

    ``search``: its epochs (None where nothing was trained); ``front``: the plans along its accuracy–cost front, which
    were scored on the search's data and are left out where the model was packed on others.
    """
    record: dict[str, Any] = {"search": None, "front": None}
    if folder is None:
        return record
    try:
        if (folder / METRICS).exists():
            record["search"] = [strict_json(line) for line in read_text(folder / METRICS).splitlines()]
        if plan.data is None or plan.data.sha256 == data_sha256:
            record["front"] = [{key: row[key] for key in FRONT_COLUMNS} for row in front(folder)]
    except (OSError, ValueError, SnnqError):
        pass
    return record
