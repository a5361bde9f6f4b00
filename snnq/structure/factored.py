"""The edit ``factored``: cores in place of a layer (``structure.cores``), each of them a layer of its own.

Its parameters: the ``mode``, ``ranks`` (layer → rank) and, for htt, ``switch``: how many first steps have the whole
kernel. What flows between cores are real numbers: in fixed point when packed (``structure.drawn_cores``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from snnq.base.errors import UsageError, nearest
from snnq.network.layers import GROUP_PATTERNS, INPUT_BITS, group_in
from snnq.structure.cores import LAST, MODES, core_shapes, decompose

if TYPE_CHECKING:
    from snnq.structure.cores import Cores

NAME = "factored"
_KINDS = (nn.Conv2d, nn.Conv1d, nn.Linear)
_Layer = nn.Conv2d | nn.Conv1d | nn.Linear


class Factored(nn.Module):
    """The cores of one layer in the order they run; it takes and gives what the layer did.

    ``switch``: of ``steps`` steps (the leading axis holds them one after the other, each with its batch), those whose
    kernel is whole; None where all are. A model notes how many steps it is given (``_note_steps``).
    """

    last = LAST
    stride: tuple[int, ...]

    def __init__(self, mode: str, cores: Mapping[str, _Layer], steps: int = 1, switch: int | None = None) -> None:
        super().__init__()
        self.mode, self.steps, self.switch = mode, steps, switch
        # Kept here: in whole numbers something else stands in a core's place.
        self.stride = cores["vertical"].stride if "vertical" in cores else (1, 1)  # pyright: ignore
        for name, core in cores.items():
            self.add_module(name, core)

    def forward(self, x: Tensor) -> Tensor:
        """Return what the dense layer gives of x, (T·B, C, H, W) as its layer takes it."""
        cores = dict(self.named_children())
        if self.mode in ("stt", "svd"):
            for core in cores.values():
                x = core(x)
            return x
        x = cores["reduce"](x)
        whole = len(x) if self.switch is None else len(x) // self.steps * min(self.switch, self.steps)
        first = cores["vertical"](x[:whole]) + cores["horizontal"](x[:whole])
        if whole == len(x):
            return cores[LAST](first)
        rest = x[whole:, :, :: self.stride[0], :: self.stride[1]]
        return cores[LAST](torch.cat([first, rest]))


def weights_of(module: Factored) -> Cores:
    """Return the weight of every core."""
    return {name: core.get_parameter("weight").detach() for name, core in module.named_children()}


def factored(model: nn.Module, mode: str, ranks: Mapping[str, int], switch: int | None = None) -> nn.Module:
    """Put cores in place of the layers that ``ranks`` names; raises ``UsageError`` where that cannot be."""
    if mode not in MODES or not isinstance(ranks, Mapping) or not ranks:
        raise UsageError(f"{NAME}: mode {mode!r} with ranks {ranks!r}: a mode of {', '.join(MODES)}, a rank a layer")
    config = getattr(model, "config", None)
    if switch is not None and getattr(config, "key_stride", None) is not None:
        raise UsageError(f"{NAME}: mode htt: every segment of a clip begins anew: the other modes have no first steps")
    steps = int(getattr(config, "steps", 1))
    if (switch is None) == (mode == "htt") or (switch is not None and not 0 < switch < steps):
        raise UsageError(f"{NAME}: switch {switch!r}: htt alone has one, of 1 to {steps - 1} of {steps} steps")
    modules = dict(model.named_modules())
    for name, rank in ranks.items():
        layer = modules.get(name)
        if why := unfit(layer, mode):
            raise UsageError(f"{NAME}: layer '{name}' {why}{nearest(name, modules) if layer is None else ''}")
        if not isinstance(rank, int) or isinstance(rank, bool) or rank < 1:
            raise UsageError(f"{NAME}: layer '{name}': its rank is {rank!r}, it must be a whole number of at least 1")
        made = _of_layer(layer, mode, rank, steps, switch)  # pyright: ignore[reportArgumentType]
        model.set_submodule(name, made)
        _join(model, name, made)
    if switch is not None:
        model.register_forward_pre_hook(_note_steps, prepend=True)
        model.runs = (1, switch)  # pyright: ignore[reportArgumentType]  # so often cores of a kernel run for a sample
    return model


def _note_steps(model: nn.Module, frames: tuple[Tensor, ...]) -> None:
    """Tell the cores of how many steps the frames (B, T, …) are: fewer, where an answer after some of them is asked."""
    for module in model.modules():
        if isinstance(module, Factored):
            module.steps = frames[0].shape[1]


def described(mode: str, ranks: Mapping[str, int], switch: int | None = None) -> str:
    """Return in words what the edit did."""
    low, high, later = min(ranks.values()), max(ranks.values()), f", 1×1 after step {switch}" if switch else ""
    return f"{len(ranks)} layers as {mode} cores of rank {low} to {high}{later}"


def _join(model: nn.Module, name: str, cores: Factored) -> None:
    """Put the cores into their layer's group, whatever their names say."""
    groups: dict[str, str] = getattr(model, "layer_groups", {})
    own = groups.get(name) or group_in(name, getattr(model, "groups", GROUP_PATTERNS))
    if own is not None:
        added = {f"{name}.{core}": own for core, _ in cores.named_children()}
        model.layer_groups = groups | added  # pyright: ignore[reportArgumentType]


