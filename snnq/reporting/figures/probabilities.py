"""How the probabilities of one layer moved over the search (docs/method.md §4)."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from snnq.reporting.figures import svg
from snnq.reporting.figures.palette import is_hatched, scheme_colour, short_name
from snnq.reporting.records import SearchEpoch
from snnq.schemes.scheme import scheme

LEFT, TOP, WIDTH, HEIGHT = 22.0, 26.0, 136.0, 76.0
DRAWN = 80  # more epochs than this could not be told apart
WRITTEN = 0.06  # smaller shares are not written beside the bands


def most_contested(epochs: Sequence[SearchEpoch], layers: Sequence[str]) -> list[str]:
    """Return the layers' names, those whose winner is least certain after the last epoch first."""
    last = epochs[-1].probabilities
    return sorted(layers, key=lambda name: max(last[name]))


def probability_panel(layer: str, space: Sequence[str], epochs: Sequence[SearchEpoch]) -> str:
    """Return one layer's probabilities after each epoch as stacked bands, the scheme of most bits on top.

    It begins with equal shares at epoch 0, before the first step (docs/method.md §4).
    """
    order = sorted(range(len(space)), key=lambda k: (scheme(space[k]).bits, space[k]))
    rows = [tuple(1 / len(space) for _ in space), *(epoch.probabilities[layer] for epoch in epochs)]
    drawn = _places(len(rows))
    xs, rows = [LEFT + WIDTH * i / (len(rows) - 1) for i in drawn], [rows[i] for i in drawn]
    parts, floor = [], [0.0] * len(rows)
    middles: dict[int, float] = {}
    for k in order:
        ceiling = [low + row[k] for low, row in zip(floor, rows, strict=True)]
        parts.append(_band(space[k], xs, floor, ceiling, f"{rows[-1][k]:.4f} after epoch {epochs[-1].epoch}"))
        if rows[-1][k] >= WRITTEN:
            middles[k] = TOP + HEIGHT * (1 - (floor[-1] + ceiling[-1]) / 2) + 3.5
        floor = ceiling
    for k, y in zip(middles, svg.spread(list(middles.values()), 11), strict=True):
        parts.append(svg.text(LEFT + WIDTH + 4, y, f"{short_name(space[k])} {rows[-1][k]:.2f}", 10))
    winner = max(range(len(space)), key=lambda k: rows[-1][k])
    parts += _frame(layer, epochs[-1].epoch)
    title = f"{layer}: probabilities over the search; in the end {space[winner]} with {rows[-1][winner]:.4f}"
    return svg.svg(212, TOP + HEIGHT + 16, title, parts)


def _places(count: int) -> list[int]:
    """Return which of ``count`` rows are drawn: all of them, or ``DRAWN`` evenly from the first to the last."""
    return sorted({round(i * (count - 1) / (DRAWN - 1)) for i in range(DRAWN)}) if count > DRAWN else list(range(count))


def _band(scheme: str, xs: Sequence[float], floor: Sequence[float], ceiling: Sequence[float], said: str) -> str:
    corners = [*zip(xs, ceiling, strict=True), *zip(reversed(xs), reversed(floor), strict=True)]
    points = " ".join(f"{svg.number(x)},{svg.number(TOP + HEIGHT * (1 - y))}" for x, y in corners)
    title = f"<title>{escape(scheme)}: {said}</title>"
    look = f'fill="{scheme_colour(scheme)}" stroke="Canvas" stroke-width="0.75"'
    band = f'<polygon points="{points}" {look}>{title}</polygon>'
    return band + (f'<polygon points="{points}" {svg.HATCHED}>{title}</polygon>' if is_hatched(scheme) else "")


def _frame(layer: str, last: int) -> list[str]:
    foot = TOP + HEIGHT
    ticks = [svg.text(LEFT - 3, TOP + HEIGHT * (1 - share) + 3.5, f"{share:g}", 10, "end") for share in (0, 0.5, 1)]
    return [
        svg.box(LEFT, TOP, WIDTH, HEIGHT, svg.FRAME),
        svg.text(4, 13, svg.clip(layer, 204, 11.5, bold=True), 11.5, weight="600"),
        *ticks,
        svg.text(LEFT, foot + 12, "epoch 0", 10),
        svg.text(LEFT + WIDTH, foot + 12, str(last), 10, "end"),
    ]
