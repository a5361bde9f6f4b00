"""A model on analog arrays, in sentences."""

from __future__ import annotations

from snnq.cost.quantities import ENERGY
from snnq.hardware.crossbars.mapped import Mapped
from snnq.hardware.crossbars.pricing import WRITE

SECTION = "arrays"


def verdict(one: Mapped) -> str:
    """Return in a sentence what an inference takes."""
    arrays, tiles = (sum(getattr(part.counts, name) for part in one.operands) for name in ("arrays", "tiles"))
    return (
        f"An inference of {one.steps} time steps takes {ENERGY.short(one.total_pj)} and {one.latency_ns / 1e3:,.1f} µs "
        f"on {arrays:,} arrays of {one.cells} cells in {tiles:,} tiles, {one.total_um2 / 1e6:,.3f} mm² ({one.node})."
    )


def notes(one: Mapped) -> tuple[str, ...]:
    """Return what to know before comparing these numbers."""
    said = [
        "Counted from the model's structure: every input is read, whether it is 0 or not. Layers and products follow "
        "one another; all arrays of one are read at once, one bit of the inputs at a time.",
        f"{one.target}: {one.notes} Not counted: {one.uncounted}.",
    ]
    if one.float_layers:
        count = len(one.float_layers)
        said.append(f"Weights of float32 are counted as whole numbers of the target's bits: {count} layers.")
    if WRITE in one.energy_pj:
        said.append("Writes are a memory cell's energy, of another technology than the chip's.")
    if one.unmapped:
        rows = "; ".join(f"{part.name} ({part.why}; {part.operations:,} operations)" for part in one.unmapped)
        said.append(f"On no array, and in none of these numbers: {rows}.")
    return tuple(said)
