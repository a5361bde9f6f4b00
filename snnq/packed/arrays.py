"""A packed folder without torch: its tensors as memory-mapped numpy arrays, its layers as whole numbers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from snnq.arithmetic import integers
from snnq.arithmetic.integers import Head, Neurons
from snnq.base.errors import PackedError, UsageError
from snnq.models.registry import architecture
from snnq.network.wiring import FloatWiring, Stage, Wiring
from snnq.packed.coding import read_layer
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
from snnq.packed.opening import open_tensors
from snnq.packed.safefile import TensorFile
from snnq.schemes.format import Stored
from snnq.schemes.scheme import Scheme, scheme
from snnq.schemes.whole import Whole


@dataclass(frozen=True)
class PackedArrays:
    """A packed folder: its config, the wiring of its model, and its tensors, read-only on the mapped file."""

    folder: Path
    config: PackedConfig
    wiring: Wiring
    file: TensorFile

    def layer(self, name: str) -> PackedLayer:
        """Return what the config says of a layer; raises PackedError where it says nothing."""
        if name not in self.config.layers:
            raise PackedError(f"{self.folder / CONFIG_FILE}: layer '{name}' is missing", REPACK)
        return self.config.layers[name]

    def scheme(self, name: str) -> Scheme:
        """Return a layer's scheme."""
        return scheme(self.layer(name).scheme)

    def stored(self, name: str) -> Stored:
        """Return a layer's codes (out, n) and parameters (out, 1)."""
        return read_layer(name, self.layer(name), self.file)

    def whole(self, stage: Stage) -> Whole:
        """Return the weight of a stage's layer as whole numbers."""
        return self.scheme(stage.layer).whole(self.stored(stage.layer), stage.bound)

    def neurons(self, stage: Stage, whole: Whole) -> Neurons:
        """Return the neurons behind a stage's layer."""
        shape = self.layer(stage.layer).shape[:1]
        multiplier, offset = (
            self.file.take(f"{stage.norm}.{name}", shape, "float32") for name in ("multiplier", "offset")
        )
        return integers.neurons(whole, multiplier, offset, stage.threshold, stage.bound)

    def head(self) -> Head:
        """Return the head in fixed point, of what its codes decode to."""
        name, wiring = self.wiring.head, self.wiring
        weight = self.scheme(name).weight(self.stored(name))
        bias = self.file.take(f"{name}.bias", (weight.shape[0],), "float32")
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
    return PackedArrays(folder, config, wiring, open_tensors(folder, config))
