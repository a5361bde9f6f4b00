"""What an export says of itself."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

LAYER_COLUMNS = ("layer", "scheme", "written as", "bits a weight")


@dataclass(frozen=True)
class ExportedLayer:
    """One layer: the plan's ``scheme``, what it is ``written_as``, and the ``bits`` a weight takes in that form."""

    name: str
    scheme: str
    written_as: str
    bits: float


@dataclass(frozen=True)
class Facts:
    """What a target has written: its layers, ``notes`` for a reader, and what its format could not say (``unsaid``)."""

    layers: tuple[ExportedLayer, ...]
    notes: tuple[str, ...] = ()
    unsaid: tuple[str, ...] = ()


@dataclass(frozen=True)
class Exported:
    """A finished export: from ``folder`` to ``out``, and the size in bytes of every file of it."""

    target: str
    folder: str
    out: str
    files: dict[str, int]
    layers: tuple[ExportedLayer, ...]
    notes: tuple[str, ...]
    unsaid: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data; sizes in bytes."""
        return asdict(self)

    def layer_rows(self) -> list[tuple[Any, ...]]:
        """Return a row of ``LAYER_COLUMNS`` for every layer."""
        return [(one.name, one.scheme, one.written_as, one.bits) for one in self.layers]
