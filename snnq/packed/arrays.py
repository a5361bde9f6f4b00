"""A packed folder without torch: its tensors as memory-mapped numpy arrays, its layers as whole numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from snnq.base.errors import PackedError, UsageError
from snnq.models.registry import architecture
from snnq.network.wiring import FloatWiring, Stage, Wiring
from snnq.packed import integers
from snnq.packed.config import (
    CONFIG_FILE,
    MODEL_FILE,
    REPACK,
    UNBUILDABLE,
    PackedConfig,
    check_hash,
    no_model,
    read_config,
)
from snnq.packed.integers import Head, Neurons, Whole
from snnq.schemes.names import FLOAT32, split_name

_DTYPES = {"F32": "<f4", "I8": "i1", "I16": "<i2", "I32": "<i4", "I64": "<i8"}


@dataclass(frozen=True)
class PackedArrays:
    """A packed folder: its config, the wiring of its model, and its tensors, read-only on the mapped file."""

    folder: Path
    config: PackedConfig
    wiring: Wiring
    tensors: Mapping[str, np.ndarray]

    def take(self, name: str, shape: tuple[int, ...], *kinds: str) -> np.ndarray:
        """Return a tensor; raises PackedError if it is missing, of another shape or kind, or not finite."""
        found = self.tensors.get(name)
        if found is None or found.shape != shape or found.dtype.kind not in kinds:
            what = "missing" if found is None else f"{found.dtype} {list(found.shape)}"
            raise PackedError(
                f"{self.folder / MODEL_FILE}: tensor '{name}' is {what}, it must be {list(shape)}", REPACK
            )
        if found.dtype.kind == "f" and not bool(np.isfinite(found).all()):
            raise PackedError(f"{self.folder / MODEL_FILE}: '{name}' holds a number that is not finite", REPACK)
        return found

    def scheme(self, name: str) -> str:
        """Return a layer's scheme."""
        if name not in self.config.layers:
            raise PackedError(f"{self.folder / CONFIG_FILE}: layer '{name}' is missing", REPACK)
        return self.config.layers[name].scheme

    def rows(self, name: str) -> tuple[int, int]:
        """Return (out, n), the shape of a layer's weight as a matrix."""
        shape = self.config.layers[name].shape
        return shape[0], math.prod(shape[1:])

    def words(self, name: str) -> np.ndarray:
        """Return the words of a quantised layer as they are packed, uint32 (out, words)."""
        family, bits = split_name(self.scheme(name))
        out, n = self.rows(name)
        key = "weight_packed" if family == "uniform" else "weight_pot_packed"
        return self.take(f"{name}.{key}", (out, -(-n // (32 // bits))), "i").view(np.uint32)

    def codes(self, name: str) -> np.ndarray:
        """Return the codes of a quantised layer, uint8 (out, n)."""
        bits, (out, n), words = split_name(self.scheme(name))[1], self.rows(name), self.words(name)
        each = 32 // bits
        shifts = np.arange(each, dtype=np.uint32) * np.uint32(bits)
        fields = (words[:, :, None] >> shifts) & np.uint32(2**bits - 1)
        return fields.reshape(out, -1)[:, :n].astype(np.uint8)

    def params(self, name: str) -> dict[str, np.ndarray]:
        """Return the parameters of a quantised layer, each (out, 1)."""
        out = self.rows(name)[0]
        if split_name(self.scheme(name))[0] == "uniform":
            halves = self.take(f"{name}.weight_zero_point_halves", (out, 1), "i")
            scale = self.take(f"{name}.weight_scale", (out, 1), "f")
            return {"scale": scale, "zero_point": halves.astype(np.float64) / 2}
        return {"log2_scale": self.take(f"{name}.weight_scale_exp", (out, 1), "i")}

    def weight(self, name: str) -> np.ndarray:
        """Return a float32 layer's weight as a matrix (out, n)."""
        return self.take(f"{name}.weight", self.config.layers[name].shape, "f").reshape(self.rows(name))

    def whole(self, stage: Stage) -> Whole:
        """Return the weight of a stage's layer as whole numbers."""
        scheme = self.scheme(stage.layer)
        if scheme == FLOAT32:
            return integers.fixed_point(self.weight(stage.layer), stage.bound)
        return integers.whole_weight(scheme, self.codes(stage.layer), self.params(stage.layer), stage.bound)

    def neurons(self, stage: Stage, whole: Whole) -> Neurons:
        """Return the neurons behind a stage's layer."""
        shape = (self.rows(stage.layer)[0],)
        multiplier, offset = (self.take(f"{stage.norm}.{name}", shape, "f") for name in ("multiplier", "offset"))
        return integers.neurons(whole, multiplier, offset, stage.threshold, stage.bound)

    def head(self) -> Head:
        """Return the head in fixed point, of what its codes decode to."""
        name, wiring = self.wiring.head, self.wiring
        weight = self.weight(name) if self.scheme(name) == FLOAT32 else self._decoded(name)
        bias = self.take(f"{name}.bias", (weight.shape[0],), "f")
        return integers.head(weight, bias, wiring.summands, wiring.bound)

    def _decoded(self, name: str) -> np.ndarray:
        """Return the float32 values that codes stand for, as ``Scheme.decode`` computes them."""
        codes, params, (family, bits) = self.codes(name), self.params(name), split_name(self.scheme(name))
        if family == "uniform":
            return params["scale"] * (codes.astype(np.float32) - params["zero_point"].astype(np.float32))
        sign, k, top = 1 - 2 * (codes >> (bits - 1)).astype(int), codes & (2 ** (bits - 1) - 1), 2 ** (bits - 1) - 1
        power = np.ldexp(np.float32(1), params["log2_scale"].astype(int) + k - top)
        return np.where(k > 0, sign * power, 0).astype(np.float32)


def open_arrays(path: str | Path) -> PackedArrays:
    """Open a packed folder.

    Raises PackedError for a damaged or incomplete folder, VerificationError where model.safetensors is not the file
    config.json was written for, and UsageError for an architecture that does not run in whole numbers.
    """
    folder = Path(path)
    config = read_config(folder)
    check_hash(folder, MODEL_FILE, config)
    try:
        wiring = architecture(config.architecture).wiring(config.config)
    except UNBUILDABLE as problem:
        raise no_model(folder, problem) from None
    if isinstance(wiring, FloatWiring):
        raise UsageError(
            f"{folder}: {config.architecture} does not run in whole numbers, because {wiring.reason}",
            "run it on torch: snnq eval",
        )
    return PackedArrays(folder, config, wiring, map_tensors(folder / MODEL_FILE))


def map_tensors(path: Path) -> dict[str, np.ndarray]:
    """Return the tensors of a safetensors file as read-only views of the mapped file; raises PackedError if damaged."""
    try:
        with safe_open(path, framework="numpy"):  # its reader checks the header and that the tensors fill the file
            pass
        data = np.memmap(path, dtype=np.uint8, mode="r")
    except (OSError, SafetensorError, ValueError) as problem:
        raise PackedError(f"{path}: not a whole safetensors file ({problem})", REPACK) from None
    start = 8 + int.from_bytes(data[:8].tobytes(), "little")
    header = json.loads(data[8:start].tobytes())
    header.pop("__metadata__", None)
    found = {}
    for name, entry in header.items():
        if entry["dtype"] not in _DTYPES:
            raise PackedError(f"{path}: tensor '{name}' is {entry['dtype']}, which no packed folder holds", REPACK)
        begin, end = entry["data_offsets"]
        found[name] = data[start + begin : start + end].view(_DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return found
