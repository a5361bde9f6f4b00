"""AWQ's scaling of input channels for spikes: is a power-of-two amplitude a channel worth it?

python examples/ptq/amplitudes.py [float.safetensors] --data fashion-mnist:DIR --steps 4 --heads 4 --image-size 28

A spike of channel c counts 2^-a_c, a shift in hardware, and the weights behind it are quantised 2^a_c times as large:
a = round(log2(x̄^r / sqrt(max · min))), x̄ the root mean square of the channel's inputs, r = 0.1 … 1. Prints, for every
layer, the squared error of its output on 256 training samples over that of AWQ's clips alone, for the best r (1.0:
nothing is better than no amplitudes), and the same for coordinate descent on the same grids.
"""

from __future__ import annotations

from typing import Annotated

import pandas as pd
import torch
import typer
from torch import Tensor

from snnq.base.progress import silent
from snnq.checkpoints.sizes import given_sizes
from snnq.schemes.fitting.clips import choose, grams, row_errors
from snnq.schemes.fitting.descent import reconstructed
from snnq.schemes.scheme import Scheme, scheme
from snnq.training.job import open_job

EXPONENTS = [i / 10 for i in range(1, 11)]


def main(
    checkpoint: Annotated[str, typer.Argument(help="The float checkpoint.")] = "digits",
    data: Annotated[str | None, typer.Option(help="Data spec, where the checkpoint names none.")] = None,
    schemes: Annotated[str, typer.Option(help="Separated by commas.")] = "uniform-2,uniform-3",
    samples: Annotated[int, typer.Option()] = 256,
    steps: Annotated[int | None, typer.Option()] = None,
    heads: Annotated[int | None, typer.Option()] = None,
    image_size: Annotated[str | None, typer.Option()] = None,
    pooling: Annotated[str | None, typer.Option()] = None,
) -> None:
    """Print the errors as CSV, layer by layer and in the mean."""
    job = open_job(
        checkpoint, data, silent, **given_sizes(steps=steps, heads=heads, image_size=image_size, pooling=pooling)
    )
    model, train, rows = job.model.eval(), job.data.train, []
    batches = [train.__getitems__(list(range(i, i + 16)))[0].float() for i in range(0, samples, 16)]
    layers = {layer.name: model.get_submodule(layer.name) for layer in job.layers}
    found = grams(layers, lambda: [model(batch) for batch in batches])
    for name, gram in found.items():
        weight = model.get_parameter(f"{name}.weight").detach().flatten(1)
        for one in map(scheme, schemes.split(",")):
            plain = _error(weight, one, gram)
            if plain == 0:  # nothing reaches the layer, or its weights are levels already
                continue
            with_amplitudes = min((_error(*_scaled(weight, gram, r, one)) / plain, r) for r in EXPONENTS)
            ratio, exponent = min(with_amplitudes, (1.0, 0.0))
            descent = float(row_errors(weight, reconstructed(weight, one, gram, 4), gram).sum()) / plain
            rows.append((name, one.name, ratio, exponent, descent))
    frame = pd.DataFrame(rows, columns=["layer", "scheme", "amplitudes", "r", "descent"])
    typer.echo(frame.to_csv(index=False, float_format="%.3f"))
    means = frame.pivot_table(index="scheme", values=["amplitudes", "descent"])
    typer.echo(means.to_csv(float_format="%.3f"))


def _error(weight: Tensor, one: Scheme, gram: Tensor) -> float:
    return float(row_errors(weight, one.project(weight, choose("awq", weight, one, gram))[0], gram).sum())


def _scaled(weight: Tensor, gram: Tensor, r: float, one: Scheme) -> tuple[Tensor, Scheme, Tensor]:
    """Return the weights times 2^a and the Gram matrix of the inputs times 2^-a."""
    power = gram.diagonal().clamp_min(1e-8).sqrt() ** r
    by = 2.0 ** torch.log2(power / (power.max() * power.min()).sqrt()).round()
    return weight * by, one, gram / by[:, None] / by[None, :]


if __name__ == "__main__":
    typer.run(main)
