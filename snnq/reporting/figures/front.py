"""The accuracy–cost front of a search with this plan and the simple plans on it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from snnq.cost.quantities import Quantity
from snnq.reporting.cost_records import FrontPoint, PlanRow
from snnq.reporting.figures import svg
from snnq.reporting.table import visible

LEFT, TOP, WIDTH, HEIGHT = 44.0, 22.0, 286.0, 172.0
_SIZE = 10.5


@dataclass(frozen=True)
class Point:
    """A plan in a panel: cost and score as drawn, its name if it is written beside it, and whether it was measured."""

    cost: float
    score: float
    said: str
    name: str = ""
    shape: str = "circle"


def loss_points(front: Sequence[FrontPoint], plans: Sequence[PlanRow]) -> list[Point]:
    """Return loss over bits per weight, of the plans whose loss is known.

    An unmeasured point has its predicted loss above the least measured one.
    """
    floor = min((one.validation_loss for one in front if one.validation_loss is not None), default=None)
    points = []
    for one in front:
        loss, how, shape = one.validation_loss, "measured", "circle"
        if loss is None:
            if floor is None or one.predicted_loss is None:
                continue
            loss, how, shape = floor + one.predicted_loss, "predicted", "open circle"
        points.append(Point(one.avg_bits, loss, f"{one.avg_bits:.3f} bits, loss {loss:.4f} ({how})", "", shape))
    points += [
        _named(i, row, row.avg_bits, row.validation_loss, f"{row.avg_bits:.3f} bits, loss {row.validation_loss:.4f}")
        for i, row in enumerate(plans)
        if row.validation_loss is not None
    ]
    return points


def accuracy_points(front: Sequence[FrontPoint], plans: Sequence[PlanRow], cost: Quantity) -> list[Point]:
    """Return accuracy in per cent over a cost in per cent of float32, of all plans that cost any and were measured."""
    points = []
    for i, row in enumerate((*front, *plans), start=-len(front)):
        fraction, accuracy = row.costs[cost.fraction], row.validation_accuracy
        if fraction and accuracy is not None:  # the axis is logarithmic
            x, y = 100 * fraction, 100 * accuracy
            said = f"{x:.2f} % of float32's {cost.name}, {y:.2f} % accuracy"
            points.append(_named(i, row, x, y, said) if isinstance(row, PlanRow) else Point(x, y, said))
    return points


def _named(place: int, row: PlanRow, cost: float, score: float, said: str) -> Point:
    return Point(cost, score, f"{row.plan}: {said}", row.plan, "square" if place else "diamond")


def front_panel(title: str, cost: str, score: str, points: Sequence[Point]) -> str:
    """Return score over cost (logarithmic): circles are the search's front, squares simple plans, a diamond this plan.

    Open circles are predicted. The line runs along the front.
    """
    scale = FrontAxes.of(points)
    placed = [(*scale.place(one), one) for one in points]
    line = " ".join(f"{svg.number(x)},{svg.number(y)}" for x, y, one in placed if not one.name)
    parts = [
        *_axes(scale, cost, score),
        f'<polyline points="{line}" fill="none" stroke="currentColor" stroke-opacity="0.5" stroke-width="1"/>',
        *(_mark(x, y, one) for x, y, one in placed),
        *_labels(placed),
    ]
    return svg.svg(340, TOP + HEIGHT + 34, title, parts)


@dataclass(frozen=True)
class FrontAxes:
    """Where costs (logarithmic) and scores lie in the frame, with a margin around all points."""

    costs: tuple[float, float]
    scores: tuple[float, float]

    @classmethod
    def of(cls, points: Sequence[Point]) -> FrontAxes:
        """Return the scale that holds all points."""
        costs, scores = [one.cost for one in points], [one.score for one in points]
        room = 0.08 * (max(scores) - min(scores)) or 0.05 * abs(max(scores)) or 1.0
        return cls((min(costs) / 1.12, max(costs) * 1.12), (min(scores) - room, max(scores) + room))

    def place(self, one: Point) -> tuple[float, float]:
        """Return a point's x and y."""
        return self.x(one.cost), self.y(one.score)

    def x(self, cost: float) -> float:
        """Return where a cost lies."""
        first, last = map(math.log, self.costs)
        return LEFT + WIDTH * (math.log(cost) - first) / (last - first)

    def y(self, score: float) -> float:
        """Return where a score lies."""
        return TOP + HEIGHT * (self.scores[1] - score) / (self.scores[1] - self.scores[0])


