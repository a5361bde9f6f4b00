"""A packed folder as a torch module with exactly the packed weights."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from snnq.errors import PackedError, UsageError, VerificationError
from snnq.models.folding import affine_skeleton
from snnq.models.registry import architecture
from snnq.packed.coding import read_weight, tensor_names
from snnq.packed.config import CONFIG_FILE, MODEL_FILE, PackedConfig, file_sha256, read_config
from snnq.packed.safefile import REPACK, TensorFile, read_tensors


def load_packed(path: str | Path) -> nn.Module:
    """Return the model of a packed folder in eval mode, with ``.config``; frames (B, T, C, H, W) → logits (B, classes).

    Its weights are bit for bit what the codes decode to, its batch normalisation is folded, and nothing in it asks for
    gradients. Nothing is unpickled. Raises PackedError for a damaged or incomplete folder, and VerificationError where
    model.safetensors is not the file config.json was written for.
    """
    folder = Path(path)
    config = read_config(folder)
    file = read_tensors(folder / MODEL_FILE)
    check_hash(folder, MODEL_FILE, config)
    return assemble(folder, config, file, {name: read_weight(name, one, file) for name, one in config.layers.items()})


def check_hash(folder: Path, name: str, config: PackedConfig) -> None:
    """Raise VerificationError where a file of the folder is not the one config.json was written for."""
    found, due = file_sha256(folder / name), config.sha256[name]
    if found != due:
        message = f"{folder / name}: sha256 is {found[:12]}…, {CONFIG_FILE} says {due[:12]}…"
        raise VerificationError(message, REPACK)


def assemble(folder: Path, config: PackedConfig, file: TensorFile, weights: dict[str, Tensor]) -> nn.Module:
    """Return the model of decoded weights and the file's other tensors; raises PackedError where they do not fit."""
    try:
        one = architecture(config.architecture)
        # Without values: no memory is taken for sizes that a damaged file made up, and no random numbers are drawn.
        with torch.device("meta"):
            built = one.build(config.config)
            model = affine_skeleton(built, one.norms(built))
    except UsageError as problem:
        raise PackedError(f"{folder / CONFIG_FILE}: {problem.message}", REPACK) from None
    except (TypeError, ValueError, RuntimeError, AttributeError) as problem:
        raise PackedError(f"{folder / CONFIG_FILE}: its config describes no model ({problem})", REPACK) from None
    owned = {key for name, layer in config.layers.items() for key in tensor_names(name, layer.family)}
    state = {name: tensor for name, tensor in file.tensors.items() if name not in owned}
    state |= {f"{name}.weight": weight for name, weight in weights.items()}
    _check_state(file.path, state, model)
    model.load_state_dict(state, strict=True, assign=True)
    return model.eval().requires_grad_(False)


def _check_state(path: Path, state: dict[str, Tensor], model: nn.Module) -> None:
    """Raise PackedError naming the first tensor that is missing, left over, or of another shape or type."""
    due = model.state_dict()
    for name in [*due, *state]:
        if name not in state:
            raise PackedError(f"{path}: tensor '{name}' of the model is missing", REPACK)
        if name not in due:
            raise PackedError(f"{path}: tensor '{name}' belongs to no part of the model", REPACK)
        TensorFile(path, state, 0).take(name, tuple(due[name].shape), due[name].dtype)
