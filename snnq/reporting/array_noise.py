"""What analog arrays do to a packed model, as sentences and tables."""

from __future__ import annotations

from snnq.assessing.imc_records import ImcEval, OperandNoise
from snnq.reporting.array_words import SECTION
from snnq.reporting.formats import Document
from snnq.reporting.table import Table, table_of


def noise_document(found: ImcEval) -> Document:
    """Return everything that was found of a packed model on chips."""
    return Document(
        title=f"{found.folder} on chips of analog arrays",
        verdict=verdict(found),
        notes=notes(found),
        tables=(chip_table(found), operand_table(found)),
        figures=(),
        data=found.to_dict(),
        lead=1,
    )


def verdict(found: ImcEval) -> str:
    """Return in a sentence what accuracy is left."""
    spread = "" if found.sd is None else f" ± {100 * found.sd:.2f}"
    return (
        f"{100 * found.mean:.2f}{spread} % on {len(found.chips)} chips, {100 * found.digital_accuracy:.2f} % without "
        f"arrays ({found.samples} {found.split} samples of {found.data})."
    )


def notes(found: ImcEval) -> tuple[str, ...]:
    """Return why the accuracy is what it is."""
    said = [
        "A chip without noise, whose converters give every sum, gave the digital model's logits"
        + (" bit for bit." if found.arithmetic == "integer" else " but for rounding: it runs in floating point.")
    ]
    clipped = max(found.operands, key=lambda one: one.clipped)
    if clipped.clipped:
        said.append(f"Most clipped: {clipped.name}, {100 * clipped.clipped:.2f} % of its conversions.")
    if found.worst is not None and found.alone is not None:
        said.append(
            f"Worst sums: {found.worst}; with it alone on arrays (chip 0) the accuracy is {100 * found.alone:.2f} %."
        )
    if found.digital_layers:
        said.append(f"On no array: {', '.join(found.digital_layers)}.")
    return tuple(said)


def chip_table(found: ImcEval) -> Table:
    """Return one row a chip."""
    cells = {
        "chip": lambda one: str(one.chip),
        "accuracy %": lambda one: f"{100 * one.accuracy:.2f}",
        "loss": lambda one: f"{one.loss:.4f}",
    }
    return table_of("Chips", found.chips, cells, SECTION)


def operand_table(found: ImcEval) -> Table:
    """Return what happened to every operand's sums."""
    cells = {
        "operand": lambda one: one.name,
        "step": lambda one: str(one.step),
        "slices": _slices,
        "clipped %": lambda one: f"{100 * one.clipped:.3f}",
        "SNR dB": lambda one: "-" if one.snr_db is None else f"{one.snr_db:.1f}",
        "α": lambda one: "-" if one.alpha is None else f"{one.alpha:g}",
        "β": lambda one: "-" if one.beta is None else f"{one.beta:g}",
    }
    clips = any(one.beta is not None for one in found.operands)
    kept = {name: cell for name, cell in cells.items() if clips or name not in ("α", "β")}
    return table_of("Sums of operands, means over chips", found.operands, kept, SECTION)


def _slices(one: OperandNoise) -> str:
    return str(one.slices) if one.slices == one.slices_before else f"{one.slices} of {one.slices_before}"
