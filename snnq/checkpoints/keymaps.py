"""How well a file's names and shapes fit those that upstream has for each architecture."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from snnq.base.strict_json import Config, Json
from snnq.models.registry import ARCHITECTURES, architecture, build
from snnq.models.upstream import Keys, Shapes

_WIDE_ENOUGH = 64  # a width that every architecture can have; names do not depend on it


def every_keys() -> list[Keys]:
    """Return upstream's names in every layout known here."""
    return [keys for one in ARCHITECTURES.values() for keys in one.upstream.keys]


def expected_shapes(config: Config, architecture: str) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor in the state dict of a model, by our names."""
    import torch

    with torch.device("meta"):
        model = build(architecture, config)
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def stored_shapes(config: Config, name: str) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor that upstream's file of a model holds, by our names."""
    one = architecture(name)
    if one.upstream.stored is None:
        return expected_shapes(config, name)
    import torch

    with torch.device("meta"):
        model = one.upstream.stored.build(one.config(config))
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


@dataclass(frozen=True)
class Match:
    """How well a file's names fit an architecture: upstream's names by ours, and what is missing, foreign or unused."""

    keys: Keys
    architecture: str
    blocks: Json
    names: dict[str, str]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    dropped: tuple[str, ...]
    misshapen: tuple[str, ...]

    @property
    def depth(self) -> int:
        """Number of blocks."""
        return self.blocks["depth"]

    @property
    def due(self) -> tuple[str, ...]:
        """Upstream's names, each once."""
        return tuple(dict.fromkeys(self.names.values()))

    @property
    def fitting(self) -> int:
        """Number of tensors that have the name and the number of dimensions of this layout."""
        return len(self.due) - len(self.missing) - len(self.misshapen)

    @property
    def exact(self) -> bool:
        """True where every name and number of dimensions is as it must be."""
        return not (self.missing or self.unexpected or self.misshapen)

    def sizes(self, shapes: Shapes) -> Json:
        """Return the sizes that tensors' shapes (by their names in the file) tell."""
        return self.keys.sizes({ours: shapes[theirs] for ours, theirs in self.names.items()}) | self.blocks


def recognise(shapes: Shapes) -> Match:
    """Return the match with the layout that fits the names and numbers of dimensions best.

    ``Conv1d`` weights have 3 dimensions, ``Linear`` 2, ``Conv2d`` 4: some layouts differ in nothing else. Between
    equals, the one that leaves fewer names over.
    """
    matches = [match(keys, keys.architecture, shapes) for keys in every_keys()]
    return max(matches, key=lambda one: (one.fitting, -len(one.missing) - len(one.unexpected)))


@cache
def _dimensions(name: str, **sizes: object) -> dict[str, int]:
    """Return the number of dimensions of every tensor of an architecture, which its other sizes do not change."""
    smallest = architecture(name).config({"dim": _WIDE_ENOUGH, "heads": 1, **sizes}).to_dict()
    return {name: len(shape) for name, shape in stored_shapes(smallest, name).items()}


def match(keys: Keys, name: str, shapes: Shapes) -> Match:
    """Return how well a file's names fit those of the architecture ``name``, one of ``keys``."""
    one = architecture(name)
    blocks = keys.blocks(shapes, one.config({}))
    ours = _dimensions(name, **blocks, **one.upstream.told(shapes))
    names = {name: keys.upstream_name(name) for name in ours}
    dimensions = {names[name]: count for name, count in ours.items()}
    unused = re.compile(keys.unused)
    idle = [name for name in shapes if name not in dimensions and unused.fullmatch(name)]
    return Match(
        keys=keys,
        architecture=name,
        blocks=blocks,
        names=names,
        missing=tuple(name for name in dimensions if name not in shapes),
        unexpected=tuple(name for name in shapes if name not in dimensions and name not in idle),
        dropped=tuple(idle),
        misshapen=tuple(name for name, count in dimensions.items() if name in shapes and len(shapes[name]) != count),
    )
