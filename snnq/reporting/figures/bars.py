"""Amounts as bars, before and after or of several plans, and plans side by side as a cell for every layer and plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from snnq.cost.quantities import Quantity, share_of
from snnq.reporting.figures import svg
from snnq.reporting.figures.palette import ink_on, is_hatched, part_colour, scheme_colour, short_name

ROW, NAMES = 18.0, 180.0


def scheme_matrix(title: str, plans: Sequence[str], rows: Sequence[tuple[str, Sequence[str | None], bool]]) -> str:
    """Return a row for every layer (name, scheme in each plan or None, whether they differ), a column for every plan.

    Rows that differ have a frame around their cells and a triangle at their end, others are pale.
    """
    step = min(38.0, (322 - NAMES) / len(plans))
    parts = [svg.text(NAMES + step * (i + 0.5), 12, name, 11, "middle", "600") for i, name in enumerate(plans)]
    for place, (name, schemes, differs) in enumerate(rows):
        y = 18 + ROW * place
        weight = "600" if differs else ""
        parts.append(svg.text(4, y + 12.5, svg.clip(name, NAMES - 8, 10.5, bold=differs), 10.5, weight=weight))
        for i, scheme in enumerate(schemes):
            parts += _cell(NAMES + step * i, y, step, scheme)
        if differs:
            end = NAMES + step * len(plans)
            look = 'fill="none" stroke="currentColor" stroke-width="1.5"'
            parts.append(svg.box(NAMES, y + 1, step * len(plans), ROW - 2, look, f"{name} differs"))
            parts.append(svg.text(end + 4, y + 12.5, "◀", 9))
    return svg.svg(340, 22 + ROW * len(rows), title, parts)


def _cell(x: float, y: float, width: float, scheme: str | None) -> list[str]:
    if scheme is None:
        return [svg.text(x + width / 2, y + 12.5, "-", 10, "middle")]
    colour = scheme_colour(scheme)
    parts = [svg.box(x + 1, y + 2, width - 2, ROW - 4, f'fill="{colour}"', scheme)]
    if is_hatched(scheme):
        parts.append(svg.box(x + 1, y + ROW - 6, width - 2, 4, svg.HATCHED))
    size = min(9.5, width / 2.2)
    parts.append(svg.text(x + width / 2, y + 11.5, short_name(scheme), size, "middle", "600", ink_on(colour)))
    return parts


def amounts(title: str, names: Sequence[str], rows: Mapping[str, Sequence[float]], columns: int = 4) -> str:
    """Return a bar for every row (its label, an amount of each part), all to the scale of the longest.

    The key to several parts stands below in ``columns``.
    """
    longest = max([sum(values) for values in rows.values()] + [1e-12])
    parts, y = [], 0.0
    for label, values in rows.items():
        parts.append(svg.text(4, y + 12, label, 11.5, weight="600"))
        x = 4.0
        for i, (name, value) in enumerate(zip(names, values, strict=True)):
            length, colour = 332 * value / longest, part_colour(i)
            said = f"{name}: {value:,.6g}"
            parts.append(svg.box(x, y + 17, length, 18, f'fill="{colour}" stroke="Canvas" stroke-width="1"', said))
            inside = next((one for one in (name, name.split()[0]) if svg.width_of(one, 11) < length - 4), "")
            if inside and len(names) > 1:
                parts.append(svg.text(x + length / 2, y + 30, inside, 11, "middle", fill=ink_on(colour)))
            x += length
        y += 46
    kinds = names if len(names) > 1 else ()
    for i, name in enumerate(kinds):
        x, at, step = 4 + (336 / columns) * (i % columns), y + 16 * (i // columns), 336 / columns
        parts.append(svg.box(x, at, 11, 11, f'fill="{part_colour(i)}"'))
        parts.append(svg.text(x + 15, at + 9.5, svg.clip(name, step - 18, 11), 11))
    return svg.svg(340, y + 16 * -(-len(kinds) // columns), title, parts)


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
