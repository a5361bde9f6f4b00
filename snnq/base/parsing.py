"""Text that people type in more than one place, read in one way."""

from __future__ import annotations

import re
from collections.abc import Iterable

from snnq.base.errors import UsageError


def parse_image_size(text: str) -> tuple[int, int]:
    """Return (height, width) in pixels of ``"128"`` or ``"96x128"``; raises UsageError for other text."""
    found = re.fullmatch(r"([1-9]\d{0,5})(?:[xX]([1-9]\d{0,5}))?", text.strip(), flags=re.ASCII)
    if found is None:
        raise UsageError(
            f"image size: found '{text}', it must be one number of pixels, or HEIGHTxWIDTH", "such as 128 or 96x128"
        )
    return int(found[1]), int(found[2] or found[1])


def is_calibration(spec: str | None) -> bool:
    """Return whether a data spec names a generated set without labels."""
    return spec is not None and spec.partition(":")[0] == "calib"


def check_seed(seed: int) -> None:
    """Raise UsageError for a seed that generators of random numbers do not take."""
    if not -(2**63) <= seed < 2**63:
        raise UsageError(f"--seed {seed}: it must fit in 64 bits")


def check_once(names: Iterable[str], option: str) -> None:
    """Raise UsageError where something is said of one name twice: one of the two would silently win."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise UsageError(f"{option}: '{name}' is given twice", "give one of them")
        seen.add(name)
