"""Training a float model in the cells of noisy arrays: its weights lie there in codes of 8 bits, and come out again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor, nn
from torch.nn.utils import parametrize

from snnq.assessing.variation import Varied
from snnq.base.strict_json import Config
from snnq.checkpoints.opening import load_model
from snnq.hardware.crossbars.variation import Variation
from snnq.network.layers import layer_table
from snnq.structure.edits import STRUCTURE, apply_edits
from snnq.training.job import Job
from snnq.training.quantized import quantize_model, quantized_layers

# Rounding to these costs nothing that training would see beside the noise.
SCHEME = "uniform-8"


def in_cells(model: nn.Module, job: Job, edits: Sequence[Config], variation: Variation, seed: int) -> Varied:
    """Put an edited model's weights into cells, another chip at every step; changes ``model``, of the job's checkpoint.

    Return what is told where the run is. Raises what ``Varied`` does.
    """
    opened = replace(job.checkpoint, config={**job.checkpoint.config, STRUCTURE: list(edits)})
    plain = apply_edits(load_model(job.checkpoint), edits).eval()
    layers = layer_table(plain, job.data.frames_shape, reals=job.data.pixels is not None)
    edited = replace(job, checkpoint=opened, model=plain, layers=layers)
    quantize_model(model, {layer.name: SCHEME for layer in edited.layers})
    return Varied(model, edited, variation, seed)


def taken_out(model: nn.Module) -> dict[str, Tensor]:
    """Take the weights out of their cells, before they were rounded; return the state of the model without cells."""
    for name, _, _ in list(quantized_layers(model)):
        parametrize.remove_parametrizations(model.get_submodule(name), "weight", leave_parametrized=False)
    return model.state_dict()
