"""What lies in a packed folder: its weights file by kind of content, and the hashes of its files."""

from __future__ import annotations

from pathlib import Path

from snnq.packed.config import MODEL_FILE
from snnq.packed.verification import verify
from snnq.reporting.records import Disk, DiskPart


def measure(folder: Path) -> tuple[Disk, dict[str, str]]:
    """Return where the bits of model.safetensors go, and the files' sha256 by name, after verifying the folder.

    Raises VerificationError naming the first layer or file that differs from the plan, PackedError, PlanError.
    """
    found = verify(folder)
    parts = tuple(DiskPart(kind.replace("_", " "), bits) for kind, bits in found.sizes.overhead.items())
    overhead = sum(part.bits for part in parts)
    size = (folder / MODEL_FILE).stat().st_size
    plan_bits = sum(layer.bits_in_plan for layer in found.layers)
    disk = Disk(
        file=MODEL_FILE,
        plan_bits=plan_bits,
        overhead=parts,
        overhead_bits=overhead,
        file_bytes=size,
        ratio=8 * size / (plan_bits + overhead),
    )
    return disk, dict(found.sha256)
