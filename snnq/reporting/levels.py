"""The levels of a packed folder's layers, read from its codes: what the weights can be, and how many are what."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from snnq.packed.coding import read_layer
from snnq.packed.config import read_config
from snnq.packed.loading import as_tensors
from snnq.packed.opening import open_tensors
from snnq.reporting.records import Level, Levels
from snnq.schemes.format import Stored
from snnq.schemes.names import FLOAT32
from snnq.schemes.scheme import scheme

PERCENTILES = (0.1, 0.5, 0.9)


def measure_levels(folder: Path, names: Sequence[str]) -> tuple[Levels, ...]:
    """Return the levels of every quantised layer of a folder, in the order of ``names``; raises PackedError."""
    config = read_config(folder)
    file = open_tensors(folder, config)
    found = []
    for name in names:
        layer = config.layers[name]
        if layer.family != FLOAT32:
            levels = levels_of(layer.scheme, read_layer(name, layer, file))
            found.append(Levels(name, layer.scheme, layer.shape[0], levels))
    return tuple(found)


def levels_of(name: str, stored: Stored) -> tuple[Level, ...]:
    """Return a layer's levels from its codes (out, n) and parameters (out, 1), ascending."""
    one = scheme(name)
    grid = one.grid(as_tensors(stored.params)).double()  # (out, levels)
    low, middle, high = torch.quantile(grid, torch.tensor(PERCENTILES, dtype=grid.dtype), dim=0).tolist()
    # Which level each code stands for is the same at every scale; at scale 1 none of them vanishes in float32.
    unit = {key: torch.full((1, 1), value) for key, value in one.format.parameters.items()}
    valid = torch.from_numpy(one.valid_codes)
    values, order = one.decode(valid.view(1, -1), unit)[0], one.grid(unit)[0]
    place = (values[:, None] == order).int().argmax(1)
    counts = torch.from_numpy(np.bincount(stored.codes.ravel(), minlength=256))[valid]
    shares = torch.zeros(grid.shape[1], dtype=torch.int64).index_add_(0, place, counts).double() / stored.codes.size
    return tuple(Level(*facts) for facts in zip(middle, low, high, shares.tolist(), strict=True))
