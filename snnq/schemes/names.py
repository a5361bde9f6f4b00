"""The names of the number formats. Apart from the tensors, so that plans and costs are read without torch."""

from __future__ import annotations

from snnq.base.errors import nearest

FLOAT32 = "float32"
BITS = tuple(range(2, 9))
NAMES = (FLOAT32, *(f"{family}-{bits}" for family in ("uniform", "power-of-two") for bits in BITS))
# The paper's candidates for every layer [paper].
PAPER_SPACE = (FLOAT32, "power-of-two-2", "power-of-two-4", "uniform-2", "uniform-4")


def unknown(name: str) -> str:
    """Return what to say of a name that is no scheme: the nearest one, and what is allowed."""
    # Of a family that there is, the bits are wrong, and no other number of them is nearer to what was meant.
    family = name.rpartition("-")[0]
    close = "" if any(one.startswith(f"{family}-") for one in NAMES) else nearest(name, NAMES)
    allowed = f"{FLOAT32}, uniform-b, power-of-two-b with b from {BITS[0]} to {BITS[-1]}"
    return f"unknown scheme '{name}'{close}; allowed: {allowed}"


def split_name(name: str) -> tuple[str, int]:
    """Return the family and the bits per weight of a scheme's name: ``("uniform", 2)``, ``("float32", 32)``."""
    if name == FLOAT32:
        return FLOAT32, 32
    family, _, bits = name.rpartition("-")
    return family, int(bits)
