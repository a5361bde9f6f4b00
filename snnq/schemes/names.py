"""Names that other rooms need of number formats, without the formats themselves."""

from __future__ import annotations

FLOAT32 = "float32"
BITS = tuple(range(2, 9))
# The paper's candidates for every layer [paper].
PAPER_SPACE = (FLOAT32, "power-of-two-2", "power-of-two-4", "uniform-2", "uniform-4")
