"""The network as people draw it: a row for every operation, and an arc for every stream that skips some."""

from __future__ import annotations

from snnq.network.combining import Add, Pool
from snnq.network.graph import Graph, Operation
from snnq.network.operations import Attention, Head, LayerOperation, Neuron
from snnq.network.streams import FRAMES, Stream
from snnq.reporting.figures import svg

ROW, TOP, LANE = 17.0, 20.0, 8.0
NAMES, CARRIED = 178.0, 70.0
# How thick a stream is drawn: the more bits it carries, the thicker.
THICK = {"spikes": 0.75, "counts": 1.5, "integers": 1.5, "codes": 2.25, "pixels": 2.75, "reals": 2.75}
FILLS = {LayerOperation: "hsl(208,62%,46%)", Attention: "hsl(28,85%,50%)", Head: "hsl(208,62%,46%)"}


def network_figure(title: str, graph: Graph) -> str:
    """Return a picture of a graph: layers blue, attentions orange, neurons round, residuals with a plus."""
    rows = {FRAMES: 0} | {one.gives: number for number, one in enumerate(graph.operations, start=1)}
    arcs = _lanes(graph, rows)
    across = LANE * (1 + max((lane for *_, lane in arcs), default=0)) + 8
    parts = [_arc(across, rows[name], end, lane, graph.streams[name]) for name, end, lane in arcs]
    parts.append(svg.text(across + 16, TOP - 6, FRAMES, 11, weight="600"))
    for number, one in enumerate(graph.operations, start=1):
        parts += _row(across, number, one, graph)
    return svg.svg(across + 16 + NAMES + CARRIED + 70, TOP + ROW * (len(graph.operations) + 1), title, parts)


def _lanes(graph: Graph, rows: dict[str, int]) -> list[tuple[str, int, int]]:
    """Return (stream, row of its last reader, lane) of all that are read by another than the next operation."""
    found: list[tuple[str, int, int]] = []
    ends: list[int] = []  # by lane: the last row that it is taken in
    for name, first in sorted(rows.items(), key=lambda item: item[1]):
        last = max((rows[one.gives] for one in graph.readers[name]), default=0)
        if last <= first + 1:
            continue
        lane = next((number for number, end in enumerate(ends) if end <= first), len(ends))
        ends[lane : lane + 1] = [last]
        found.append((name, last, lane))
    return found


def _y(row: int) -> float:
    return TOP + ROW * row - ROW / 2


def _arc(across: float, first: int, last: int, lane: int, stream: Stream) -> str:
    """Return a line down the left side, from an operation to the last one that reads its stream."""
    x, (top, low), look = across - LANE * (lane + 1), (_y(first), _y(last)), f'stroke-width="{THICK[stream.kind]:g}"'
    ends = [svg.line(x, y, across, y, look) for y in (top, low)]
    return "".join([svg.line(x, top, x, low, look), *ends])


def _row(across: float, number: int, one: Operation, graph: Graph) -> list[str]:
    """Return an operation: its symbol on the line, its name, and what its stream carries."""
    y, x, stream = _y(number), across + 6, graph.streams[one.gives]
    before = graph.streams[one.takes[-1]]
    parts = (
        [svg.line(x, y - ROW, x, y, f'stroke-width="{THICK[before.kind]:g}"')] if _follows(one, number, graph) else []
    )
    round_ = ' rx="6"' if isinstance(one, Neuron | Add) else ""
    fill = FILLS.get(type(one), "Canvas")
    shape = f'fill="{fill}" stroke="currentColor" stroke-width="0.75"{round_}'
    said = f"{one.gives}: {one.name} of {', '.join(one.takes)}"
    parts.append(svg.box(x - 6, y - 6, 12, 12, shape, said))
    if isinstance(one, Add | Pool):
        parts.append(svg.text(x, y + 4, "+" if isinstance(one, Add) else "▾", 11, "middle"))
    carried = stream.kind + (f" ≤ {stream.bound:,}" if stream.kind == "integers" else "")
    size = "×".join(map(str, (stream.channels, *stream.size)))
    parts.append(svg.text(x + 12, y + 4, svg.clip(one.gives, NAMES - 12, 11), 11))
    parts.append(svg.text(x + 10 + NAMES, y + 4, size, 10.5))
    parts.append(svg.text(x + 10 + NAMES + CARRIED, y + 4, carried, 10.5))
    return parts


def _follows(one: Operation, number: int, graph: Graph) -> bool:
    """Whether an operation reads what the one above it gives."""
    above = graph.operations[number - 2].gives if number > 1 else FRAMES
    return above in one.takes
