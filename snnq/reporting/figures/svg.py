"""The strokes that all figures are made of, and the round numbers of their axes.

Lengths are in SVG units; a figure of 340 fits a phone one to one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from markupsafe import Markup

from snnq.reporting.table import visible

FRAME = 'fill="none" stroke="currentColor" stroke-opacity="0.35" stroke-width="0.75"'
AFTER = 'fill="hsl(208,62%,46%)"'
# Laid over a filled shape. The pattern stands in the page once, because an id may stand there only once.
HATCH_ID = "snnq-hatch"
HATCH = (
    '<svg width="0" height="0" aria-hidden="true" focusable="false" style="position:absolute"><defs>'
    f'<pattern id="{HATCH_ID}" width="4" height="4" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<line x1="0" y1="0" x2="0" y2="4" stroke="#000" stroke-opacity="0.6" stroke-width="1.6"/></pattern></defs></svg>'
)
HATCHED = f'fill="url(#{HATCH_ID})"'
# Of the widest common sans-serif (DejaVu Sans), so that nothing overlaps where another one is used.
_NARROW, _WIDE, _OTHER = 0.37, 0.9, 0.64
_BOLD = 1.15
# Ticks for bits per weight, and whatever is as small.
_BITS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)


def number(value: float) -> str:
    """Return a coordinate with at most two decimals."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def width_of(text: str, size: float) -> float:
    """Return how wide a text is at most, in the units of its size."""
    wide = (_NARROW if c in "iljtf.,:;|!' ()[]" else _WIDE if c in "mwMW%@…" else _OTHER for c in visible(text))
    return size * sum(wide)


def clip(text: str, width: float, size: float = 11, bold: bool = False) -> str:
    """Return a text of at most this width; what is cut is the beginning, where module paths agree."""
    text, width = visible(text), width / _BOLD if bold else width
    if width_of(text, size) <= width:
        return text
    kept = text
    while kept and width_of("…" + kept, size) > width:
        kept = kept[1:]
    return "…" + kept


def svg(width: float, height: float, title: str, parts: Sequence[str]) -> Markup:
    """Return a whole figure, safe in a page; the title is what a screen reader says of it."""
    shown = escape(visible(title))
    return Markup(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {number(width)} {number(height)}" role="img" '
        f'aria-label="{shown}" font-family="inherit"><title>{shown}</title>{"".join(parts)}</svg>'
    )


def text(
    x: float,
    y: float,
    words: str,
    size: float = 11,
    anchor: str = "start",
    weight: str = "",
    fill: str = "",
    halo: bool = False,
) -> str:
    """Return a line of text; its colour is the page's unless ``fill`` says another. A halo parts it from lines."""
    look = f' text-anchor="{anchor}"' if anchor != "start" else ""
    look += f' font-weight="{weight}"' if weight else ""
    look += ' stroke="Canvas" stroke-width="3" stroke-linejoin="round" paint-order="stroke"' if halo else ""
    return (
        f'<text x="{number(x)}" y="{number(y)}" font-size="{number(size)}"{look} fill="{fill or "currentColor"}">'
        f"{escape(visible(words))}</text>"
    )


def box(x: float, y: float, width: float, height: float, look: str, said: str = "") -> str:
    """Return a rectangle; ``said`` is shown while a pointer rests on it."""
    start = f'<rect x="{number(x)}" y="{number(y)}" width="{number(width)}" height="{number(height)}" {look}'
    return f"{start}><title>{escape(visible(said))}</title></rect>" if said else f"{start}/>"


def line(x1: float, y1: float, x2: float, y2: float, look: str) -> str:
    """Return a line from (x1, y1) to (x2, y2)."""
    ends = f'x1="{number(x1)}" y1="{number(y1)}" x2="{number(x2)}" y2="{number(y2)}"'
    return f'<line {ends} stroke="currentColor" {look}/>'


def spread(places: Sequence[float], apart: float) -> list[float]:
    """Return places in the same order, each at most as high as before, no two closer than ``apart``."""
    order = sorted(range(len(places)), key=lambda i: -places[i])
    found, last = [0.0] * len(places), float("inf")
    for i in order:
        last = found[i] = min(places[i], last - apart)
    return found


def round_ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Return at most ``most`` multiples of 1, 2 or 5 · 10^n within low … high; the ends if there are fewer than two."""
    if high <= low:
        return [low]
    step = 10.0 ** math.floor(math.log10((high - low) / most))
    while True:
        for factor in (1, 2, 5):
            size = step * factor
            first, last = math.ceil(low / size - 1e-9), math.floor(high / size + 1e-9)
            if last - first + 1 <= most:
                found = [i * size for i in range(first, last + 1)]
                return found if len(found) > 1 else [low, high]
        step *= 10


def log_ticks(low: float, high: float, apart: float = 1.45) -> list[float]:
    """Return round numbers within low … high for a logarithmic axis, each at least ``apart`` times the one before."""
    decade = 10.0 ** math.floor(math.log10(low))
    wanted = _BITS if high <= 40 else tuple(decade * 10**i * f for i in range(6) for f in (1, 2, 5))
    found: list[float] = []
    for value in wanted:
        if low * (1 - 1e-9) <= value <= high * (1 + 1e-9) and (not found or value >= apart * found[-1]):
            found.append(value)
    return found or [low]
