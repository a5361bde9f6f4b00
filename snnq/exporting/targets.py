"""The formats a packed folder can be exported to. A new one is a module here and a line in ``TARGETS``.

A target is one function of a module, ``export(folder, out)``: it reads the packed folder (``source.read_source``),
writes ``out``, a path that does not exist yet, as one file or one folder, and returns ``Facts``. Libraries that snnq
does not install are imported inside it, after ``source.require``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path

from snnq.base.errors import UsageError, nearest

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

    def to_dict(self) -> dict[str, object]:
        """Return plain data; sizes in bytes."""
        return asdict(self)

    def layer_rows(self) -> list[tuple[str, str, str, float]]:
        """Return a row of ``LAYER_COLUMNS`` for every layer."""
        return [(one.name, one.scheme, one.written_as, one.bits) for one in self.layers]


@dataclass(frozen=True)
class Target:
    """One format: its module, what the packed folder's name is lengthened by, and what it is in a few words.

    ``function`` is the module's that exports.
    """

    module: str
    suffix: str
    what: str
    function: str = "export"

    @property
    def export(self) -> Callable[[Path, Path], Facts]:
        """The target's function; its module is imported now."""
        return getattr(import_module(self.module), self.function)


TARGETS = {
    "compressed-tensors": Target(
        "snnq.exporting.to_compressed_tensors", "-compressed-tensors", "a folder, no power-of-two"
    ),
    "qonnx": Target("snnq.exporting.to_qonnx", ".onnx", "an ONNX file, each layer by itself"),
    "c": Target("snnq.exporting.to_c", "-c", "C99 source, the whole network in integers"),
    "c-coded": Target("snnq.exporting.to_c", "-c-coded", "the same, coded: less ROM, more RAM", "export_coded"),
    "spikingjelly": Target(
        "snnq.exporting.to_spikingjelly", "-spikingjelly.safetensors", "a state dict for its own classes"
    ),
    "nir": Target("snnq.exporting.to_nir", ".nir", "an HDF5 file, layers and neurons"),
    "fixed": Target("snnq.exporting.to_storage", "-fixed", "a packed folder, codes in fixed words", "to_fixed"),
    "coded": Target("snnq.exporting.to_storage", "-coded", "a packed folder, codes entropy-coded", "to_coded"),
}


def find_target(name: str) -> Target:
    """Return the target called ``name``; raises UsageError naming the nearest one."""
    if name not in TARGETS:
        raise UsageError(f"unknown target '{name}'{nearest(name, TARGETS)}", f"allowed: {', '.join(TARGETS)}")
    return TARGETS[name]
