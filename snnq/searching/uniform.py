"""Plans with one scheme in every layer: baselines, and starting points for editing by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from snnq.base.errors import UsageError
from snnq.checkpoints.opening import open_checkpoint
from snnq.cost.table import CostTable, read_table
from snnq.data.sources import shows_images
from snnq.models.registry import architecture as architecture_of
from snnq.models.registry import build
from snnq.network.layers import frames_shape, layer_table
from snnq.plan.plan import Plan, make_plan
from snnq.plan.records import ModelInfo, check_scheme
from snnq.structure.edits import edits_of
from snnq.structure.masked import check_masked


def uniform_plan(
    scheme: str,
    *,
    architecture: str | None = None,
    checkpoint: str | Path | None = None,
    table: CostTable | None = None,
    **given: Any,
) -> Plan:
    """Return the plan that gives every layer the same scheme.

    The model is that of a float checkpoint, or an architecture at its published sizes. ``given`` are sizes (steps,
    heads, image_size, pooling, chunk) that the checkpoint cannot tell, as may be its ``architecture``, or that replace
    the published ones; None is not given.

    Raises UsageError for an unknown scheme or architecture and where neither is given, and CheckpointError for a
    checkpoint that cannot be opened.
    """
    try:
        check_scheme(scheme)
    except ValueError as problem:
        raise UsageError(str(problem)) from None
    if architecture is None and checkpoint is None:
        raise UsageError(
            "a plan is made for an architecture or for a checkpoint: give one of them",
            f"snnq plan uniform --architecture spikformer-cifar10dvs --scheme {scheme} --out plan.json",
        )
    given = {name: value for name, value in given.items() if value is not None}
    if checkpoint is None:
        info, data = _published(str(architecture), given), None
    else:
        info, data = _opened(str(checkpoint), {"architecture": architecture, **given})
    shape = frames_shape(info.config)
    layers = layer_table(build(info.architecture, info.config), shape, reals=shows_images(data, shape[1]))
    check_masked({layer.name: scheme for layer in layers}, edits_of(info.config))
    return make_plan(layers, {layer.name: scheme for layer in layers}, model=info, table=table or read_table())


def _published(name: str, given: dict[str, Any]) -> ModelInfo:
    """Return an architecture at its published sizes, with those that were given instead."""
    if "weights" in given:
        raise UsageError("--weights chooses among those of a checkpoint", "name a checkpoint, not an --architecture")
    config = architecture_of(name).config(given).to_dict()
    return ModelInfo(architecture=name, layout=config.get("layout", name), config=config)


def _opened(path: str, given: dict[str, Any]) -> tuple[ModelInfo, str | None]:
    """Return the model of a float checkpoint, and the data that it names."""
    found = open_checkpoint(path, **given)
    info = ModelInfo(
        architecture=found.architecture,
        layout=found.layout,
        config=dict(found.config),
        checkpoint=str(found.path),
        sha256=found.sha256,
        weights=found.weights,
    )
    return info, found.data
