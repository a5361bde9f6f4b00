"""Checkpoint files: opened, held to what they can hold, and taken out of their wrapping.

Read are safetensors files and files of ``torch.save`` (zip or the older pickle stream; ``checkpoints.pickled``), in
whatever a training script wraps around the weights (``checkpoints.unwrapping``). Any other file is told by what it is
(``checkpoints.foreign``). Settings that a training script left beside the weights are collected as facts.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from snnq.base.errors import CheckpointError
from snnq.base.files import open_regular, regular_size
from snnq.base.strict_json import Json, strict_json
from snnq.checkpoints.foreign import HEAD, foreign_file, foreign_folder
from snnq.checkpoints.pickled import LEGACY_MAGIC, damaged, load_torch
from snnq.checkpoints.unwrapping import Weights, items, unwrap

METADATA_KEY = "snnq"
# Far above any spiking transformer with its optimizer's state; a file without end must end somewhere.
MOST_BYTES = 32 * 2**30
_MOST_HEADER = 16 * 2**20  # a safetensors header of 100,000 tensors has about 10 MB
# Tensors may share storage and be stored in a byte a number; a strided view may claim any size.
_NUMBERS_A_BYTE, _NUMBERS_ANYWAY = 4, 2**24


@dataclass(frozen=True)
class Container:
    """A checkpoint file with its wrapping taken off.

    ``kind`` names the wrapping, ``weights`` are what was in it, ``settings`` are what the training script recorded,
    ``own`` is the description of a file that this project saved, and ``notes`` say in sentences what was taken and
    left out.
    """

    path: str
    sha256: str
    kind: str
    weights: Weights
    settings: dict[str, object]
    own: Json | None = None
    notes: tuple[str, ...] = ()

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The weights under cleaned names; of a file of ours, under its own."""
        return self.weights.tensors


def read_container(path: Path, *, weights: str | None = None) -> Container:
    """Return what the file at ``path`` holds; ``weights`` (``last``, ``ema`` or a key) chooses among several sets.

    Raises ``CheckpointError`` for a path that is no readable file, a damaged or foreign file, tensors that claim more
    than the file holds, and a pickle that asks for anything beyond the allow-list; nothing of it has run then.
    """
    with _opened(path) as file:
        start, size = file.read(HEAD), os.fstat(file.fileno()).st_size
        file.seek(0)
        content: object
        others: tuple[str, ...] = ()
        tensors, own = {}, None
        if _is_safetensors(start):
            tensors, own = _read_safetensors(path, start)
            content = tensors
        elif start.startswith((b"PK\3\4", LEGACY_MAGIC)):
            content, others = load_torch(path, file, size)
        else:
            raise _foreign(path, start)
        file.seek(0)
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if own is not None:
        if weights is not None:
            raise CheckpointError(f"{path}: --weights {weights}: snnq's own files hold one set", "leave it away")
        return Container(str(path), sha256, "safetensors", Weights("", tensors, "", tensors, None, ()), {}, own)
    found = unwrap(str(path), content, weights)
    _check_numbers(path, found.tensors, size)
    notes = list(found.notes)
    if others:
        notes.append(f"Left out: settings of classes that were not looked up ({', '.join(others[:4])}).")
    kind = "safetensors" if _is_safetensors(start) else found.kind
    return Container(str(path), sha256, kind, found, _settings_of(content), None, tuple(notes))


def file_sha256(path: Path) -> str:
    """Return the sha256 of a regular file; raises ``CheckpointError`` for anything else."""
    with _opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _opened(path: Path) -> io.BufferedReader:
    """Open a regular file that is not empty; nothing else is opened."""
    if path.is_dir():
        raise CheckpointError(f"{path}: {foreign_folder(path)[0]}", foreign_folder(path)[1])
    if not os.path.lexists(path):
        raise CheckpointError(f"{path}: no such file", "check the path; 'digits' names the built-in checkpoint")
    try:
        if not regular_size(path):
            raise CheckpointError(f"{path}: the file is empty", "copy or download it again")
        return open_regular(path, MOST_BYTES)
    except OSError as problem:
        raise CheckpointError(f"{path}: cannot be read: {problem.strerror}") from None


def _foreign(path: Path, start: bytes) -> CheckpointError:
    found = foreign_file(path, start)
    if found is None:
        return damaged(path, ValueError("its first bytes are those of no format known here"))
    said, advice = found
    return CheckpointError(f"{path}: cannot be read as a checkpoint: it is {said}", advice.replace("FILE", str(path)))


def _is_safetensors(start: bytes) -> bool:
    """True for a header's length, below 4 GiB in eight bytes, followed by its opening brace."""
    return start[4:9] == b"\0\0\0\0{"


def _read_safetensors(path: Path, start: bytes) -> tuple[dict[str, Tensor], Json | None]:
    if int.from_bytes(start[:8], "little") > _MOST_HEADER:
        raise damaged(path, ValueError(f"its header claims {int.from_bytes(start[:8], 'little'):,} bytes"))
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, KeyError, AttributeError) as problem:
        raise damaged(path, problem) from None
    return tensors, _own_description(path, metadata)


def _own_description(path: Path, metadata: Mapping[str, str]) -> Json | None:
    if METADATA_KEY not in metadata:
        return None
    try:
        own = strict_json(metadata[METADATA_KEY])
    except ValueError:
        own = None
    if not isinstance(own, dict) or not isinstance(own.get("config"), dict) or "architecture" not in own:
        raise CheckpointError(f"{path}: metadata key '{METADATA_KEY}' must be JSON with 'architecture' and 'config'")
    return own


def _check_numbers(path: Path, tensors: Mapping[str, Tensor], size: int) -> None:
    """Raise ``CheckpointError`` for tensors of more numbers than the file can hold: a view may repeat one for ever."""
    most = max(_NUMBERS_A_BYTE * size, _NUMBERS_ANYWAY)
    count = sum(tensor.numel() for tensor in tensors.values())
    if count > most:
        name, largest = max(tensors.items(), key=lambda item: item[1].numel())
        raise CheckpointError(
            f"{path}: its tensors claim {count:,} numbers, more than a file of {size:,} bytes holds; the largest is "
            f"key '{name}' of shape {tuple(largest.shape)}",
            "save them whole: tensor.contiguous(), tensor.to_dense()",
        )


def _settings_of(content: object) -> dict[str, object]:
    """Return the training script's settings: the fields of its ``args``, or of Lightning's ``hyper_parameters``."""
    found: dict[str, object] = {}
    held = dict(items(content)) if isinstance(content, Mapping) else {}
    for key in ("hyper_parameters", "args"):
        value = held.get(key)
        if isinstance(value, argparse.Namespace):
            found |= vars(value)
        elif isinstance(value, Mapping):
            # Of a class that is not here, attributes are kept beside the items.
            found |= {**getattr(value, "__dict__", {}), **dict(items(value))}
    return found
