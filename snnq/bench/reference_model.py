"""The paper's model, Spikformer-2-256, packed untrained: what the runtime is timed on when nothing else is given.

Its weights are random; its batch normalisations are estimated on the frames, so that its neurons fire at rates that a
trained network's have, too, and its plan is the paper's best one: two bits everywhere but the first convolution, the
head and two attention layers, 2.105 bits on average. It says nothing about accuracy.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from snnq.cost.table import DEFAULT_TABLE, read_table
from snnq.models.registry import architecture
from snnq.network.folding import fold_batchnorm
from snnq.network.layers import frames_shape, layer_table
from snnq.packed.coding import Coded
from snnq.packed.folder import write_packed
from snnq.plan import ModelInfo, make_plan
from snnq.schemes.scheme import scheme

ARCHITECTURE = "spikformer-cifar10dvs"
# Mean current of every neuron, in thresholds: it sets the firing rates.
DRIVE = 0.5
FOUR_BITS = ("patch_embed.proj_conv", "block.0.attn.v", "block.1.attn.proj", "head")


@torch.no_grad()
def write_reference(folder: Path, frames: Tensor, **sizes: object) -> None:
    """Write a packed folder; ``frames`` (B, T, C, H, W) set its normalisations, ``sizes`` differ from the published."""
    one = architecture(ARCHITECTURE)
    config = one.default_config() | sizes
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = one.build(config).train()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            module.momentum = None
            module.bias.fill_(DRIVE)
    model(frames)
    layers = layer_table(model, frames_shape(config))
    schemes = {layer.name: "uniform-4" if layer.name in FOUR_BITS else "uniform-2" for layer in layers}
    folded, coded = fold_batchnorm(model, one.wiring(config).norms), {}
    for name, chosen in schemes.items():
        form, weight = scheme(chosen), folded.get_submodule(name).get_parameter("weight")
        params = form.stored(form.fit(weight))
        coded[name] = Coded(chosen, form.encode(weight, params), params)
        weight.copy_(form.decode(coded[name].codes, params).view_as(weight))
    info = ModelInfo(architecture=one.name, layout=str(config["layout"]), config=config)
    plan = make_plan(layers, schemes, model=info, data=None, table=read_table(DEFAULT_TABLE))
    write_packed(folder, model=folded, plan=plan, layers=coded, results={})
