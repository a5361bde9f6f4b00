"""How often each layer's inputs fire: its rate at every step, and its mean beside that of the other layers."""

from __future__ import annotations

from collections.abc import Sequence

from snnq.cost.event_records import LayerEvents
from snnq.reporting.figures import svg

ROW, NAMES, STEPS = 20.0, 154.0, 82.0
MEAN, LENGTH = 244.0, 50.0


def firing_rows(title: str, rows: Sequence[LayerEvents]) -> str:
    """Return a row for every layer: a column for every step, as high as its share of the layer's highest, and the mean.

    The bars of the means have one scale for all layers, the columns have each layer's own. A layer that runs once a
    sample has one column.
    """
    most = max([1e-12, *(one.firing_rate for one in rows)])
    parts = [svg.text(NAMES, 11, "each step", 10.5), svg.text(MEAN, 11, "mean, %", 10.5)]
    for place, one in enumerate(rows):
        foot = 16 + ROW * place + 16
        parts.append(svg.text(4, foot - 3, svg.clip(one.name, NAMES - 10, 10.5), 10.5))
        parts += _columns(one, foot)
        bar = max(LENGTH * one.firing_rate / most, 0.75)
        parts.append(
            svg.box(MEAN, foot - 11, bar, 9, svg.AFTER, f"{one.name} ({one.input}): mean {_per_cent(one.firing_rate)}")
        )
        parts.append(svg.text(336, foot - 3, f"{100 * one.firing_rate:.2f}", 10.5, "end"))
    return svg.svg(340, 20 + ROW * len(rows), title, parts)


def _columns(one: LayerEvents, foot: float) -> list[str]:
    highest, step = max([1e-12, *one.firing_rates]), STEPS / max(len(one.firing_rates), 1)
    parts = [svg.line(NAMES, foot, NAMES + STEPS, foot, 'stroke-opacity="0.5" stroke-width="0.75"')]
    for i, rate in enumerate(one.firing_rates):
        height, gap = 14 * rate / highest, min(1.0, step / 6)
        said = f"{one.name} ({one.input}), step {i + 1}: {_per_cent(rate)}"
        parts.append(svg.box(NAMES + step * i + gap / 2, foot - height, step - gap, height, svg.AFTER, said))
    return parts


def _per_cent(rate: float) -> str:
    return f"{100 * rate:.2f} %"
