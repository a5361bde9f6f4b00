"""What the integer engine is timed against: the same packed model in PyTorch, in the formats that PyTorch runs fast.

OpenVINO and ONNX Runtime, where they are installed, are in ``exported``.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from snnq.base.errors import UsageError, VerificationError, nearest
from snnq.bench.exported import LIBRARIES, OnnxFiles, Run, check_exported, installed, open_exported
from snnq.models.registry import architecture
from snnq.packed.config import read_config
from snnq.packed.loading import load_packed

PEERS = ("float32", "bfloat16", "int8", "compiled")
ALL_PEERS = (*PEERS, *LIBRARIES)
# How far logits may be from torch's: now and then a sum that is rounded otherwise moves a spike, coarse numbers many.
MOST, MOST_COARSE = 0.01, 0.5
COARSE = ("bfloat16", "int8", "openvino-bfloat16")


class Int8Layer(nn.Module):
    """A layer as PyTorch's own static int8: a scale for every output channel, the output's range from calibration."""

    def __init__(self, layer: nn.Linear | nn.Conv1d | nn.Conv2d) -> None:
        super().__init__()
        self.layer, self.reach, self.step, self.packed = layer, 0.0, 1.0, None
        self.linear = isinstance(layer, nn.Linear)

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output; before ``freeze`` the float one, whose range is noted."""
        if self.packed is None:
            y = self.layer(x)
            self.reach = max(self.reach, float(y.abs().max()))
            most = float(x.max())
            whole = bool((x == x.round()).all()) and most <= 255
            self.step = 1.0 if whole else max(most, 1e-6) / 127  # other samples may reach further
            return y
        four = x.reshape(*x.shape[:2], *(1,) * (4 - x.ndim), *x.shape[2:]) if not self.linear else x
        quantized = torch.quantize_per_tensor(four, self.step, 0, torch.quint8)
        if self.linear:
            return torch.ops.quantized.linear(quantized, self.packed, self.scale, 128).dequantize()
        quantized = quantized.contiguous(memory_format=torch.channels_last)
        y = torch.ops.quantized.conv2d(quantized, self.packed, self.scale, 128).dequantize()
        return y if x.ndim == 4 else y.flatten(2)

    def freeze(self) -> None:
        """Pack the weights; the input is quantised in steps of 1 if it was spikes or small whole numbers."""
        weight = self.layer.get_parameter("weight").detach()
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
        if isinstance(self.layer, nn.Linear):
            self.packed = torch.ops.quantized.linear_prepack(codes, bias)
        else:
            flat = [0] * (2 - len(self.layer.kernel_size))  # a Conv1d runs as a Conv2d of images one pixel high
            strides, dilations = ([1 for _ in flat] + list(of) for of in (self.layer.stride, self.layer.dilation))
            pads = flat + list(self.layer.padding)
            self.packed = torch.ops.quantized.conv2d_prepack(codes, bias, strides, pads, dilations, self.layer.groups)


def int8_model(model: nn.Module, frames: Tensor) -> nn.Module:
    """Turn every layer of a model into an ``Int8Layer``, calibrated on ``frames``, in place; return the model."""
    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d)
    found = {name: Int8Layer(module) for name, module in model.named_modules() if isinstance(module, kinds)}
    for name, layer in found.items():
        parent, _, last = name.rpartition(".")
        model.get_submodule(parent).register_module(last, layer)
    model(frames)
    for layer in found.values():
        layer.freeze()
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


def default_peers() -> tuple[str, ...]:
    """Return what is timed where nobody says: what PyTorch has, and the other libraries that are installed."""
    return (*PEERS[:3], *installed())


def check_peers(names: Iterable[str]) -> None:
    """Raise UsageError for a peer there is not, MissingLibraryError for one that is not installed."""
    for name in names:
        if name not in ALL_PEERS:
            raise UsageError(f"--peer {name}: there is {', '.join(ALL_PEERS)}{nearest(name, ALL_PEERS)}")
        if name in LIBRARIES:
            check_exported(name)


def open_peers(names: Iterable[str], folder: Path, frames: Tensor, threads: int, scratch: Path) -> dict[str, Run]:
    """Return every peer as a function from frames to logits.

    ``compiled`` and the exported ones take minutes at the first call of a shape; theirs are written below ``scratch``.
    """
    exported: OnnxFiles | None = None
    runs: dict[str, Run] = {}
    for name in names:
        if name in LIBRARIES:
            exported = exported or OnnxFiles(_fused(folder), scratch)
            runs[name] = open_exported(name, exported, threads)
        else:
            runs[name] = open_peer(name, folder, frames)
    return runs


def open_peer(name: str, folder: Path, frames: Tensor) -> Run:
    """Return one of PyTorch's own; int8 is calibrated on the first of ``frames``."""
    model = _fused(folder)
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


def _fused(folder: Path) -> nn.Module:
    config = read_config(folder)
    return fuse_norms(load_packed(folder, "float"), architecture(config.architecture).wiring(config.config).norms)


def differences(runs: Mapping[str, Run], folder: Path, frames: Tensor) -> dict[str, float]:
    """Return how far each peer's logits are from torch's float ones: RMS of the difference over that of the logits.

    Logits count from the mean over a sample's classes. Raises VerificationError for a peer that computes something
    else, by far more than its arithmetic rounds: its time would say nothing.
    """
    with torch.inference_mode():
        due = load_packed(folder, "float")(frames).double()
    size = float((due - due.mean(1, keepdim=True)).square().mean().sqrt()) or 1.0
    found: dict[str, float] = {}
    for name, run in runs.items():
        for _ in range(2):  # neurons that did not come to rest show in the second call
            off = run(frames).double() - due
            found[name] = float((off - off.mean(1, keepdim=True)).square().mean().sqrt()) / size
            most = MOST_COARSE if name in COARSE else MOST
            if not found[name] <= most:
                raise VerificationError(
                    f"--peer {name}: its logits differ from torch's float ones by {found[name]:.0%} of their size, and "
                    f"rounding explains {most:.0%} at most: it computes another model",
                    "leave it out: --peer float32",
                )
    return found
