"""A packed folder without torch: its tensors as memory-mapped numpy arrays, its layers as whole numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from snnq.arithmetic.fixed_point import FoldedLayer, joined
from snnq.arithmetic.integers import WholeHead
from snnq.arithmetic.whole_network import Heads, WholeNetwork, whole_network
from snnq.base.errors import PackedError, UsageError
from snnq.network.graph import Graph
from snnq.network.graph_file import misfit
from snnq.network.stages import Potential, Stage
from snnq.network.wiring import FloatWiring, Wiring
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
from snnq.packed.input import as_input
from snnq.packed.opening import open_tensors
from snnq.packed.safefile import TensorFile
from snnq.packed.wired import leaks_of, wiring_of
from snnq.schemes.format import Stored
from snnq.schemes.scheme import Scheme, scheme
from snnq.schemes.whole import Whole
from snnq.structure.edits import STRUCTURE


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

    def folded(self, one: Stage | Potential) -> FoldedLayer:
        """Return a layer's weight as whole numbers, and its norm."""
        shape, norms = self.layer(one.layer).shape[:1], []
        if f"{one.layer}.bias" in self.file.tensors:
            bias = self.file.take(f"{one.layer}.bias", shape, "float32")
            norms.append((np.ones(len(bias), np.float32), bias))
        for path in one.made.norms:
            taken = (self.file.take(f"{path}.{name}", shape, "float32") for name in ("multiplier", "offset"))
            norms.append(tuple(taken))
        whole = self.scheme(one.layer).whole(self.stored(one.layer), one.room)
        return FoldedLayer(spread(whole, one.made.groups), *joined(norms, shape[0]))

    @cached_property
    def network(self) -> WholeNetwork:
        """All whole numbers of the folder, but the head's."""
        return whole_network(self.wiring, self.folded, leaks_of(self.config))

    def frames(self, given: np.ndarray) -> np.ndarray:
        """Return frames (B, T, C, H, W) as the first layer sees them (``packed.input``)."""
        return as_input(given, self.wiring.graph.frames, self.config.quantization_config.pixels)

    def heads(self) -> Heads:
        """Return the head in fixed point, after any number of time steps, of what its codes decode to."""
        name = self.wiring.head
        weight = self.scheme(name).weight(self.stored(name))
        if f"{name}.bias" not in self.file.tensors and self.wiring.graph.traced:  # a user's may have none
            return self.network.heads(weight, np.zeros(len(weight), np.float32))
        return self.network.heads(weight, self.file.take(f"{name}.bias", (weight.shape[0],), "float32"))

    def head(self) -> WholeHead:
        """Return the head after all time steps."""
        return self.heads().after(self.wiring.graph.steps)


def spread(whole: Whole, groups: int) -> Whole:
    """Return a weight of ``groups`` (out, in/groups · taps) as one without, (out, in · taps): zeros between groups."""
    if groups == 1:
        return whole
    rows = whole.values.reshape(groups, -1, whole.values.shape[1])
    wide = np.zeros((groups, rows.shape[1], groups, rows.shape[2]), np.int64)
    for group in range(groups):
        wide[group, :, group] = rows[group]
    return replace(whole, values=wide.reshape(len(whole.values), -1))


def open_arrays(path: str | Path) -> PackedArrays:
    """Open a packed folder.

    Raises PackedError for a damaged or incomplete folder, VerificationError where model.safetensors is not the file
    config.json was written for, and UsageError for an architecture that does not run in whole numbers.
    """
    folder = Path(path)
    config = read_config(folder)
    check_hash(folder, MODEL_FILE, config)
    try:
        wiring = wiring_of(config)
    except UNBUILDABLE as problem:
        raise no_model(folder, problem) from None
    if isinstance(wiring, FloatWiring):
        raise UsageError(
            f"{folder}: {config.architecture} does not run in whole numbers, because {wiring.reason}",
            "run it on torch: snnq eval",
        )
    if wiring.graph.traced and (wrong := _misfit(wiring.graph, config)):
        raise PackedError(f"{folder / CONFIG_FILE}: {wrong}", REPACK)
    return PackedArrays(folder, config, wiring, open_tensors(folder, config))


def _misfit(graph: Graph, config: PackedConfig) -> str | None:
    """Return which layer is not of the shape that its graph needs, as a sentence; None where all are."""
    shapes = {name: tuple(one.shape) for name, one in config.layers.items()}
    edited = STRUCTURE in config.config  # which changes widths
    return misfit(graph.resized({name: shape[0] for name, shape in shapes.items()}) if edited else graph, shapes)
