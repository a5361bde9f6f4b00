"""Colours of number formats and of parts, and the text colour that can be read on each."""

from __future__ import annotations

import colorsys
import re
from collections.abc import Iterable

from snnq.schemes.scheme import formats, scheme

# More bits are lighter.
_LIGHTNESS = {2: 38, 3: 44, 4: 56, 5: 62, 6: 68, 7: 74, 8: 80}
_PARTS = (
    "hsl(165,50%,30%)",
    "hsl(275,32%,68%)",
    "hsl(46,70%,56%)",
    "hsl(345,55%,40%)",
    "hsl(195,45%,62%)",
    "hsl(95,35%,34%)",
    "hsl(18,60%,72%)",
    "hsl(230,40%,42%)",
)


def scheme_colour(name: str) -> str:
    """Return the colour of a scheme: grey for float32, a hue for each format, lighter with more bits."""
    one = scheme(name)
    label = one.format.label
    lightness = label.lightness or _LIGHTNESS[min(max(round(one.bits), min(_LIGHTNESS)), max(_LIGHTNESS))]
    return f"hsl({label.hue},{label.saturation}%,{lightness}%)"


def is_hatched(name: str) -> bool:
    """True for the formats that are hatched, to be told apart without colours too."""
    return scheme(name).format.label.hatched


def part_colour(index: int) -> str:
    """Return the colour of the part at this place of a whole."""
    return _PARTS[index % len(_PARTS)]


def short_name(name: str) -> str:
    """Return a scheme's name as it fits into a cell: ``u2`` for uniform-2, ``p4`` for power-of-two-4, ``f32``."""
    return f"{scheme(name).format.label.letter}{scheme(name).bits:g}"


def letters(names: Iterable[str]) -> str:
    """Return what the letters of these schemes' short names stand for."""
    used = {scheme(name).format for name in names}
    first, *others = formats()  # float32 comes last
    return ", ".join(f"{one.label.letter} {one.name}" for one in (*others, first) if one in used)


def rgb(colour: str) -> tuple[float, float, float]:
    """Return red, green and blue, 0 … 1, of ``hsl(h,s%,l%)`` or ``#rrggbb``; raises ValueError for anything else."""
    if found := re.fullmatch(r"hsl\((\d+),(\d+)%,(\d+)%\)", colour):
        hue, saturation, lightness = map(int, found.groups())
        return colorsys.hls_to_rgb(hue / 360, lightness / 100, saturation / 100)
    if found := re.fullmatch(r"#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})", colour):
        red, green, blue = (int(part, 16) / 255 for part in found.groups())
        return red, green, blue
    raise ValueError(f"not a colour: {colour}")


def hex_colour(colour: str) -> str:
    """Return a colour as ``#rrggbb``."""
    return "#" + "".join(f"{round(255 * part):02x}" for part in rgb(colour))


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours, 1 … 21 (WCAG 2.2: (L1 + 0.05) / (L2 + 0.05))."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    """Return the relative luminance of WCAG 2.2."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in rgb(colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def ink_on(colour: str) -> str:
    """Return black or white, whichever is read better on a colour."""
    return max(("#000000", "#ffffff"), key=lambda ink: contrast(ink, colour))
