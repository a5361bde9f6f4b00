"""Numbers → SVG text. Pure functions: no file, no page, no script, nothing loaded.

Every figure says in a ``<title>`` what it shows, names its parts in words beside their colour, and takes its text
colour from the page (``currentColor``), so that it can be read in light and dark and on paper.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from snnq.reporting.records import FrontPoint, Histogram, LayerRow, SearchEpoch
from snnq.reporting.text import visible
from snnq.schemes.names import FLOAT32, split_name

# Hues of the two families that colour-blind readers tell apart; more bits are lighter.
_HUES = {"uniform": (208, 62), "power-of-two": (28, 78)}
_LIGHTNESS = {2: 38, 3: 46, 4: 54, 5: 60, 6: 66, 7: 71, 8: 76}
_GREY = "#8a8f98"


def scheme_colour(name: str) -> str:
    """Return the colour of a scheme: grey for float32, a hue for each family, lighter with more bits."""
    family, bits = split_name(name)
    if name == FLOAT32:
        return _GREY
    hue, saturation = _HUES[family]
    return f"hsl({hue},{saturation}%,{_LIGHTNESS[bits]}%)"


def short_name(scheme: str) -> str:
    """Return a scheme's name as it fits beside a band: ``u2`` for uniform-2, ``p4`` for power-of-two-4, ``f32``."""
    family, bits = split_name(scheme)
    return f"{family[0]}{bits}"


def clip(text: str, length: int) -> str:
    """Return text of at most ``length`` characters; what is cut is the beginning, where module paths agree."""
    text = visible(text)
    return text if len(text) <= length else "…" + text[len(text) - length + 1 :]


def _svg(width: float, height: float, title: str, parts: Sequence[str]) -> str:
    shown = escape(visible(title))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_n(width)} {_n(height)}" role="img" '
        f'aria-label="{shown}" font-family="inherit"><title>{shown}</title>{"".join(parts)}</svg>'
    )


def _n(value: float) -> str:
    """Return a coordinate with at most two decimals."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _text(x: float, y: float, text: str, size: float = 11, anchor: str = "start", weight: str = "normal") -> str:
    return (
        f'<text x="{_n(x)}" y="{_n(y)}" font-size="{_n(size)}" text-anchor="{anchor}" font-weight="{weight}" '
        f'fill="currentColor">{escape(visible(text))}</text>'
    )


def _box(x: float, y: float, width: float, height: float, look: str) -> str:
    return f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}" {look}/>'


_FRAME = 'fill="none" stroke="currentColor" stroke-opacity="0.35" stroke-width="0.75"'
_BEFORE = 'fill="currentColor" fill-opacity="0.12" stroke="currentColor" stroke-opacity="0.6" stroke-width="0.75"'
_AFTER = 'fill="hsl(208,62%,46%)"'


# Probabilities over the search


def most_contested(epochs: Sequence[SearchEpoch], layers: Sequence[str]) -> list[str]:
    """Return the layers' names, those whose winner is least certain after the last epoch first."""
    last = epochs[-1].probabilities
    return sorted(layers, key=lambda name: max(last[name]))


def probability_panel(layer: str, space: Sequence[str], epochs: Sequence[SearchEpoch]) -> str:
    """Return one layer's probabilities after each epoch as stacked bands, the scheme of most bits on top.

    It begins with equal shares at epoch 0, before the first step (METHOD §4).
    """
    order = sorted(range(len(space)), key=lambda k: (split_name(space[k])[1], space[k]))
    rows = [tuple(1 / len(space) for _ in space), *(epoch.probabilities[layer] for epoch in epochs)]
    left, top, width, height = 4.0, 20.0, 158.0, 74.0
    xs = [left + width * i / (len(rows) - 1) for i in range(len(rows))]
    parts, floor, label_at = [], [0.0] * len(rows), top + height + 8
    for k in order:
        ceiling = [low + row[k] for low, row in zip(floor, rows, strict=True)]
        points = [*zip(xs, ceiling, strict=True), *zip(reversed(xs), reversed(floor), strict=True)]
        path = " ".join(f"{_n(x)},{_n(top + height * (1 - y))}" for x, y in points)
        share = rows[-1][k]
        parts.append(
            f'<polygon points="{path}" fill="{scheme_colour(space[k])}" stroke="Canvas" stroke-width="0.75">'
            f"<title>{escape(space[k])}: {share:.4f} after epoch {epochs[-1].epoch}</title></polygon>"
        )
        if share >= 0.06:
            # Never closer than a line to the label below it.
            middle = top + height * (1 - (floor[-1] + ceiling[-1]) / 2) + 3.5
            label_at = min(middle, label_at - 10)
            parts.append(_text(left + width + 4, label_at, f"{short_name(space[k])} {share:.2f}", 9.5))
        floor = ceiling
    winner = max(range(len(space)), key=lambda k: rows[-1][k])
    parts += [_box(left, top, width, height, _FRAME), _text(left, 13, clip(layer, 30), 11, weight="600")]
    parts += [_text(left, top + height + 12, "0", 9)]
    parts.append(_text(left + width, top + height + 12, f"epoch {epochs[-1].epoch}", 9, "end"))
    title = f"{layer}: probabilities over the search; in the end {space[winner]} with {rows[-1][winner]:.4f}"
    return _svg(210, top + height + 16, title, parts)


# Shares before and after


def paired_bars(title: str, rows: Sequence[tuple[str, float, str, float, str]]) -> str:
    """Return two bars for each row (name, share before, its text, share after, its text); shares are from 0 to 1."""
    step, left, width, longest = 46, 4.0, 340.0, 140.0
    parts = []
    for i, (name, before, before_text, after, after_text) in enumerate(rows):
        y = i * step
        parts.append(_text(left, y + 12, clip(name, 40), 12, weight="600"))
        for at, share, look, text in ((17, before, _BEFORE, before_text), (30, after, _AFTER, after_text)):
            length = max(share * longest, 0.5)
            parts.append(_box(left, y + at, length, 10, look))
            parts.append(_text(left + length + 5, y + at + 9, text, 10.5))
    return _svg(width, len(rows) * step, title, parts)


