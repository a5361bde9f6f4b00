"""Containers of checkpoints: what is around the tensors is taken off, and nothing beyond an allow-list is unpickled.

Read are safetensors files, and files of ``torch.save`` (zip or the older pickle stream) holding a plain state dict,
``{'model': …}`` (Spikformer's CIFAR10-DVS script, MAE-style scripts) or ``{'state_dict': …, 'state_dict_ema': …}``
(timm). Settings that a training script left beside them are collected as facts.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import pickle
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from snnq.errors import CheckpointError

METADATA_KEY = "snnq"
WRAPPERS = ("state_dict", "model")
EMA_WRAPPER = "state_dict_ema"
PREFIXES = ("module.", "_orig_mod.")  # DistributedDataParallel, torch.compile
RESAVE = 'save the weights alone: torch.save(model.state_dict(), "weights.pth")'

# What a checkpoint may hold beside tensors and plain values: argparse's settings and numpy's scalars. numpy's module
# was renamed in numpy 2, and files carry either name.
_SCALAR = np.float64(0).__reduce__()[0]
_ALLOWED: list[Any] = [
    argparse.Namespace,
    np.dtype,
    (_SCALAR, "numpy.core.multiarray.scalar"),
    (_SCALAR, "numpy._core.multiarray.scalar"),
    *(type(np.dtype(code)) for code in "?bBhHiIlLqQefd"),
]


@dataclass(frozen=True)
class Container:
    """A checkpoint file with its wrapping taken off.

    ``kind`` names the wrapping, ``tensors`` are under the file's own names less their prefix, ``settings`` are what the
    training script recorded, and ``own`` is the description of a file that this project saved.
    """

    path: str
    sha256: str
    kind: str
    tensors: dict[str, Tensor]
    settings: dict[str, Any]
    own: dict[str, Any] | None = None


def read_container(path: Path, *, ema: bool = False) -> Container:
    """Return what the file at ``path`` holds; ``ema`` takes timm's averaged weights instead of the last ones.

    Raises ``CheckpointError`` for a path that is no readable file, a damaged or foreign file, and a pickle that asks
    for anything beyond the allow-list; nothing of it has run then.
    """
    start, sha256 = look_at(path)
    if _is_safetensors(start):
        return _read_safetensors(path, sha256)
    content = _load_pickle(path)
    kind, tensors = _unwrap(path, content, ema)
    return Container(str(path), sha256, kind, _strip_prefixes(tensors), _settings_of(content))


def look_at(path: Path) -> tuple[bytes, str]:
    """Return the first bytes of a file and its sha256."""
    if path.is_dir():
        raise CheckpointError(f"{path}: is a folder, a checkpoint is one file", f"look for it with: ls {path}")
    if not path.exists():
        raise CheckpointError(f"{path}: no such file", "check the path; 'digits' names the built-in checkpoint")
    try:
        with path.open("rb") as file:
            start = file.read(9)
            file.seek(0)
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as problem:
        raise CheckpointError(f"{path}: cannot be read: {problem.strerror}") from None
    if not start:
        raise CheckpointError(f"{path}: the file is empty", "copy or download it again")
    return start, sha256


def _is_safetensors(start: bytes) -> bool:
    """True for a header's length, below 4 GiB in eight bytes, followed by its opening brace."""
    return start[4:] == b"\0\0\0\0{"


def _read_safetensors(path: Path, sha256: str) -> Container:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as problem:
        raise _damaged(path, problem) from None
    own = _own_description(path, metadata)
    return Container(str(path), sha256, "safetensors", _strip_prefixes(tensors), {}, own)


def _own_description(path: Path, metadata: Mapping[str, str]) -> dict[str, Any] | None:
    if METADATA_KEY not in metadata:
        return None
    try:
        own = json.loads(metadata[METADATA_KEY])
    except ValueError:
        own = None
    if not isinstance(own, dict) or not isinstance(own.get("config"), dict) or "architecture" not in own:
        raise CheckpointError(f"{path}: metadata key '{METADATA_KEY}' must be JSON with 'architecture' and 'config'")
    return own


def _load_pickle(path: Path) -> Any:
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(_ALLOWED):
            warnings.simplefilter("ignore")  # torch warns of odd pickles; ours is one sentence
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as problem:
        asked = re.search(r"GLOBAL ([\w.]*\w)", str(problem))
        if asked is None:
            raise _damaged(path, problem) from None
        raise CheckpointError(
            f"{path}: holds '{asked[1]}', which is neither a tensor nor a plain setting; nothing of the file was run",
            f"if you trust the file, open it with the code that wrote it and {RESAVE}",
        ) from None
    except Exception as problem:  # a damaged file makes torch raise nearly anything
        raise _damaged(path, problem) from None


def _damaged(path: Path, problem: Exception) -> CheckpointError:
    reason = (str(problem).strip() or type(problem).__name__).splitlines()[0][:120]
    # torch's own words there are about its options, not about the file.
    because = "" if isinstance(problem, pickle.UnpicklingError) else f" ({reason})"
    return CheckpointError(
        f"{path}: cannot be read as a checkpoint, it is truncated, damaged or of another format{because}",
        "copy or download it again; read are files of torch.save and safetensors",
    )


def _unwrap(path: Path, content: Any, ema: bool) -> tuple[str, dict[str, Tensor]]:
    """Return the wrapping's name and the state dict inside it."""
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path}: holds a {type(content).__name__}, it must hold a state dict", RESAVE)
    wanted = (EMA_WRAPPER,) if ema else WRAPPERS
    wrapper = next((name for name in wanted if isinstance(content.get(name), Mapping)), None)
    if ema and wrapper is None:
        raise CheckpointError(f"{path}: has no '{EMA_WRAPPER}', found {_some(content)}", "open it without ema")
    state = content if wrapper is None else content[wrapper]
    for name, value in state.items():
        if not isinstance(value, Tensor) or not isinstance(name, str):
            raise CheckpointError(
                f"{path}: key '{name}' is a {type(value).__name__}, a state dict holds only tensors; "
                f"allowed around it are {', '.join(repr(key) for key in (*WRAPPERS, EMA_WRAPPER))}",
                RESAVE,
            )
    if not state:
        raise CheckpointError(f"{path}: its state dict is empty", RESAVE)
    return ("state dict" if wrapper is None else f"{{'{wrapper}': …}}"), dict(state)


def _some(names: Mapping[Any, Any]) -> str:
    shown = [str(name) for name in names][:5]
    return ", ".join(shown) + (", …" if len(names) > len(shown) else "") if shown else "nothing"


def _strip_prefixes(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Take off the prefixes wrappers of modules leave, where every name has them."""
    for prefix in PREFIXES * 2:
        if tensors and all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors


def _settings_of(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the training script's settings: the fields of its ``args``."""
    args = content.get("args")
    if isinstance(args, argparse.Namespace):
        return dict(vars(args))
    return dict(args) if isinstance(args, Mapping) else {}
