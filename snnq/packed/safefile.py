"""safetensors files whose bytes depend on nothing but their content, and reading them with clear errors, in numpy.

The safetensors library writes its metadata in an order that changes from process to process, so the header is written
here: compact JSON padded with spaces to 8 bytes, tensors by element size (largest first, so that all are aligned) and
then by name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open

from snnq.base.errors import PackedError
from snnq.base.files import open_regular
from snnq.packed.config import REPACK
from snnq.packed.numbers import Taken

if TYPE_CHECKING:
    from torch import Tensor

# numpy's (and torch's) name of a type, and the file's; uint8 is a coded stream's alone, float16 an adapter's.
DTYPES = {"float32": "F32", "int8": "I8", "int16": "I16", "int32": "I32", "int64": "I64"}
_TYPES = DTYPES | {"uint8": "U8", "float16": "F16"}
_NUMPY = {"F32": "<f4", "I8": "i1", "I16": "<i2", "I32": "<i4", "I64": "<i8", "U8": "u1"}


@dataclass(frozen=True)
class Coding:
    """How coded tensors share a stream: what each takes, the bits of the lanes' states, and the bytes of it all."""

    taken: Mapping[str, Taken]
    state_bits: int
    bytes: int


class Sparse(NamedTuple):
    """What a sparse layer takes, in bits: its mask and codes, and both with the padding of their words."""

    codes: int
    all: int


@dataclass(frozen=True)
class TensorFile:
    """The tensors of a model.safetensors by name, and the bytes before them (8 of length, then the header).

    ``coding`` says how they are coded; None where the file holds each as it is, but for the words in ``sparse``, in
    whose place it holds a mask and fewer codes (``packed.sparse``).
    """

    path: Path
    tensors: Mapping[str, np.ndarray]
    header_bytes: int
    coding: Coding | None = None
    sparse: Mapping[str, Sparse] = field(default_factory=dict)

    def taken(self, name: str) -> Taken:
        """Return what a tensor takes in the file, in bits."""
        if name in self.sparse:
            return Taken(self.sparse[name].all, 0)
        return self.coding.taken[name] if self.coding else Taken(8 * self.tensors[name].nbytes, 0)

    def take(self, name: str, shape: tuple[int, ...], *dtypes: str) -> np.ndarray:
        """Return a tensor; raises PackedError if it is missing, of another shape or dtype, or not finite."""
        if name not in self.tensors:
            raise PackedError(f"{self.path}: tensor '{name}' is missing", REPACK)
        found = self.tensors[name]
        if found.shape != tuple(shape):
            message = f"{self.path}: tensor '{name}' has shape {list(found.shape)}, it must be {list(shape)}"
            raise PackedError(message, REPACK)
        if found.dtype.name not in dtypes:
            message = f"{self.path}: tensor '{name}' is {found.dtype.name}, it must be {' or '.join(dtypes)}"
            raise PackedError(message, REPACK)
        if found.dtype.kind == "f" and not bool(np.isfinite(found).all()):
            raise PackedError(f"{self.path}: '{name}' holds a number that is not finite", REPACK)
        return found


def safetensors_bytes(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """Return a whole safetensors file; equal tensors and metadata give equal bytes."""
    header: dict[str, object] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    parts, end = [], 0
    for name in sorted(tensors, key=lambda name: (-tensors[name].element_size(), name)):
        # numpy's little-endian types, whatever this machine's are.
        array = tensors[name].detach().cpu().contiguous().numpy()
        part = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
        offsets = [end, end := end + len(part)]
        header[name] = {"dtype": _TYPES[array.dtype.name], "shape": list(array.shape), "data_offsets": offsets}
        parts.append(part)
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(8, "little"), text, *parts])


def read_tensors(path: Path) -> TensorFile:
    """Return the tensors of a file as read-only views of the mapped file.

    Raises PackedError if it is missing, cut off, damaged, or holds a type that no packed folder has.
    """
    try:
        with open_regular(path), safe_open(path, framework="numpy"):  # checks that the tensors fill the file
            data = np.memmap(path, dtype=np.uint8, mode="r")
    except FileNotFoundError:
        raise PackedError(f"{path} is missing: {path.parent} is not a complete packed folder", REPACK) from None
    except (SafetensorError, ValueError) as problem:
        raise PackedError(f"{path}: not a whole safetensors file ({problem})", REPACK) from None
    except OSError as problem:
        raise PackedError(f"{path}: cannot be read ({problem.strerror})", REPACK) from None
    start = 8 + int.from_bytes(data[:8].tobytes(), "little")
    header = json.loads(data[8:start].tobytes())
    header.pop("__metadata__", None)
    found = {}
    for name, entry in header.items():
        if entry["dtype"] not in _NUMPY:
            raise PackedError(f"{path}: tensor '{name}' is {entry['dtype']}, which no packed folder holds", REPACK)
        begin, end = entry["data_offsets"]
        found[name] = data[start + begin : start + end].view(_NUMPY[entry["dtype"]]).reshape(entry["shape"])
    return TensorFile(path, found, start)