def unfit(layer: object, mode: str) -> str | None:
    """Return why a layer has no cores of this mode, as the end of a sentence; None where it has."""
    if layer is None:
        return "is not in the model"
    if type(layer) not in _KINDS:
        return f"is a {type(layer).__name__}, not a linear layer or a convolution of torch"
    if hasattr(layer, INPUT_BITS):
        return "has quantised activations, which cores would not have: decompose first, then quantise"
    if isinstance(layer, nn.Linear):
        return None if mode == "svd" else "is linear: it has no kernel"
    if layer.groups != 1:  # pyright: ignore[reportAttributeAccessIssue]
        return "is a convolution in groups"
    if mode == "svd":
        return None
    kernel, padding, dilation = layer.kernel_size, layer.padding, layer.dilation  # pyright: ignore
    if kernel != (3, 3) or dilation != (1, 1) or padding != (1, 1) or layer.padding_mode != "zeros":  # pyright: ignore
        return f"has a kernel of {' × '.join(map(str, kernel))}, not of 3 × 3 padded by one zero"
    return None


def _of_layer(layer: _Layer, mode: str, rank: int, steps: int, switch: int | None) -> Factored:
    """Return the cores of a layer, with the values that its weight has."""
    weight, shapes = layer.weight, core_shapes(mode, layer.weight.shape, rank)
    cores = {name: _core(layer, mode, name, shape) for name, shape in shapes.items()}
    if not weight.is_meta:
        for name, values in decompose(weight.cpu(), mode, rank).items():
            cores[name].weight.data.copy_(values)
        if layer.bias is not None:
            cores[LAST].get_parameter("bias").data.copy_(layer.bias)
    made = Factored(mode, cores, steps, switch)
    return made.train(layer.training)


def _core(layer: _Layer, mode: str, name: str, shape: tuple[int, ...]) -> _Layer:
    common = {"bias": layer.bias is not None and name == LAST, "device": layer.weight.device}
    common["dtype"] = layer.weight.dtype
    if isinstance(layer, nn.Linear):
        return nn.Linear(shape[1], shape[0], **common)
    if name in ("reduce", LAST):
        return type(layer)(shape[1], shape[0], 1, **common)
    common["stride"] = layer.stride
    if name == "spatial":
        common |= {"padding": layer.padding, "dilation": layer.dilation, "padding_mode": layer.padding_mode}
        return type(layer)(shape[1], shape[0], shape[2:], **common)  # pyright: ignore[reportArgumentType]
    if mode == "stt":  # one after the other, each along its own axis
        common["stride"] = tuple(step if size == 3 else 1 for step, size in zip(layer.stride, shape[2:], strict=True))
    return nn.Conv2d(shape[1], shape[0], (shape[2], shape[3]), padding=(shape[2] // 2, shape[3] // 2), **common)
