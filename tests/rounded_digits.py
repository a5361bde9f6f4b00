"""The built-in float model rounded to nearest and packed: real weights and real accuracies, without training."""

from __future__ import annotations

from pathlib import Path

import torch

from snnq.checkpoints.opening import load_model, open_checkpoint
from snnq.cost.table import read_table
from snnq.data import open_data
from snnq.finalizing.encoding import encode_model
from snnq.models.registry import architecture
from snnq.network.folding import fold_batchnorm
from snnq.network.layers import frames_shape, layer_table
from snnq.packed.folder import write_packed
from snnq.plan import DataInfo, ModelInfo, make_plan
from snnq.training.quantized import quantize_model


@torch.no_grad()
def write_digits(folder: Path, schemes: list[str]) -> None:
    """Write the built-in model rounded to nearest, its layers taking ``schemes`` in turn."""
    opened = open_checkpoint("digits")
    model, one = load_model(opened).eval(), architecture(opened.architecture)
    table = layer_table(model, frames_shape(opened.config))
    chosen = {layer.name: schemes[i % len(schemes)] for i, layer in enumerate(table)}
    coded = encode_model(quantize_model(model, chosen), chosen)
    data = open_data("digits", steps=4, image_size=(16, 16))
    plan = make_plan(
        table,
        chosen,
        model=ModelInfo(architecture=one.name, layout=opened.layout, config=opened.config),
        data=DataInfo(spec="digits", sha256=data.sha256, classes=data.classes),
        table=read_table("horowitz-45nm"),
    )
    folded = fold_batchnorm(model, one.wiring(opened.config).norms)
    write_packed(folder, model=folded, plan=plan, layers=coded, results={})
