"""A packed folder without torch: its tensors as memory-mapped numpy arrays, its layers as whole numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from snnq.arithmetic import integers
from snnq.arithmetic.integers import Head, Neurons
from snnq.base.errors import PackedError, UsageError
from snnq.models.registry import architecture
from snnq.network.wiring import FloatWiring, Stage, Wiring
from snnq.packed.config import (
    CONFIG_FILE,
    MODEL_FILE,
    REPACK,
    UNBUILDABLE,
    PackedConfig,
    PackedLayer,
    check_hash,
    no_model,
    read_config,
)
from snnq.schemes.format import Stored
from snnq.schemes.scheme import Scheme, scheme
from snnq.schemes.whole import Whole

_DTYPES = {"F32": "<f4", "I8": "i1", "I16": "<i2", "I32": "<i4", "I64": "<i8"}


@dataclass(frozen=True)
class PackedArrays:
    """A packed folder: its config, the wiring of its model, and its tensors, read-only on the mapped file."""

    folder: Path
    config: PackedConfig
    wiring: Wiring
    tensors: Mapping[str, np.ndarray]

    def take(self, name: str, shape: tuple[int, ...], *dtypes: str) -> np.ndarray:
        """Return a tensor; raises PackedError if it is missing, of another shape or type, or not finite."""
        found = self.tensors.get(name)
        if found is None or found.shape != shape or found.dtype.name not in dtypes:
            what = "missing" if found is None else f"{found.dtype} {list(found.shape)}"
            raise PackedError(
                f"{self.folder / MODEL_FILE}: tensor '{name}' is {what}, it must be {list(shape)}", REPACK
            )
        if found.dtype.kind == "f" and not bool(np.isfinite(found).all()):
            raise PackedError(f"{self.folder / MODEL_FILE}: '{name}' holds a number that is not finite", REPACK)
        return found

    def layer(self, name: str) -> PackedLayer:
        """Return what the config says of a layer; raises PackedError where it says nothing."""
        if name not in self.config.layers:
            raise PackedError(f"{self.folder / CONFIG_FILE}: layer '{name}' is missing", REPACK)
        return self.config.layers[name]

    def scheme(self, name: str) -> Scheme:
        """Return a layer's scheme."""
        return scheme(self.layer(name).scheme)

    def rows(self, name: str) -> tuple[int, int]:
        """Return (out, n), the shape of a layer's weight as a matrix."""
        return self.layer(name).shape[0], self.layer(name).columns

    def stored(self, name: str) -> Stored:
        """Return a layer's codes (out, n) and parameters (out, 1)."""
        return self.scheme(name).read(partial(self._take_of, name), self.layer(name).shape)

    def _take_of(self, name: str, key: str, shape: tuple[int, ...], *dtypes: str) -> np.ndarray:
        return self.take(f"{name}.{key}", shape, *dtypes)

    def whole(self, stage: Stage) -> Whole:
        """Return the weight of a stage's layer as whole numbers."""
        return self.scheme(stage.layer).whole(self.stored(stage.layer), stage.bound)

    def neurons(self, stage: Stage, whole: Whole) -> Neurons:
        """Return the neurons behind a stage's layer."""
        shape = (self.rows(stage.layer)[0],)
        multiplier, offset = (self.take(f"{stage.norm}.{name}", shape, "float32") for name in ("multiplier", "offset"))
        return integers.neurons(whole, multiplier, offset, stage.threshold, stage.bound)

    def head(self) -> Head:
        """Return the head in fixed point, of what its codes decode to."""
        name, wiring = self.wiring.head, self.wiring
        weight = self.scheme(name).weight(self.stored(name))
        bias = self.take(f"{name}.bias", (weight.shape[0],), "float32")
        return integers.head(weight, bias, wiring.summands, wiring.bound)


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
