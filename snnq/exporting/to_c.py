"""``--to c`` and ``--to c-coded``: the whole network as one C99 header and source, in integers, on its own."""

from __future__ import annotations

from pathlib import Path

from snnq.exporting.c_layers import CHead, CLayer
from snnq.exporting.c_names import c_name
from snnq.exporting.c_source import c_source, write_c
from snnq.exporting.targets import ExportedLayer, Facts
from snnq.packed.arrays import open_arrays


def export(folder: Path, out: Path) -> Facts:
    """Write ``<name>.h``, ``<name>.c`` and a program to a new folder ``out``; the name is the packed folder's."""
    return _write(folder, out, coded=False)


def export_coded(folder: Path, out: Path) -> Facts:
    """Write the same with entropy-coded weights, which the first run decodes into memory."""
    return _write(folder, out, coded=True)


def _write(folder: Path, out: Path, *, coded: bool) -> Facts:
    source = c_source(open_arrays(folder), c_name(folder.resolve().name), coded=coded)
    write_c(source, out)
    note = f"{source.rom:,} bytes of read-only data, {source.ram:,} bytes of working memory"
    if source.stream_ram is not None:
        note += f" (run step by step: {source.stream_ram:,})"
    if source.decoded:
        note += f", {source.decoded:,} bytes for decoded codes"
    return Facts(tuple(map(_exported, (*source.layers, source.head))), (note,))


def _exported(one: CLayer | CHead) -> ExportedLayer:
    if one.bits:
        return ExportedLayer(one.name, one.scheme, f"codes of {one.bits} bits", one.bits)
    bits = 32 if isinstance(one, CHead) else 64
    return ExportedLayer(one.name, one.scheme, f"int{bits} fixed point", bits)
