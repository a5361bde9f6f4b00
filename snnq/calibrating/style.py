"""The style of glyphs: a vector that all classes share, of which each glyph's own look is drawn.

    look = mean + spread · ε,  ε ~ N(0, 1) for every knob

The spread is the generator's own. With a few real samples the mean is learned (``steering``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Knob → mean, spread, least, greatest. ``size``: of the text, a share of the picture's side; ``stroke``: pen width
# added around the outline, share of the side; ``aspect``: width over height; ``slant``: sideways shift by height;
# ``turn``: degrees; ``x``, ``y``: shifts, and ``blur``: radius, shares of the side; ``white``: intensity.
KNOBS: dict[str, tuple[float, float, float, float]] = {
    "size": (0.72, 0.08, 0.4, 1.0),
    "stroke": (0.0, 0.015, 0.0, 0.08),
    "aspect": (1.0, 0.15, 0.5, 2.0),
    "slant": (0.05, 0.15, -0.6, 0.6),
    "turn": (0.0, 7.0, -30.0, 30.0),
    "x": (0.0, 0.03, -0.2, 0.2),
    "y": (0.0, 0.03, -0.2, 0.2),
    "blur": (0.015, 0.008, 0.0, 0.08),
    "white": (0.95, 0.05, 0.3, 1.0),
}


@dataclass(frozen=True)
class Style:
    """Means of the knobs, in their order, and what their spreads are multiplied by."""

    means: tuple[float, ...] = tuple(mean for mean, _, _, _ in KNOBS.values())
    spread: float = 1.0

    def look(self, random: np.random.Generator) -> dict[str, float]:
        """Return one glyph's look."""
        drawn = random.standard_normal(len(KNOBS))
        return {
            name: float(np.clip(mean + self.spread * spread * epsilon, least, greatest))
            for (name, (_, spread, least, greatest)), mean, epsilon in zip(
                KNOBS.items(), self.means, drawn, strict=True
            )
        }

    def to_dict(self) -> dict[str, float]:
        """Return it ready for JSON."""
        return {**dict(zip(KNOBS, self.means, strict=True)), "spread": self.spread}
