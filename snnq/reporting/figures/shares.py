"""Where bits or energy go before and after: two bars to one scale, and the second one enlarged to be compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from snnq.cost.quantities import Quantity, share_of
from snnq.reporting.figures import svg
from snnq.reporting.figures.palette import ink_on, part_colour

LEFT, WIDTH, BAR = 4.0, 332.0, 22.0


@dataclass(frozen=True)
class Slice:
    """A part's amounts before and after."""

    name: str
    before: float
    after: float


def before_after(title: str, slices: Sequence[Slice], quantity: Quantity) -> str:
    """Return float32's bar, this plan's bar to the same scale, and this plan's bar enlarged; amounts as text below.

    The slices follow each other from left to right as in the list below the bars; each is named where it is wide
    enough.
    """
    before, after = sum(one.before for one in slices), sum(one.after for one in slices)
    shares = [[share_of(one.before, before) for one in slices], [share_of(one.after, after) for one in slices]]
    fraction = share_of(after, before)
    ys, small = (18.0, 64.0, 116.0), WIDTH * min(fraction, 1.0)
    shown = f"{quantity.short(after, before)} ({100 * fraction:.2f} %)"
    said = (f"float32: {quantity.short(before)}", f"this plan, to the same scale: {shown}", "this plan, enlarged")
    parts = [svg.text(LEFT, y - 5, words, 11.5, weight="600") for y, words in zip(ys, said, strict=True)]
    parts += _bar(slices, shares[0], ys[0], WIDTH, named=True)
    parts += _bar(slices, shares[1], ys[1], small, named=False)
    parts += _bar(slices, shares[1], ys[2], WIDTH, named=True)
    guide = 'stroke-opacity="0.45" stroke-width="0.75" stroke-dasharray="2 2"'
    parts.append(svg.line(LEFT + small, ys[1] + BAR, LEFT + WIDTH, ys[2] - 1, guide))
    height = ys[2] + BAR + 8
    amounts = [[quantity.short(amount, before) for amount in (one.before, one.after)] for one in slices]
    parts += _key(slices, shares, amounts, height)
    return svg.svg(340, height + 16 * len(slices) + 18, title, parts)


def _bar(slices: Sequence[Slice], shares: Sequence[float], y: float, width: float, *, named: bool) -> list[str]:
    parts, x = [], LEFT
    for i, (one, share) in enumerate(zip(slices, shares, strict=True)):
        length, colour = share * width, part_colour(i)
        said = f"{one.name}: {100 * share:.2f} %"
        parts.append(svg.box(x, y, length, BAR, f'fill="{colour}" stroke="Canvas" stroke-width="1"', said))
        words = f"{one.name} {100 * share:.1f}" if svg.width_of(f"{one.name} 00.0", 11) < length - 6 else one.name
        if named and svg.width_of(words, 11) < length - 4:
            parts.append(svg.text(x + length / 2, y + 15, words, 11, "middle", fill=ink_on(colour)))
        x += length
    return parts


def _key(slices: Sequence[Slice], shares: list[list[float]], amounts: list[list[str]], top: float) -> list[str]:
    """Return a line for every slice: its colour, its name, its share and amount before and after."""
    parts = [svg.text(214, top + 10, "float32", 10.5, "end"), svg.text(336, top + 10, "this plan", 10.5, "end")]
    for i, one in enumerate(slices):
        y = top + 16 + 16 * i
        parts.append(svg.box(LEFT, y, 11, 11, f'fill="{part_colour(i)}"'))
        parts.append(svg.text(LEFT + 16, y + 9.5, svg.clip(one.name, 78, 10.5), 10.5))
        for x, column, amount in zip((214, 336), shares, amounts[i], strict=True):
            parts.append(svg.text(x, y + 9.5, f"{100 * column[i]:.2f} %, {amount}", 10.5, "end"))
    return parts
