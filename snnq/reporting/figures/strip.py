"""The plan as a picture of the network: a row for every layer, in the order they run."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from snnq.cost.quantities import known
from snnq.reporting.cost_records import LayerRow
from snnq.reporting.figures import svg
from snnq.reporting.figures.palette import ink_on, is_hatched, scheme_colour, short_name

ROW, HEAD = 17.0, 22.0
CELL, BARS, APART, LENGTH = 118.0, 150.0, 98.0, 54.0


def layer_strip(title: str, layers: Sequence[LayerRow], floats: Sequence[Sequence[float]] = ()) -> str:
    """Return a row for every layer: its scheme, and its shares of every quantity as bars to one scale each.

    ``floats``, as many as layers, are its shares (0 … 1) in float32, drawn as ticks on the bars. Layers that follow
    each other in one module stand under its name.
    """
    quantities = known(layers[0].costs)
    shares = [[one.costs[quantity.share] for quantity in quantities] for one in layers]
    most = [max(1e-12, *column) for column in zip(*shares, *floats, strict=True)]
    columns = [BARS + APART * i for i in range(len(most))]
    parts = [svg.text(x, 11, f"{one.name} %", 10.5) for x, one in zip(columns, quantities, strict=True)]
    y, place = 14.0, 0
    for (module, group), rows in groupby(layers, key=lambda one: (module_of(one.name), one.group)):
        members = list(rows)
        if module:
            parts += _heading(module, group, y)
            y += HEAD
        for one in members:
            ticks = floats[place] if floats else [None] * len(most)
            bars = list(zip(columns, shares[place], ticks, most, strict=True))
            parts += _row(one, bars, y, 12 if module else 0)
            y, place = y + ROW, place + 1
    return svg.svg(max(340, columns[-1] + 92), y + 4, title, parts)


def module_of(name: str) -> str:
    """Return the path of the module that a layer is in, or nothing for one at the top."""
    return name.rpartition(".")[0]


def _heading(module: str, group: str, y: float) -> list[str]:
    # Names that say their group already are not given it again.
    words = module if group in module else f"{module} ({group})"
    return [svg.text(4, y + 16, svg.clip(words, 332, 11, bold=True), 11, weight="600")]


def _row(one: LayerRow, bars: Sequence[tuple[float, float, float | None, float]], y: float, indent: float) -> list[str]:
    """Return a layer's row; ``bars``: where each begins, its share, that in float32, and the largest of all layers."""
    colour, name = scheme_colour(one.scheme), one.name[len(module_of(one.name)) :].lstrip(".")
    costs = ", ".join(quantity.exact(one.costs[quantity.key]) for quantity in known(one.costs))
    said = f"{one.name}: {one.scheme}, {one.weights} weights, {costs}"
    parts = [
        svg.text(4 + indent, y + 12, svg.clip(name, CELL - 12 - indent, 11), 11),
        svg.box(CELL, y + 1.5, 26, 14, f'fill="{colour}" stroke="currentColor" stroke-width="0.5"', said),
    ]
    if is_hatched(one.scheme):  # beside the letters, which must stay readable
        parts.append(svg.box(CELL, y + 11.5, 26, 4, svg.HATCHED))
    parts.append(svg.text(CELL + 13, y + 11, short_name(one.scheme), 9.5, "middle", "600", ink_on(colour)))
    for x, share, before, top in bars:
        length = LENGTH * share / top
        parts.append(
            svg.box(x, y + 4, max(length, 0.75), 9, f'fill="{colour}" stroke="currentColor" stroke-width="0.4"')
        )
        if before is not None:
            at = x + LENGTH * before / top
            parts.append(svg.line(at, y + 2, at, y + 15, 'stroke-width="1.25"'))
        parts.append(svg.text(x + LENGTH + 36, y + 12, f"{100 * share:.2f}", 10.5, "end"))
    return parts


def legend(schemes: Sequence[str]) -> str:
    """Return what the colours and short names of schemes stand for."""
    parts = []
    for i, name in enumerate(schemes):
        x, y = 4 + (i % 2) * 168, 2 + (i // 2) * 19
        parts.append(svg.box(x, y, 20, 13, f'fill="{scheme_colour(name)}" stroke="currentColor" stroke-width="0.5"'))
        if is_hatched(name):
            parts.append(svg.box(x, y, 20, 13, svg.HATCHED))
        parts.append(svg.text(x + 26, y + 11, f"{short_name(name)} = {name}", 11))
    return svg.svg(340, 19 * ((len(schemes) + 1) // 2) + 2, "Colours: " + ", ".join(schemes), parts)
