"""Sparse layers of fixed storage: a bit for every weight, and codes of those that are not zero.

    weight_mask   int32 (out, ⌈n/32⌉)   1 where a weight is not zero, the first in the lowest bit; rows start new words
    weight_codes  int32 (1, words)      the codes of these weights, row after row, in words of the scheme's code bits

They stand in place of a layer's words where they are smaller: of codes of b bits, where fewer than (b − 1)/b of the
weights are left. The other weights have their channel's code of zero. What is read is the layer's words, packed again,
so that nobody can tell how they were stored. Entropy-coded storage has no such form: a code's entropy is at most 1 bit
for whether it is zero, and b for what else it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from snnq.base.errors import PackedError, VerificationError
from snnq.packed.coding import read_layer
from snnq.packed.config import REPACK, PackedLayer
from snnq.packed.safefile import Sparse, TensorFile
from snnq.schemes.format import Arrays, Stored
from snnq.schemes.scheme import Scheme, scheme
from snnq.schemes.words import pack_rows, unpack_rows, words_per_row

MASK, CODES = "weight_mask", "weight_codes"


def with_sparse(file: TensorFile, layers: Mapping[str, PackedLayer]) -> Arrays:
    """Return the tensors of a file, those layers sparse that are smaller so."""
    tensors = dict(file.tensors)
    for name, layer in layers.items():
        one = scheme(layer.scheme)
        if one.is_float:
            continue
        words = f"{name}.{_words(one)}"
        found = _sparse(one, read_layer(name, layer, file))
        if found is not None and sum(part.nbytes for part in found.values()) < tensors[words].nbytes:
            del tensors[words]
            tensors |= {f"{name}.{key}": part for key, part in found.items()}
    return tensors


def expanded(file: TensorFile, layers: Mapping[str, PackedLayer]) -> TensorFile:
    """Return a file whose sparse layers have their words; raises PackedError where one is damaged."""
    tensors, sparse = dict(file.tensors), {}
    for name, layer in layers.items():
        one = scheme(layer.scheme)
        if one.is_float or f"{name}.{MASK}" not in tensors:
            continue
        words = f"{name}.{_words(one)}"
        if words in tensors:
            raise PackedError(f"{file.path}: layer {name} has both '{words}' and '{name}.{MASK}'", REPACK)
        codes, count = _codes(name, one, layer, file)
        parts = [tensors.pop(f"{name}.{key}") for key in (MASK, CODES)]
        tensors[words] = codes
        sparse[words] = Sparse(codes_bits(layer, one, count), 8 * sum(part.nbytes for part in parts))
    if not sparse:
        return file
    for words in sparse:
        tensors[words].flags.writeable = False
    return replace(file, tensors=tensors, sparse=sparse)


def codes_bits(layer: PackedLayer, one: Scheme, count: int) -> int:
    """Return the bits of a sparse layer with ``count`` weights that are not zero: mask and codes, without padding."""
    return layer.matrix[0] * layer.matrix[1] + count * one.code_bits


def _words(one: Scheme) -> str:
    return next(key for key, kind in one.format.tensors.items() if kind == "words")


def _zero_codes(one: Scheme, stored: Stored) -> np.ndarray:
    """Return each channel's first code that stands for zero, int64 (out,); −1 where none does."""
    rows, valid = len(next(iter(stored.params.values()))), one.valid_codes
    levels = one.weight(Stored(np.tile(valid.astype(np.uint8), (rows, 1)), stored.params))
    zero = levels == 0
    return np.where(zero.any(1), valid[zero.argmax(1)], -1)


def _sparse(one: Scheme, stored: Stored) -> Arrays | None:
    """Return a layer's sparse tensors; None where a weight of zero has another code than its channel's zero."""
    mask = one.weight(stored) != 0
    if bool((~mask & (stored.codes != _zero_codes(one, stored)[:, None])).any()):
        return None
    codes = stored.codes[mask][None]
    return {MASK: pack_rows(mask.astype(np.uint8), 1), CODES: pack_rows(codes, one.code_bits)}


def _codes(name: str, one: Scheme, layer: PackedLayer, file: TensorFile) -> tuple[np.ndarray, int]:
    """Return a sparse layer's words, and how many of its weights are not zero; raises PackedError."""
    (rows, n), words = layer.matrix, _words(one)
    mask = unpack_rows(file.take(f"{name}.{MASK}", (rows, words_per_row(n, 1)), "int32"), 1, n).astype(bool)
    count = int(mask.sum())
    packed = file.take(f"{name}.{CODES}", (1, words_per_row(count, one.code_bits)), "int32")

    def take(key: str, shape: tuple[int, ...], *dtypes: str) -> np.ndarray:
        return np.zeros(shape, dtypes[0]) if key == words else file.take(f"{name}.{key}", shape, *dtypes)

    params = one.read(take, layer.shape).params
    zero = _zero_codes(one, Stored(np.zeros((rows, n), np.uint8), params))
    codes = np.repeat(zero.clip(0)[:, None], n, 1).astype(np.uint8)
    codes[mask] = unpack_rows(packed, one.code_bits, count)[0]
    try:
        found = Stored(codes, params)
        again = _sparse(one, found) if set(np.unique(codes)) <= set(one.valid_codes.tolist()) else None
        dense = one.write(found)[words]
    except (ValueError, VerificationError) as problem:
        raise PackedError(f"{file.path}: the sparse codes of layer {name} are damaged ({problem})", REPACK) from None
    if again is None or not all(np.array_equal(again[key], file.tensors[f"{name}.{key}"]) for key in (MASK, CODES)):
        said = "its mask and its codes are not those of one weight"
        raise PackedError(f"{file.path}: the sparse codes of layer {name} are damaged ({said})", REPACK)
    return dense, count
