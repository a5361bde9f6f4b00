"""model.safetensors in either storage: ``fixed``, every tensor as it is, or ``coded``, all in one stream."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from snnq.base.errors import VerificationError
from snnq.base.version import __version__
from snnq.packed.coded import STREAM, stream_of, tensors_of
from snnq.packed.config import MODEL_FILE, PackedLayer, PackedTensor
from snnq.packed.safefile import TensorFile, safetensors_bytes

Storage = Literal["coded", "fixed"]


class Written(NamedTuple):
    """The bytes of a model.safetensors, its tensors, and those that config.json lists: none of fixed storage."""

    content: bytes
    file: TensorFile
    others: dict[str, PackedTensor]


def write_tensors(tensors: Mapping[str, Tensor], layers: Mapping[str, PackedLayer], storage: Storage) -> Written:
    """Return tensors as a file; equal tensors give equal bytes.

    Raises VerificationError where a coded stream does not give back exactly these tensors.
    """
    path, arrays = Path(MODEL_FILE), {name: one.detach().cpu().contiguous().numpy() for name, one in tensors.items()}
    if storage == "fixed":
        content = safetensors_bytes(tensors, {"format": "pt", "snnq": __version__})
        return Written(content, TensorFile(path, arrays, _start(content)), {})
    stream, others = stream_of(TensorFile(path, arrays, 0), layers)
    content = safetensors_bytes({STREAM: torch.from_numpy(np.frombuffer(bytearray(stream), np.uint8))}, {})
    file = tensors_of(path, stream, _start(content), layers, others)
    for name, array in arrays.items():
        if name not in file.tensors or file.tensors[name].tobytes() != array.tobytes():
            raise VerificationError(f"tensor {name}: its coded form gives back another", "please report this")
    return Written(content, file, others)


def _start(content: bytes) -> int:
    return 8 + int.from_bytes(content[:8], "little")
