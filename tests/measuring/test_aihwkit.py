"""Write noise beside IBM's aihwkit: the same model, its weights in the cells that aihwkit's tiles program.

aihwkit has pairs of cells, their conductances, the programming of a chip and the product; the equation of the noise is
ours in both. Its tiles have no bit slices and convert differences, so that cells hold a whole number here, and
converters give every sum. Its read noise is in compiled tiles alone, which need the torch that they were built with.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import pytest
import torch
from rounded_digits import write_digits
from torch import Tensor, nn
from torch.nn import functional

from snnq.assessing.imc import on_arrays
from snnq.assessing.imc_running import OnChips, logits_of, on_chips
from snnq.assessing.measure import spread
from snnq.assessing.on_arrays import _factor, _rows
from snnq.assessing.watching import core
from snnq.data import open_data
from snnq.hardware.crossbars.chosen import Arrays
from snnq.hardware.crossbars.settings import ImcSettings
from snnq.packed.loading import load_packed

GAMMA, CHIPS, SAMPLES = 0.15, 8, 60


def programmed(weight: Tensor) -> nn.Module:
    """Return aihwkit's layer of a weight (out, K) of -1 … 1, programmed with our write noise; it takes K + 1 inputs.

    The last of them has a weight of 1, which aihwkit maps to the largest conductance.
    """
    from aihwkit.inference.noise.base import BaseNoiseModel  # pyright: ignore[reportMissingImports]
    from aihwkit.nn import AnalogLinear  # pyright: ignore[reportMissingImports]
    from aihwkit.simulator.configs import TorchInferenceRPUConfig  # pyright: ignore[reportMissingImports]
    from aihwkit.simulator.parameters import IOParameters, MappingParameter  # pyright: ignore[reportMissingImports]

    class WriteNoise(BaseNoiseModel):
        def apply_programming_noise_to_conductance(self, g_target: Tensor) -> Tensor:
            return g_target + GAMMA * (g_target * self.g_converter.g_max).sqrt() * torch.randn_like(g_target)

        def apply_drift_noise_to_conductance(self, g_prog: Tensor, drift_noise_param: object, t_inference: float):
            return g_prog

    config = TorchInferenceRPUConfig(
        noise_model=WriteNoise(),
        drift_compensation=None,
        forward=IOParameters(is_perfect=True),
        mapping=MappingParameter(weight_scaling_omega=0.0, digital_bias=False),
    )
    layer = AnalogLinear(weight.shape[1] + 1, weight.shape[0], bias=False, rpu_config=config)
    layer.set_weights(torch.cat([weight, torch.ones(len(weight), 1)], 1))
    layer.eval().program_analog_weights()
    layer.drift_analog_weights(0.0)
    return layer


@contextmanager
def on_aihwkit(one: OnChips, number: int) -> Iterator[dict[str, float]]:
    """Give the model on aihwkit's tiles, and by how much its layers' sums are off, squared."""
    torch.manual_seed(number)
    found: dict[str, float] = {}
    modules = [core(one.model.get_submodule(name)) for name in one.layers]

    @torch.no_grad()
    def forward(
        name: str, module: nn.Module, values: Tensor, most: int, layer: nn.Module, factor: Tensor, x: Tensor
    ) -> Tensor:
        assert isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d)
        rows, back = _rows(module, x, 1)
        sums = (layer(functional.pad(rows[0].float(), (0, 1))) * most).double()
        off = (sums - rows[0].double() @ values.double().T).square().sum()
        found[name] = found.get(name, 0.0) + float(off)
        made = back((sums * factor)[None])
        if module.bias is not None:
            made = made + module.bias.view(-1, *[1] * (0 if isinstance(module, nn.Linear) else made.ndim - 2))
        return made.to(module.weight.dtype)

    for module, (operand, whole, _) in zip(modules, one.layers.values(), strict=True):
        values, most = torch.from_numpy(whole.values), 2**operand.bits - 1
        given = (module, values, most, programmed(values.float() / most), _factor(module, whole))
        object.__setattr__(module, "forward", partial(forward, operand.name, *given))
    try:
        yield found
    finally:
        for module in modules:
            object.__delattr__(module, "forward")


def test_accuracies_and_noise_of_every_layer_are_those_of_aihwkit(tmp_path):
    pytest.importorskip("aihwkit")
    write_digits(tmp_path / "p", ["uniform-4"])
    found = on_arrays(tmp_path / "p", Arrays(cell_bits=8, dynamic="sram"))
    one = on_chips(load_packed(tmp_path / "p"), found, ImcSettings(write_noise=GAMMA), None)
    data = open_data("digits", steps=4, image_size=(16, 16))
    chosen = list(spread(data, "test", SAMPLES))
    labels = torch.from_numpy(data.test.labels[chosen])
    ours, theirs, noise = [], [], [0.0, 0.0]
    for number in range(CHIPS):
        with one.on(replace(one.chip(number), adc_bits=None)) as put:
            logits = logits_of(one.model, data.test, chosen, SAMPLES, put)
        first = next(iter(put.parts))  # later layers are given what the noise before them has made
        noise[0] += put.parts[first].tally.noise
        ours.append(float((logits.argmax(1) == labels).float().mean()))
        with on_aihwkit(one, number) as off:
            logits = logits_of(one.model, data.test, chosen, SAMPLES)
        theirs.append(float((logits.argmax(1) == labels).float().mean()))
        noise[1] += off[first]
    off_by = abs(statistics.mean(ours) - statistics.mean(theirs))
    assert off_by <= 3 * ((statistics.variance(ours) + statistics.variance(theirs)) / CHIPS) ** 0.5
    assert noise[0] == pytest.approx(noise[1], rel=0.35)