def _axes(scale: FrontAxes, cost: str, score: str) -> list[str]:
    foot, faint = TOP + HEIGHT, 'stroke-opacity="0.15" stroke-width="0.75"'
    parts = [svg.box(LEFT, TOP, WIDTH, HEIGHT, svg.FRAME)]
    for value in svg.round_ticks(*scale.scores):
        y = scale.y(value)
        parts.append(svg.line(LEFT, y, LEFT + WIDTH, y, faint))
        parts.append(svg.text(LEFT - 5, y + 3.5, f"{value:.4g}", _SIZE, "end"))
    for value in svg.log_ticks(*scale.costs):
        x = scale.x(value)
        parts.append(svg.line(x, TOP, x, foot, faint))
        parts.append(svg.text(x, foot + 14, f"{value:.4g}", _SIZE, "middle"))
    parts.append(svg.text(LEFT + WIDTH, foot + 28, cost, _SIZE, "end"))
    parts.append(svg.text(4, 13, score, _SIZE))
    return parts


def _mark(x: float, y: float, one: Point) -> str:
    look, title = 'stroke="currentColor" stroke-width="1"', f"<title>{escape(visible(one.said))}</title>"
    if one.shape == "square":
        return svg.box(x - 3.5, y - 3.5, 7, 7, f'fill="hsl(46,70%,56%)" {look}', one.said)
    if one.shape == "diamond":
        corners = " ".join(
            f"{svg.number(x + dx)},{svg.number(y + dy)}" for dx, dy in ((0, -8), (8, 0), (0, 8), (-8, 0))
        )
        return f'<polygon points="{corners}" fill="hsl(345,55%,40%)" {look}>{title}</polygon>'
    filled = 'fill="Canvas"' if one.shape == "open circle" else svg.AFTER
    return f'<circle cx="{svg.number(x)}" cy="{svg.number(y)}" r="3.5" {filled} {look}>{title}</circle>'


Area = tuple[float, float, float, float]


def _labels(placed: Sequence[tuple[float, float, Point]]) -> list[str]:
    """Return the names, each at the nearest place to its mark where it covers neither a mark nor another name."""
    taken: list[Area] = [(x - 4, y - 4, x + 4, y + 4) for x, y, _ in placed]
    parts: list[str] = []
    for x, y, one in placed:
        if one.name:
            width = svg.width_of(one.name, _SIZE)
            near = min(_around(x, y, width), key=lambda area: (_covered(area, taken), _distance(x, y, area)))
            taken.append(near)
            if _distance(x, y, near) > 12:  # a line leads to it
                to = min(max(x, near[0]), near[2]), min(max(y, near[1]), near[3])
                parts.insert(0, svg.line(x, y, *to, 'stroke-opacity="0.6" stroke-width="0.75"'))
            weight = "600" if one.shape == "diamond" else ""
            parts.append(svg.text(near[0], near[3] - 3.5, one.name, _SIZE, weight=weight, halo=True))
    return parts


def _around(x: float, y: float, width: float) -> list[Area]:
    """Return places for a name of this width around a mark (left, top, right, bottom), within the frame."""
    found = []
    for off in range(0, 150, 7):
        for dx, dy in ((1, 0), (-1, 0), (0.7, -0.7), (0.7, 0.7), (-0.7, -0.7), (-0.7, 0.7), (0, -1), (0, 1)):
            left = x + dx * (9 + off) - (0 if dx > 0 else width if dx < 0 else width / 2)
            middle = y + dy * (14 + off)
            area = (left, middle - 7, left + width, middle + 7)
            if area[0] > LEFT and area[2] < LEFT + WIDTH and area[1] > TOP and area[3] < TOP + HEIGHT:
                found.append(area)
    return found or [(LEFT + 2, TOP + 2, LEFT + 2 + width, TOP + 16)]


def _covered(area: Area, taken: Sequence[Area]) -> float:
    """Return how much of a place is taken."""
    left, top, right, bottom = area
    return sum(max(0.0, min(right, r) - max(left, x)) * max(0.0, min(bottom, b) - max(top, y)) for x, y, r, b in taken)


def _distance(x: float, y: float, area: Area) -> float:
    """Return how far a place is from a mark."""
    return math.hypot(max(area[0] - x, 0.0, x - area[2]), max(area[1] - y, 0.0, y - area[3]))
