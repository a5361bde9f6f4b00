"""A packed folder as a torch module with exactly the packed weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from snnq.arithmetic.integer_form import to_integers
from snnq.arithmetic.whole_modules import IntegerHead
from snnq.base.errors import PackedError, UsageError, VerificationError, nearest
from snnq.models.registry import described, unregistered
from snnq.network.drawn import Drawn, prove, without_code
from snnq.network.folding import affine_skeleton
from snnq.network.graph import Graph
from snnq.network.layers import NO_COUNTS, check_frames_shape, frames_shape
from snnq.network.wiring import FloatWiring, Wiring
from snnq.packed.coding import other_tensors, read_layer, read_weight
from snnq.packed.config import (
    CONFIG_FILE,
    MODEL_FILE,
    REPACK,
    UNBUILDABLE,
    PackedConfig,
    check_hash,
    no_model,
    read_config,
)
from snnq.packed.input import NO_PIXELS
from snnq.packed.opening import open_tensors
from snnq.packed.safefile import TensorFile
from snnq.packed.wired import leaks_of, wiring_of
from snnq.schemes.scheme import scheme
from snnq.schemes.whole import Whole
from snnq.structure.edits import STRUCTURE

ARITHMETICS = ("integer", "float")


def load_packed(path: str | Path, arithmetic: str | None = None) -> nn.Module:
    """Return the model of a packed folder in eval mode, with ``.config``; frames (B, T, C, H, W) → logits (B, classes).

    ``integer`` is the arithmetic that finalize evaluated and every engine reproduces bit for bit
    (``snnq.arithmetic.integers``): whole weights, integer neurons. ``float`` gives plain layers whose weights are bit
    for bit what the codes decode to, ``ChannelAffine`` norms and spikingjelly neurons; its sums are rounded in an order
    that depends on the machine, so a spike may differ now and then. Some architectures, and folders that were packed
    before theirs ran in whole numbers, have only that one. None takes the first where there is one; which it is stands
    in the model's ``.arithmetic``.

    Nothing in it asks for gradients, and nothing is unpickled. Raises PackedError for a damaged or incomplete folder,
    VerificationError where model.safetensors is not the file config.json was written for, and UsageError for
    ``integer`` where the architecture has none. The model raises UsageError for frames of another shape and, in whole
    numbers, for frames that are no event counts.
    """
    if arithmetic not in (None, *ARITHMETICS):
        raise UsageError(f"arithmetic '{arithmetic}': there is integer and float{nearest(arithmetic, ARITHMETICS)}")
    folder = Path(path)
    config = read_config(folder)
    file = open_tensors(folder, config)
    check_hash(folder, MODEL_FILE, config)
    model = assemble(folder, config, file, {name: read_weight(name, one, file) for name, one in config.layers.items()})
    wiring = wiring_of(config)
    if arithmetic == "integer" and isinstance(wiring, FloatWiring):
        raise UsageError(
            f"{folder}: it has no arithmetic in whole numbers, because {wiring.reason}", 'load_packed(path, "float")'
        )
    if arithmetic == "float" or isinstance(wiring, FloatWiring):
        return _guarded(model, config, "float")
    if wiring.graph.traced and not unregistered(config.architecture):
        _prove(folder, wiring, model)
    return _guarded(to_integers(model, wiring, _wholes(wiring, config, file), leaks_of(config)), config, "integer")


def _prove(folder: Path, wiring: Wiring, model: nn.Module) -> None:
    """Raise VerificationError unless the graph of a user's own model is what their code computes."""
    try:
        prove(wiring.graph, model, lively=False)
    except VerificationError as problem:
        raise VerificationError(
            f"{folder / CONFIG_FILE}: its graph is not what the model computes ({problem.message})",
            "has the model's code changed since? Or has the folder?",
        ) from None
    except Exception as problem:  # whatever the user's code raises, or modules of its that are not there
        raise VerificationError(
            f"{folder / CONFIG_FILE}: its graph does not fit the model ({problem})", REPACK
        ) from None


