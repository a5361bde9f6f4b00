"""Coded storage: all tensors of a packed folder as one stream of bytes, in the bits that their content needs.

The stream holds, one behind the other (``snnq.packed.numbers``): of every layer, sorted by name, its codes,
in the context that suits them, and its parameters in the order of its format, or its float32 weight; then the tensors
that config.json lists as belonging to no layer, sorted by name. Names, types and shapes stand in config.json alone.
What is read is exactly what was written: words are packed again, so that nobody can tell how a tensor was stored.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from snnq.base.errors import PackedError, VerificationError
from snnq.packed.coding import other_tensors, read_layer
from snnq.packed.config import REPACK, PackedLayer, PackedTensor
from snnq.packed.numbers import NumberReader, NumberWriter, Taken
from snnq.packed.safefile import Coding, TensorFile
from snnq.schemes.format import Arrays, Stored
from snnq.schemes.scheme import Scheme, scheme

# The one tensor of the file, uint8 (bytes,).
STREAM = "coded"
# What is asked of memory is bounded by the file's own size: a stream has at most so many numbers a byte, and is filled
# up with zeros where they would take less, a 16th of a bit each.
MOST_NUMBERS = 128


def stream_of(file: TensorFile, layers: Mapping[str, PackedLayer]) -> tuple[bytes, dict[str, PackedTensor]]:
    """Return the tensors of a file as a stream, and those that belong to no layer; equal tensors give equal bytes.

    Raises PackedError for tensors that are not those of the layers, VerificationError for numbers too large to code.
    """
    others, writer, name = other_tensors(file, layers), NumberWriter(), ""
    try:
        for name, layer in sorted(layers.items()):
            stored = read_layer(name, layer, file)
            if scheme(layer.scheme).is_float:
                writer.real(stored.codes)
                continue
            writer.whole(stored.codes, taps=math.prod(layer.shape[2:]))
            for value in stored.params.values():
                writer.real(value)
        for name in sorted(others):
            array = others[name].reshape(1, -1)
            (writer.real if array.dtype.kind == "f" else writer.whole)(array)
    except ValueError as problem:
        raise VerificationError(f"{name}: it cannot be coded ({problem})", "store it as it is: fixed") from None
    listed = {name: {"dtype": others[name].dtype.name, "shape": others[name].shape} for name in sorted(others)}
    found = {name: PackedTensor.model_validate(one) for name, one in listed.items()}
    return writer.bytes(-(-_numbers(layers, found) // MOST_NUMBERS)), found


def tensors_of(
    path: Path,
    stream: bytes,
    header_bytes: int,
    layers: Mapping[str, PackedLayer],
    others: Mapping[str, PackedTensor],
) -> TensorFile:
    """Return the tensors of a stream, and what each takes of it; raises PackedError where it is damaged."""
    if _numbers(layers, others) > MOST_NUMBERS * len(stream):
        largest = max(layers, key=lambda name: math.prod(layers[name].shape))
        shape = list(layers[largest].shape)
        raise PackedError(f"{path}: {len(stream)} bytes are too few for layer {largest} of shape {shape}", REPACK)
    tensors, taken = {}, {}
    try:
        reader = NumberReader(stream)
        for name, array, bits in _read(reader, layers, others):
            tensors[name], taken[name] = array, bits
        reader.close()
    except (ValueError, VerificationError) as problem:
        raise PackedError(f"{path}: its coded tensors are damaged ({problem})", REPACK) from None
    for array in tensors.values():
        array.flags.writeable = False
    return TensorFile(path, tensors, header_bytes, Coding(taken, reader.state_bits, len(stream)))


def _numbers(layers: Mapping[str, PackedLayer], others: Mapping[str, PackedTensor]) -> int:
    return sum(math.prod(one.shape) for one in (*layers.values(), *others.values()))


def _read(
    reader: NumberReader, layers: Mapping[str, PackedLayer], others: Mapping[str, PackedTensor]
) -> Iterator[tuple[str, np.ndarray, Taken]]:
    """Yield the name of each tensor, the tensor, and what it takes."""
    for name, layer in sorted(layers.items()):
        one = scheme(layer.scheme)
        if one.is_float:
            weight, bits = reader.real(*layer.matrix)
            yield f"{name}.weight", weight.reshape(layer.shape), bits
            continue
        stored, spent = _stored(reader, one, layer.matrix)
        for key, array in one.write(stored).items():
            yield f"{name}.{key}", array, spent.get(key, Taken(0, 0))
    for name, other in sorted(others.items()):
        shape = (1, math.prod(other.shape))
        array, bits = reader.real(*shape) if other.dtype == "float32" else reader.whole(*shape)
        if array.dtype.kind == "i" and array.size:
            limits = np.iinfo(other.dtype)
            if int(array.min()) < limits.min or int(array.max()) > limits.max:
                raise ValueError(f"{name} is no {other.dtype}")
        yield name, array.astype(other.dtype).reshape(other.shape), bits


def _stored(reader: NumberReader, one: Scheme, matrix: tuple[int, int]) -> tuple[Stored, dict[str, Taken]]:
    """Return codes and parameters of a layer, and what is taken in the name of each of its tensors."""
    codes, bits = reader.whole(*matrix, codes=True)
    if int(codes.min()) < 0 or int(codes.max()) >= 1 << one.code_bits:
        raise ValueError("it holds codes that do not fit its scheme")
    words, *keys = one.format.tensors  # and the shape, which comes last and takes nothing
    spent, params = {words: bits}, Arrays()
    for parameter, key in zip(one.parameters, keys, strict=False):
        params[parameter], spent[key] = reader.real(matrix[0], 1)
        if not bool(np.isfinite(params[parameter]).all()):
            raise ValueError("it holds a number that is not finite")
    return Stored(codes.astype(np.uint8), params), spent
