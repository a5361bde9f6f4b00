"""Where every buffer lies in the one block of memory of the C source, for a pass over all time steps or over one.

A stream lies there from the sweep that gives it to the last one that reads it. What a sweep gives may be written over a
stream that it is the last to read, while it reads it, if that lies far enough behind: the memory is hardly larger than
the largest stream. A stream that does not is moved there first, where that takes less memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from snnq.exporting.c_buffers import TOTALS, Buffer, Operation
from snnq.exporting.c_ground import Ground, Item, rounded_up
from snnq.exporting.c_sweeps import Sweep, SweepProgram

SCRATCH = "sums, scratch"


@dataclass(frozen=True)
class Place:
    """Where a buffer begins, and how far it is from one pixel to the next (0: there is one at a time)."""

    at: int
    bytes: int


@dataclass(frozen=True)
class Memory:
    """The places of a pass over ``steps``, by buffer, and ``bytes`` in all.

    ``moved``: where a stream lies in the sweep that reads it last, by sweep and stream, if that is elsewhere.
    """

    steps: int
    places: Mapping[str, Place]
    bytes: int
    moved: Mapping[tuple[Sweep, str], Place]


class Lasting(Enum):
    """What lasts from pass to pass: nothing, what the head is given, or that and voltages."""

    NOTHING, TOTALS, ALL = range(3)


class _Planner:
    """Places all buffers of a program for one pass."""

    def __init__(self, program: SweepProgram, scratch: int, steps: int, lasting: Lasting) -> None:
        self.program, self.steps, self.lasting = program, steps, lasting
        self.ground, self.moved = Ground(), dict[tuple[Sweep, str], Place]()
        self.last = len(program.operations) - 1
        self.items = {one.name: one for one in self._items()}
        self.at = {one.name: self.ground.put(one) for one in (Item(SCRATCH, scratch, 0, self.last), *self._lasting())}

    def run(self) -> Memory:
        """Place everything, sweep by sweep."""
        for sweep in self.program.sweeps:
            self._sweep(sweep)
        places = {name: self._place(name) for name in self.program.born} | {SCRATCH: Place(self.at[SCRATCH], 0)}
        for one in self.program.operations:
            places |= {buffer.name: Place(self.at[buffer.name], 0) for buffer in one.uses}
            if one.held and self.lasting is Lasting.ALL:
                places[one.held.name] = Place(self.at[one.held.name], one.held.pixel_bytes(self.steps))
        return Memory(self.steps, places, rounded_up(self.ground.top(0, self.last)), self.moved)

    def _place(self, name: str) -> Place:
        root, buffer = self.program.place_of[name], self.program.buffers[name]
        return Place(self.at[root], 0 if name in self.program.local else buffer.pixel_bytes(self.steps))

    def _lasting(self) -> Iterator[Item]:
        if self.lasting is not Lasting.NOTHING:
            yield replace(self.items[TOTALS], begin=0)
        if self.lasting is Lasting.ALL:
            for one in self.program.operations:
                if one.held:
                    yield Item(one.held.name, one.held.pixels * one.held.pixel_bytes(self.steps), 0, self.last)

    def _items(self) -> Iterator[Item]:
        """Yield every place of streams, as long as one of them is there."""
        program = self.program
        spans: dict[str, list[int]] = {}
        for name, number in program.born.items():
            spans.setdefault(program.place_of[name], []).extend((number, *program.read[name]))
        for name, numbers in spans.items():
            buffer, begin, end = program.buffers[name], min(numbers), max(numbers)
            size = buffer.pixel_bytes(self.steps)
            if name in program.local:
                yield Item(name, size, begin, end)
            else:
                first, stop = program.sweep_of(begin).first, program.sweep_of(end).stop
                yield Item(name, size * buffer.pixels, first, stop - 1)

    def _sweep(self, sweep: Sweep) -> None:
        """Place what a sweep gives, as the streams lie, or with the largest that it ends behind what it gives."""
        span, local = (sweep.first, sweep.stop - 1), self.program.local
        given = [one for one in self.items.values() if span[0] <= one.begin <= span[1] and one.name not in self.at]
        streams, others = ([one for one in given if (one.name in local) == apart] for apart in (False, True))
        own = (buffer for one in self._operations(sweep) for buffer in one.uses)
        others += [Item(buffer.name, buffer.pixel_bytes(self.steps), *span) for buffer in own]
        ended = self._ended(sweep)
        overlapping = [other for other in ended for one in streams if self._overlap(sweep, one, other)]
        still = self.ground.copy()
        at = {one.name: still.put(one) for one in (*streams, *others)}
        if overlapping:
            largest = max(overlapping, key=self._weight)
            moving = self.ground.copy()
            moving.end(largest.name, sweep.first - 1)
            found = {one.name: moving.put(one) for one in streams}
            there = moving.put(replace(largest, begin=sweep.first))
            found |= {one.name: moving.put(one) for one in others}
            if moving.top(*span) < still.top(*span):
                still, at = moving, found
                self._move(sweep, largest.name, there)
        self.ground, self.at = still, self.at | at

    def _weight(self, item: Item) -> int:
        """Return the size of a stream of eight steps: which is the largest must not depend on how many there are."""
        buffer = self.program.buffers[item.name]
        return buffer.pixels * buffer.pixel_bytes(8)

    def _move(self, sweep: Sweep, name: str, at: int) -> None:
        place = Place(at, self.program.buffers[name].pixel_bytes(self.steps))
        for taken in (taken for one in self._operations(sweep) for taken in one.takes):
            if self.program.place_of.get(taken) == name:
                self.moved[sweep, taken] = place

    def _ended(self, sweep: Sweep) -> list[Item]:
        """Return the places of streams that this sweep reads last, and writes nothing to."""
        written = {self.program.place_of[one.gives] for one in self._operations(sweep)}
        items = [one for one in self.items.values() if one.begin < sweep.first and one.end == sweep.stop - 1]
        return [one for one in items if one.name not in written]

    def _overlap(self, sweep: Sweep, given: Item, ended: Item) -> bool:
        """Say how far a stream that ends must lie behind one that is written; False where they may not touch."""
        program, source = self.program, self.program.buffers[ended.name]
        made = [one for one in self._operations(sweep) if program.place_of[one.gives] == given.name]
        seen = [one for one in self._operations(sweep) if ended.name in map(program.place_of.get, one.takes)]
        whole = any(one.writes == "all" or one.alone for one in made)
        if whole or not seen or any(one.window is None and source.size != one.grid for one in seen):
            return False
        self.ground.behind[given.name, ended.name] = max(
            _written(one, program.buffers[one.gives], y, x, self.steps) - _needed(other, source, y, x, self.steps)
            for one in made
            for other in seen
            for y in _rows(one.grid[0])
            for x in (0, one.grid[1] - 1)
        )
        return True

    def _operations(self, sweep: Sweep) -> Sequence[Operation]:
        return self.program.operations[sweep.first : sweep.stop]


def plan_memory(program: SweepProgram, scratch: int, steps: int, lasting: Lasting) -> Memory:
    """Return where everything lies; ``scratch``: bytes that every operation may use."""
    return _Planner(program, scratch, steps, lasting).run()


def _written(one: Operation, buffer: Buffer, y: int, x: int, steps: int) -> int:
    """Return where what is written ends, after pixel (y, x) of the grid."""
    size, (rows, columns) = buffer.pixel_bytes(steps), buffer.size
    if one.writes == "pool":
        return (min((y + one.numbers["up"]) // one.numbers["stride"], rows - 1) + 1) * columns * size
    return (y * columns + x + 1) * size


def _needed(one: Operation, buffer: Buffer, y: int, x: int, steps: int) -> int:
    """Return where what is read at pixel (y, x) of the grid and after it begins."""
    size, columns = buffer.pixel_bytes(steps), buffer.size[1]
    if one.window is not None:
        return one.window.first_row(y) * columns * size
    pixel = y * columns + x
    return (max(pixel - 1, 0) if one.run == "pool_heads" else pixel) * size


def _rows(height: int) -> set[int]:
    """Return the rows to look at: between the first and the last ones, both ends grow linearly, stride for stride."""
    return {*range(min(height, 16)), *range(max(height - 16, 0), height)}
