"""What a packed folder takes on simulated machines, as a document."""

from __future__ import annotations

from snnq.hardware.records import Accelerated
from snnq.reporting.formats import Document, Figure
from snnq.reporting.machine_tables import figures, layer_tables, main_tables, notes, verdict


def accel_document(found: Accelerated) -> Document:
    """Return everything that a simulation says of a packed folder."""
    names = ", ".join(one.machine for one in found.machines)
    return Document(
        title=f"{found.folder} on {names}",
        verdict=verdict(found),
        notes=notes(found),
        tables=(*main_tables(found), *layer_tables(found)),
        figures=tuple(Figure(caption, drawn) for caption, drawn in figures(found)),
        data=found.to_dict(),
        lead=1,
    )
