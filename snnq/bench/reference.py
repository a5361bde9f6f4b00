"""What is timed when no folder is given: an architecture, packed untrained; the paper's Spikformer-2-256 by default.

Its weights are random; its batch normalisations are estimated on the frames, so that its neurons fire at rates that a
trained network's have, too. Its plan is two bits everywhere but the first convolution, the head and, where it has them,
two attention layers: of Spikformer-2-256 that is the paper's best one, 2.105 bits on average. It says nothing about
accuracy.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import torch
from torch import Tensor

from snnq.base.errors import UsageError
from snnq.base.parsing import check_once, parse_image_size
from snnq.base.strict_json import Config, Json
from snnq.cost.table import DEFAULT_TABLE, read_table
from snnq.models.architecture import Architecture
from snnq.models.registry import architecture
from snnq.network.folding import fold_batchnorm
from snnq.network.layers import frames_shape, layer_table
from snnq.network.wiring import FloatWiring
from snnq.packed.coding import Coded
from snnq.packed.folder import write_packed
from snnq.plan import ModelInfo, make_plan
from snnq.schemes.scheme import scheme

ARCHITECTURE = "spikformer-cifar10dvs"
# Mean current of every neuron, in thresholds: it sets the firing rates.
DRIVE = 0.5
FOUR_BITS = ("block.0.attn.v", "block.1.attn.proj", "head")


def read_architecture(text: str) -> tuple[Architecture, Json]:
    """Return the architecture of ``NAME[:SIZE=VALUE,…]`` and its whole config; sizes left out are the published ones.

    Raises UsageError for what is not known, sizes that no model can have, and what does not run in whole numbers.
    """
    name, _, words = text.partition(":")
    one, pairs = architecture(name), [pair.partition("=") for pair in re.split(r",(?=[a-z_0-9]+=)", words) if pair]
    check_once((key for key, _, _ in pairs), "--architecture")
    config = one.config({key: _value(key, value) for key, _, value in pairs}).to_dict()
    wiring = one.wiring(config)
    if isinstance(wiring, FloatWiring):
        raise UsageError(f"--architecture {name}: it does not run in whole numbers, because {wiring.reason}")
    return one, config


def _value(key: str, text: str) -> object:
    """Return a size as a config has it: a number, several (``1,2,4``), ``HEIGHTxWIDTH``, zeros and ones, or a word."""
    if key == "image_size":
        return list(parse_image_size(text))
    if key == "pooling" and re.fullmatch("[01]+", text):
        return [one == "1" for one in text]
    try:
        return json.loads(f"[{text}]" if "," in text else text)
    except ValueError:
        return text


@torch.no_grad()
def write_reference(folder: Path, frames: Tensor, one: Architecture, config: Config, sparsity: float = 0.0) -> None:
    """Write a packed folder of an untrained model; ``frames`` (B, T, C, H, W) set its normalisations.

    ``sparsity``: the share of the smallest weights of every layer but the first and the head that become zero.
    """
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = one.build(config).train()
    for layer in layer_table(model, frames_shape(config))[1:-1]:
        weight = model.get_submodule(layer.name).get_parameter("weight")
        weight.flatten()[weight.abs().flatten().argsort()[: round(sparsity * weight.numel())]] = 0.0
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            module.momentum = None
            module.bias.fill_(DRIVE)
    model(frames)
    layers = layer_table(model, frames_shape(config))
    four = {layers[0].name, *FOUR_BITS}
    schemes = {layer.name: "uniform-4" if layer.name in four else "uniform-2" for layer in layers}
    folded, coded = fold_batchnorm(model, one.wiring(config).norms), {}
    for name, chosen in schemes.items():
        form, weight = scheme(chosen), folded.get_submodule(name).get_parameter("weight")
        params = form.stored(form.fit(weight))
        coded[name] = Coded(chosen, form.encode(weight, params), params)
        weight.copy_(form.decode(coded[name].codes, params).view_as(weight))
    info = ModelInfo(architecture=one.name, layout=str(config["layout"]), config=dict(config))
    plan = make_plan(layers, schemes, model=info, data=None, table=read_table(DEFAULT_TABLE))
    write_packed(folder, model=folded, plan=plan, layers=coded, results={})
