"""``--to c-coded``: as ``--to c``, with entropy-coded weights that the first run decodes into memory."""

from __future__ import annotations

from pathlib import Path

from snnq.exporting.records import Facts
from snnq.exporting.to_c import write


def export(folder: Path, out: Path) -> Facts:
    """Write ``<name>.h`` and ``<name>.c`` to a new folder ``out``; the name is the packed folder's as an identifier."""
    return write(folder, out, coded=True)
