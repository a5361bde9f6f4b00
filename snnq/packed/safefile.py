"""safetensors files whose bytes depend on nothing but their content, and reading them with clear errors.

The safetensors library writes its metadata in an order that changes from process to process, so the header is written
here: compact JSON padded with spaces to 8 bytes, tensors by element size (largest first, so that all are aligned) and
then by name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from snnq.base.errors import PackedError
from snnq.base.files import open_regular
from snnq.packed.config import REPACK

DTYPES = {torch.float32: "F32", torch.int8: "I8", torch.int16: "I16", torch.int32: "I32", torch.int64: "I64"}


@dataclass(frozen=True)
class TensorFile:
    """The tensors of a safetensors file by name, and the bytes before them (8 of length, then the header)."""

    path: Path
    tensors: Mapping[str, Tensor]
    header_bytes: int

    def take(self, name: str, shape: tuple[int, ...], *dtypes: torch.dtype) -> Tensor:
        """Return a tensor; raises PackedError if it is missing, of another shape or dtype, or not finite."""
        if name not in self.tensors:
            raise PackedError(f"{self.path}: tensor '{name}' is missing", REPACK)
        found = self.tensors[name]
        if tuple(found.shape) != tuple(shape):
            message = f"{self.path}: tensor '{name}' has shape {list(found.shape)}, it must be {list(shape)}"
            raise PackedError(message, REPACK)
        if found.dtype not in dtypes:
            allowed = " or ".join(str(dtype).removeprefix("torch.") for dtype in dtypes)
            kind = str(found.dtype).removeprefix("torch.")
            raise PackedError(f"{self.path}: tensor '{name}' is {kind}, it must be {allowed}", REPACK)
        if found.is_floating_point() and not bool(found.isfinite().all()):
            raise PackedError(f"{self.path}: '{name}' holds a number that is not finite", REPACK)
        return found


def safetensors_bytes(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """Return a whole safetensors file; equal tensors and metadata give equal bytes."""
    header: dict[str, object] = {"__metadata__": dict(sorted(metadata.items()))}
    parts, end = [], 0
    for name in sorted(tensors, key=lambda name: (-tensors[name].element_size(), name)):
        # numpy's little-endian types, whatever this machine's are.
        array = tensors[name].detach().cpu().contiguous().numpy()
        part = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
        offsets = [end, end := end + len(part)]
        header[name] = {"dtype": DTYPES[tensors[name].dtype], "shape": list(array.shape), "data_offsets": offsets}
        parts.append(part)
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(8, "little"), text, *parts])


def read_tensors(path: Path) -> TensorFile:
    """Return the tensors of a file; raises PackedError if it is missing, cut off or damaged."""
    try:
        with open_regular(path) as file:
            header_bytes = 8 + int.from_bytes(file.read(8), "little")
        return TensorFile(path, load_file(path), header_bytes)
    except FileNotFoundError:
        raise PackedError(f"{path} is missing: {path.parent} is not a complete packed folder", REPACK) from None
    except OSError as problem:
        raise PackedError(f"{path}: cannot be read ({problem.strerror})", REPACK) from None
    except (SafetensorError, ValueError, KeyError) as problem:
        raise PackedError(f"{path}: not a whole safetensors file ({problem})", REPACK) from None