class FramesCheck:
    """A forward pre-hook: frames of another shape are refused, and what is no event count, or no finite pixel.

    ``whole``: which of the two a model in whole numbers takes; None: neither is looked at.
    """

    def __init__(self, due: tuple[int, ...], whole: Literal["counts", "pixels"] | None) -> None:
        self.due, self.whole = due, whole

    def __call__(self, module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        """Raise UsageError unless the frames are (B, T, C, H, W) of the model's sizes."""
        (frames,) = arguments
        check_frames_shape(tuple(frames.shape), self.due)
        if self.whole == "counts" and not bool(((frames >= 0) & (frames == frames.round()) & frames.isfinite()).all()):
            raise UsageError(NO_COUNTS)
        if self.whole == "pixels" and not (frames.is_floating_point() and bool(frames.isfinite().all())):
            raise UsageError(NO_PIXELS)


def _guarded(model: nn.Module, config: PackedConfig, arithmetic: str) -> nn.Module:
    model.arithmetic = arithmetic  # pyright: ignore[reportArgumentType, reportAttributeAccessIssue]
    # First, before a user's own model turns them around.
    seen = "counts" if config.quantization_config.pixels is None else "pixels"
    check = FramesCheck(frames_shape(config.config), seen if arithmetic == "integer" else None)
    model.register_forward_pre_hook(check, prepend=True)
    return model


def take_steps(model: nn.Module, steps: int) -> None:
    """Let a model of ``load_packed`` take another number of time steps than it was made for."""
    for check in [hook for hook in model._forward_pre_hooks.values() if isinstance(hook, FramesCheck)]:
        check.due = (steps, *check.due[1:])
    for head in [module for module in model.modules() if isinstance(module, IntegerHead)]:
        head.take(steps)


def _wholes(wiring: Wiring, config: PackedConfig, file: TensorFile) -> dict[str, Whole]:
    """Return the whole numbers of every quantised layer but the head."""
    wholes = {}
    for one in wiring.layers:
        layer = config.layers.get(one.layer)
        if layer is not None and not scheme(layer.scheme).is_float:
            wholes[one.layer] = scheme(layer.scheme).whole(read_layer(one.layer, layer, file), one.room)
    return wholes


def assemble(folder: Path, config: PackedConfig, file: TensorFile, weights: dict[str, np.ndarray]) -> nn.Module:
    """Return the model of decoded weights and the file's other tensors; raises PackedError where they do not fit."""
    state = other_tensors(file, config.layers) | {f"{name}.weight": weight for name, weight in weights.items()}
    try:
        one = described(config.architecture)
        wiring = one.wiring(config.config)
        # Without values: no memory is taken for sizes that a damaged file made up, and no random numbers are drawn.
        with torch.device("meta"):
            if unregistered(config.architecture) and isinstance(wiring, Wiring):
                return _without_code(file, config, wiring.graph, state)
            model = affine_skeleton(one.build(config.config), wiring.norms)
    except UNBUILDABLE as problem:
        raise no_model(folder, problem) from None
    _check_state(file.path, state, model)
    model.load_state_dict(as_tensors(state), strict=True, assign=True)
    return model.eval().requires_grad_(False)


def _without_code(file: TensorFile, config: PackedConfig, graph: Graph, state: dict[str, np.ndarray]) -> nn.Module:
    """Return somebody's own model as its graph says, without their code, of those tensors that the graph needs."""
    biased = {name.removesuffix(".bias") for name in state if name.endswith(".bias")}
    shapes = {name: tuple(one.shape) for name, one in config.layers.items()}
    graph = graph.resized({name: shape[0] for name, shape in shapes.items()}) if STRUCTURE in config.config else graph
    parts = without_code(graph, shapes, biased)
    needed = {name: state[name] for name in parts.state_dict() if name in state}
    _check_state(file.path, needed, parts)
    with torch.device("cpu"):
        parts.load_state_dict(as_tensors(needed), strict=True, assign=True)
        return Drawn(graph, parts).eval().requires_grad_(False)


def as_tensors(arrays: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    """Return tensors of their own, copies: those of a mapped file cannot be written."""
    return {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}


def _check_state(path: Path, state: dict[str, np.ndarray], model: nn.Module) -> None:
    """Raise PackedError naming the first tensor that is missing, left over, or of another shape or type."""
    due = model.state_dict()
    for name in [*due, *state]:
        if name not in state:
            raise PackedError(f"{path}: tensor '{name}' of the model is missing", REPACK)
        if name not in due:
            raise PackedError(f"{path}: tensor '{name}' belongs to no part of the model", REPACK)
        TensorFile(path, state, 0).take(name, tuple(due[name].shape), str(due[name].dtype).removeprefix("torch."))