# The front


def front_panel(points: Sequence[FrontPoint], own_bits: float) -> str:
    """Return loss over bits per weight (logarithmic) along the search's front; filled where it was measured.

    Where nothing was measured at a point, its predicted loss is drawn above the least measured loss.
    """
    left, top, width, height = 46.0, 14.0, 300.0, 150.0
    known = [point.validation_loss for point in points if point.validation_loss is not None]
    floor = min(known, default=0.0)
    losses = [floor + p.predicted_loss if p.validation_loss is None else p.validation_loss for p in points]
    low, high = min(losses), max(max(losses), min(losses) + 1e-6)
    first, last = (math.log2(edge(point.avg_bits for point in points)) for edge in (min, max))

    def x(bits: float) -> float:
        return left + width * (math.log2(bits) - first) / max(last - first, 1e-9)

    def y(loss: float) -> float:
        return top + height * (high - loss) / (high - low)

    parts = [_box(left, top, width, height, _FRAME)]
    if first <= math.log2(own_bits) <= last:
        at = _n(x(own_bits))
        parts.append(
            f'<line x1="{at}" x2="{at}" y1="{_n(top)}" y2="{_n(top + height)}" stroke="currentColor" '
            f'stroke-dasharray="3 3" stroke-width="0.75"/>'
        )
        parts.append(_text(x(own_bits), top - 3, "this plan", 9.5, "middle"))
    for point, loss in zip(points, losses, strict=True):
        look = _AFTER if point.validation_loss is not None else 'fill="Canvas"'
        parts.append(
            f'<circle cx="{_n(x(point.avg_bits))}" cy="{_n(y(loss))}" r="3.5" {look} stroke="currentColor" '
            f'stroke-width="0.75"><title>{point.avg_bits:.3f} bits, loss {loss:.4f}</title></circle>'
        )
    parts += [_text(left - 5, y(value) + 3.5, f"{value:.3f}", 9.5, "end") for value in (low, high)]
    parts += [_text(x(2**edge), top + height + 13, f"{2**edge:.2f}", 9.5, "middle") for edge in (first, last)]
    parts.append(_text(left + width / 2, top + height + 13, "bits per weight", 9.5, "middle"))
    parts.append(_text(4, top + height / 2, "loss", 9.5))
    return _svg(left + width + 20, top + height + 20, "Loss over bits per weight along the search's front", parts)


# Weights before and after


def histogram_panel(record: Histogram) -> str:
    """Return a layer's float weights (outline) and packed weights (filled), each to its own highest bin."""
    left, top, width, height = 4.0, 20.0, 200.0, 62.0
    bins = len(record.before)
    step = width / bins

    def level(count: int, peak: int) -> float:
        return top + height * (1 - count / peak)

    peak, after_peak = max(1, *record.before), max(1, *record.after)
    parts = [
        _box(left + i * step, level(count, after_peak), step, height * count / after_peak, _AFTER)
        for i, count in enumerate(record.after)
        if count
    ]
    corners = [(left, top + height)]
    for i, count in enumerate(record.before):
        corners += [(left + i * step, level(count, peak)), (left + (i + 1) * step, level(count, peak))]
    corners.append((left + width, top + height))
    outline = " ".join(f"{_n(x)},{_n(y)}" for x, y in corners)
    parts.append(f'<polyline points="{outline}" fill="none" stroke="currentColor" stroke-width="1"/>')
    zeros = f"exact zeros {100 * record.zeros_before:.2f} % → {100 * record.zeros_after:.2f} %"
    foot = top + height
    parts += [_text(left, 13, clip(record.layer, 32), 11, weight="600"), _text(left, foot + 23, zeros, 9.5)]
    parts += [
        _text(left, foot + 11, f"{record.low:.3g}", 9),
        _text(left + width, foot + 11, f"{record.high:.3g}", 9, "end"),
    ]
    parts.append(_text(left + width / 2, foot + 11, "0", 9, "middle"))
    return _svg(208, foot + 28, f"{record.layer}: weights before and after; {zeros}", parts)


# The plan at a glance


def layer_strip(layers: Sequence[LayerRow]) -> str:
    """Return a bar for every layer, as long as its bits per weight, with the scheme's name beside it."""
    step, left, width = 17, 158.0, 90.0
    most = max(layer.bits for layer in layers)
    parts = []
    for i, layer in enumerate(layers):
        y = i * step
        parts.append(_text(left - 6, y + 12, clip(layer.name, 24), 10.5, "end"))
        parts.append(_box(left, y + 3, width * layer.bits / most, 11, f'fill="{scheme_colour(layer.scheme)}"'))
        parts.append(_text(left + width * layer.bits / most + 5, y + 12, layer.scheme, 10.5))
    return _svg(left + width + 95, len(layers) * step + 4, "Scheme of each layer; bars are bits per weight", parts)


def legend(schemes: Sequence[str]) -> str:
    """Return what the colours and short names of schemes stand for."""
    parts = []
    for i, name in enumerate(schemes):
        x, y = 4 + (i % 2) * 165, 2 + (i // 2) * 18
        parts += [_box(x, y, 12, 12, f'fill="{scheme_colour(name)}"')]
        parts.append(_text(x + 18, y + 10, f"{short_name(name)} = {name}", 11))
    return _svg(340, 18 * ((len(schemes) + 1) // 2) + 2, "Colours: " + ", ".join(schemes), parts)
