"""Writing our own checkpoints: safetensors that say what they are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import nn

from snnq.base.errors import CheckpointError, OutputExistsError
from snnq.base.placing import replacing
from snnq.checkpoints.container import METADATA_KEY
from snnq.models.registry import architecture as architecture_of
from snnq.structure.edits import structure_key


def save_checkpoint(
    path: str | Path, model: nn.Module, *, architecture: str, facts: Mapping[str, str], overwrite: bool = True
) -> None:
    """Write a float model as safetensors; equal weights give equal bytes.

    The metadata key ``snnq`` holds JSON: ``architecture``, ``config`` (so nothing is asked on opening), with the edits
    that were made of the model, and ``facts``, of which ``data`` is the spec the model was trained on. The file is
    written beside ``path`` and renamed. Raises ``UsageError`` for an unknown architecture, ``OutputExistsError`` where
    something is there and not ``overwrite``, and ``CheckpointError`` where it cannot be written.
    """
    path = Path(path)
    architecture_of(architecture)
    config = {**model.config.to_dict(), **structure_key(model)}  # pyright: ignore
    own = {**facts, "architecture": architecture, "config": config}
    metadata = {METADATA_KEY: json.dumps(own, sort_keys=True)}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    try:
        with replacing(path, overwrite=overwrite) as temporary:
            save_file(tensors, temporary, metadata)
    except FileExistsError:
        raise OutputExistsError(
            f"{path} is already there", "add --force to overwrite it, or name another --out"
        ) from None
    except (OSError, SafetensorError) as problem:
        raise CheckpointError(f"{path}: cannot be written: {problem}") from None
