"""model.safetensors in either storage: ``fixed``, every tensor as it is or sparse, or ``coded``, all in one stream."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple, cast, get_args

import numpy as np
import torch
from torch import Tensor

from snnq.base.errors import UsageError, VerificationError, nearest
from snnq.base.version import __version__
from snnq.packed.coded import STREAM, stream_of, tensors_of
from snnq.packed.config import MODEL_FILE, PackedLayer, PackedTensor
from snnq.packed.safefile import TensorFile, safetensors_bytes
from snnq.packed.sparse import expanded, with_sparse
from snnq.schemes.scheme import scheme

Storage = Literal["coded", "fixed"]
STORAGES: tuple[Storage, ...] = get_args(Storage)


class WrittenFile(NamedTuple):
    """The bytes of a model.safetensors, its tensors, and those that config.json lists: none of fixed storage."""

    content: bytes
    file: TensorFile
    others: dict[str, PackedTensor]


def as_storage(name: str) -> Storage:
    """Return a storage by its name; raises UsageError naming the nearest one."""
    if name not in STORAGES:
        raise UsageError(f"--storage {name}: there is {' and '.join(STORAGES)}{nearest(name, STORAGES)}")
    return cast(Storage, name)


def check_storage(storage: Storage, schemes: Mapping[str, str], *, trained: bool = False) -> None:
    """Raise UsageError where fixed storage is to hold rates, of a plan or ``trained`` to: it would not be smaller."""
    rates = [name for name, one in schemes.items() if scheme(one).rate is not None]
    if storage == "fixed" and (rates or trained):
        what = f"layer {rates[0]} is {schemes[rates[0]]}" if rates else "a rate or budget is trained for"
        raise UsageError(
            f"--storage fixed: {what}, and there every code takes its whole width",
            "leave --storage away, or plan schemes without a rate",
        )


def write_tensors(tensors: Mapping[str, Tensor], layers: Mapping[str, PackedLayer], storage: Storage) -> WrittenFile:
    """Return tensors as a file; equal tensors give equal bytes.

    Raises VerificationError where what is written does not give back exactly these tensors.
    """
    path, arrays = Path(MODEL_FILE), {name: one.detach().cpu().contiguous().numpy() for name, one in tensors.items()}
    if storage == "fixed":
        stored = with_sparse(TensorFile(path, arrays, 0), layers)
        whole = {name: np.ascontiguousarray(array).reshape(array.shape) for name, array in stored.items()}
        kept = {name: torch.from_numpy(array) for name, array in whole.items()}
        content = safetensors_bytes(kept, {"format": "pt", "snnq": __version__})
        file = expanded(TensorFile(path, stored, _start(content)), layers)
        return WrittenFile(content, _the_same(file, arrays, "sparse"), {})
    stream, others = stream_of(TensorFile(path, arrays, 0), layers)
    content = safetensors_bytes({STREAM: torch.from_numpy(np.frombuffer(bytearray(stream), np.uint8))}, {})
    file = tensors_of(path, stream, _start(content), layers, others)
    return WrittenFile(content, _the_same(file, arrays, "coded"), others)


def _the_same(file: TensorFile, arrays: Mapping[str, np.ndarray], form: str) -> TensorFile:
    """Return a file that was read back; raises VerificationError unless it holds exactly these tensors."""
    for name, array in arrays.items():
        if name not in file.tensors or file.tensors[name].tobytes() != array.tobytes():
            raise VerificationError(f"tensor {name}: its {form} form gives back another", "please report this")
    return file


def _start(content: bytes) -> int:
    return 8 + int.from_bytes(content[:8], "little")
