"""What the integer engine is timed against: the same packed model in PyTorch, in the formats that PyTorch runs fast.

And what it is timed on when nothing else is given: the paper's model, Spikformer-2-256, packed untrained. Its weights
are random; its batch normalisations are estimated on the frames, so that its neurons fire at rates that a trained
network's have, too, and its plan is the paper's best one: two bits everywhere but the first convolution, the head and
two attention layers, 2.105 bits on average. It says nothing about accuracy.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from snnq.base.errors import UsageError, nearest
from snnq.cost.table import DEFAULT_TABLE, read_table
from snnq.models.registry import architecture
from snnq.network.folding import fold_batchnorm
from snnq.network.layers import frames_shape, layer_table
from snnq.packed.coding import Coded
from snnq.packed.config import read_config
from snnq.packed.folder import write_packed
from snnq.packed.loading import load_packed
from snnq.plan import ModelInfo, make_plan
from snnq.schemes.scheme import scheme

PEERS = ("float32", "bfloat16", "int8", "compiled")
Run = Callable[[Tensor], Tensor]


class Int8Layer(nn.Module):
    """A layer as PyTorch's own static int8: a scale for every output channel, the output's range from calibration."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer, self.reach, self.packed = layer, 0.0, None

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output; before ``freeze`` the float one, whose range is noted."""
        if self.packed is None:
            y = self.layer(x)
            self.reach = max(self.reach, float(y.abs().max()))
            return y
        four = x.reshape(*x.shape[:2], *(1,) * (4 - x.ndim), *x.shape[2:]) if not self.linear else x
        quantized = torch.quantize_per_tensor(four, self.step, 0, torch.quint8)
        if self.linear:
            return torch.ops.quantized.linear(quantized, self.packed, self.scale, 128).dequantize()
        quantized = quantized.contiguous(memory_format=torch.channels_last)
        y = torch.ops.quantized.conv2d(quantized, self.packed, self.scale, 128).dequantize()
        return y.reshape(*y.shape[:2], *x.shape[2:])

    def freeze(self, step: float) -> None:
        """Pack the weights; the input is quantised in steps of ``step`` (1 for spikes and small whole numbers)."""
        weight = self.layer.get_parameter("weight").detach()
        self.linear, self.step = isinstance(self.layer, nn.Linear), step
        self.scale = max(self.reach, 1e-6) / 127
        weight = (
            weight if self.linear else weight.reshape(*weight.shape[:2], *(1,) * (4 - weight.ndim), *weight.shape[2:])
        )
        scales = weight.flatten(1).abs().amax(1).clamp_min(1e-8).double() / 127
        zeros = torch.zeros(len(weight), dtype=torch.long)
        with warnings.catch_warnings():  # torch will drop these functions one day, and has no others as fast today
            warnings.simplefilter("ignore", UserWarning)
            codes = torch.quantize_per_channel(weight, scales, zeros, 0, torch.qint8)
        bias = self.layer.bias.detach() if isinstance(self.layer.bias, Tensor) else None
        if self.linear:
            self.packed = torch.ops.quantized.linear_prepack(codes, bias)
        else:
            pads = [k // 2 for k in weight.shape[2:]]
            self.packed = torch.ops.quantized.conv2d_prepack(codes, bias, [1, 1], pads, [1, 1], 1)


def int8_model(model: nn.Module, frames: Tensor) -> nn.Module:
    """Turn every layer of a model into an ``Int8Layer``, calibrated on ``frames``, in place; return the model."""
    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d)
    found = {name: Int8Layer(module) for name, module in model.named_modules() if isinstance(module, kinds)}
    for name, layer in found.items():
        parent, _, last = name.rpartition(".")
        model.get_submodule(parent).register_module(last, layer)
    model(frames)
    for name, layer in found.items():
        # Only the head sees real numbers: a mean, quantised in 255 steps of its range.
        layer.freeze(1.0 if name != "head" else 0.05)
    return model


@torch.no_grad()
def fuse_norms(model: nn.Module, norms: Mapping[str, str]) -> nn.Module:
    """Move every folded norm into the weight and bias of its layer, the fastest form PyTorch has; return the model."""
    for layer_name, norm_name in norms.items():
        layer, norm = model.get_submodule(layer_name), model.get_submodule(norm_name)
        weight, multiplier = layer.get_parameter("weight"), norm.get_buffer("multiplier")
        weight.mul_(multiplier.view(-1, *[1] * (weight.ndim - 1)))
        layer.register_parameter("bias", nn.Parameter(norm.get_buffer("offset").clone(), requires_grad=False))
        parent, _, last = norm_name.rpartition(".")
        model.get_submodule(parent).register_module(last, nn.Identity())
    return model


def check_peers(names: Iterable[str]) -> None:
    """Raise UsageError for a peer there is not."""
    for name in names:
        if name not in PEERS:
            raise UsageError(f"--peer {name}: there is {', '.join(PEERS)}{nearest(name, PEERS)}")


def open_peer(name: str, folder: Path, frames: Tensor) -> Run:
    """Return a peer as a function from frames to logits; ``compiled`` takes minutes to compile at its first calls."""
    config = read_config(folder)
    model = fuse_norms(load_packed(folder, "float"), architecture(config.architecture).wiring(config.config).norms)
    if name == "int8":
        model = int8_model(model, frames[:1])
    run = torch.compile(model) if name == "compiled" else model

    @torch.inference_mode()
    def call(given: Tensor) -> Tensor:
        if name == "bfloat16":
            with torch.autocast("cpu", dtype=torch.bfloat16):
                return run(given)
        return run(given)

    return call


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
