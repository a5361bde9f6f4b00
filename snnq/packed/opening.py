"""Opening model.safetensors of a packed folder, in whichever storage its config.json names."""

from __future__ import annotations

from pathlib import Path

from snnq.base.errors import PackedError
from snnq.packed.coded import STREAM, tensors_of
from snnq.packed.config import MODEL_FILE, REPACK, PackedConfig, check_hash
from snnq.packed.safefile import TensorFile, read_tensors
from snnq.packed.sparse import expanded


def open_tensors(folder: Path, config: PackedConfig) -> TensorFile:
    """Return the tensors of a packed folder, read-only: of fixed storage views of the mapped file, but sparse ones.

    Raises PackedError if the file is missing, cut off, damaged, or not of the storage that the config names, and
    VerificationError for a stream that is not the one config.json was written for, before it is decoded.
    """
    file, said = read_tensors(folder / MODEL_FILE), config.quantization_config
    if said.storage == "fixed":
        return expanded(file, said.layers)
    stream = file.tensors.get(STREAM)
    if len(file.tensors) != 1 or stream is None or stream.dtype.name != "uint8" or stream.ndim != 1:
        raise PackedError(f"{file.path}: tensor '{STREAM}' of bytes must be all that it holds", REPACK)
    check_hash(folder, MODEL_FILE, config)
    return tensors_of(file.path, stream.tobytes(), file.header_bytes, said.layers, said.tensors)
