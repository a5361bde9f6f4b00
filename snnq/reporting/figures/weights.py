"""A layer's weights before and after, and the levels that its number format offers."""

from __future__ import annotations

from collections.abc import Sequence

from snnq.reporting.figures import svg
from snnq.reporting.figures.palette import short_name
from snnq.reporting.records import Histogram, Level

LEFT, TOP, WIDTH, HEIGHT = 6.0, 20.0, 200.0, 66.0
SPANNED = 7  # of more levels the spans over the channels would run into each other
DRAWN = 32  # with more levels than this their lines would be a grey wall; marks below the axis stay


def weight_panel(record: Histogram, scheme: str = "", levels: Sequence[Level] = ()) -> str:
    """Return float weights (outline) and packed weights (filled), each to its own highest bin, and the levels.

    A level stands where it is in the middle channel; the stroke below the axis spans the channels from the tenth to the
    ninetieth percentile, because each has a scale of its own; of many levels only the marks are drawn.
    """
    parts = [*_bars(record), *_outline(record)]
    foot = TOP + HEIGHT
    parts.append(svg.line(LEFT, foot, LEFT + WIDTH, foot, 'stroke-opacity="0.6" stroke-width="0.75"'))
    if len(levels) > DRAWN:
        marks = "".join(f"M{svg.number(_place(record, one.value))} {svg.number(foot + 2)}v5" for one in levels)
        parts.append(f'<path d="{marks}" stroke="currentColor" stroke-width="0.75"/>')
    else:
        for i, level in enumerate(levels):
            parts += _level(record, level, i, len(levels))
    name = f"{record.layer} {short_name(scheme)}" if scheme else record.layer
    parts.append(svg.text(4, 13, svg.clip(name, 204, 11.5, bold=True), 11.5, weight="600"))
    low = foot + (22 if levels else 13)
    parts += [
        svg.text(LEFT, low, f"{record.low:.3g}", 10),
        svg.text(LEFT + WIDTH / 2, low, "0", 10, "middle"),
        svg.text(LEFT + WIDTH, low, f"{record.high:.3g}", 10, "end"),
    ]
    zeros = f"exact zeros {100 * record.zeros_before:.2f} % → {100 * record.zeros_after:.2f} %"
    parts.append(svg.text(LEFT, low + 14, zeros, 10))
    shown = f"; {len(levels)} levels" if levels else ""
    return svg.svg(212, low + 20, f"{record.layer}: weights before and after{shown}; {zeros}", parts)


def float_panel(record: Histogram) -> str:
    """Return the weights of a float checkpoint's layer alone."""
    foot = TOP + HEIGHT
    parts = [*_outline(record), svg.text(4, 13, svg.clip(record.layer, 204, 11.5, bold=True), 11.5, weight="600")]
    ends = ((LEFT, record.low, "start"), (LEFT + WIDTH / 2, 0.0, "middle"), (LEFT + WIDTH, record.high, "end"))
    parts += [svg.text(x, foot + 13, f"{value:.3g}", 10, anchor) for x, value, anchor in ends]
    return svg.svg(212, foot + 18, f"{record.layer}: weights", parts)


def _place(record: Histogram, value: float) -> float:
    share = (value - record.low) / (record.high - record.low)
    return LEFT + WIDTH * min(max(share, 0.0), 1.0)


def _bars(record: Histogram) -> list[str]:
    step, peak = WIDTH / len(record.after), max(1, *record.after)
    return [
        svg.box(LEFT + i * step, TOP + HEIGHT * (1 - count / peak), step, HEIGHT * count / peak, svg.AFTER)
        for i, count in enumerate(record.after)
        if count
    ]


def _outline(record: Histogram) -> list[str]:
    step, peak = WIDTH / len(record.before), max(1, *record.before)
    corners = [(LEFT, TOP + HEIGHT)]
    for i, count in enumerate(record.before):
        y = TOP + HEIGHT * (1 - count / peak)
        corners += [(LEFT + i * step, y), (LEFT + (i + 1) * step, y)]
    corners.append((LEFT + WIDTH, TOP + HEIGHT))
    points = " ".join(f"{svg.number(x)},{svg.number(y)}" for x, y in corners)
    return [f'<polyline points="{points}" fill="none" stroke="currentColor" stroke-width="1"/>']


def _level(record: Histogram, level: Level, place: int, count: int) -> list[str]:
    """Return a level's line through the plot and its stroke below; neighbours take turns in two rows."""
    foot, x = TOP + HEIGHT, _place(record, level.value)
    said = f"level {level.value:.4g}: {100 * level.share:.2f} % of the weights"
    row = foot + 5
    parts = [svg.line(x, TOP, x, foot, 'stroke-opacity="0.55" stroke-width="0.75" stroke-dasharray="3 2"')]
    if count <= SPANNED:
        row = foot + 4 + 4 * (place % 2)
        parts.append(svg.line(_place(record, level.low), row, _place(record, level.high), row, 'stroke-width="1.5"'))
    parts.append(svg.line(x, row - 2.5, x, row + 2.5, 'stroke-width="1"'))
    parts.append(svg.box(x - 2, TOP, 4, HEIGHT, 'fill="transparent"', said))
    return parts
