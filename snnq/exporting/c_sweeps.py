"""Operations in sweeps: those that one loop over all pixels of an image runs, and what each must keep.

A stream that only its own sweep reads is kept for one pixel at a time. An addition writes over the stream that it
adds to, where nothing reads that any more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from snnq.exporting.c_buffers import Buffer, Operation


@dataclass(frozen=True)
class Sweep:
    """Operations from number ``first`` up to ``stop``, run at every pixel of one grid."""

    first: int
    stop: int


@dataclass(frozen=True)
class SweepProgram:
    """All operations in their sweeps."""

    operations: Sequence[Operation]
    buffers: Mapping[str, Buffer]

    @cached_property
    def born(self) -> dict[str, int]:
        """The operation that gives each stream."""
        return {one.gives: number for number, one in enumerate(self.operations)}

    @cached_property
    def read(self) -> dict[str, tuple[int, ...]]:
        """The operations that take each stream, of those that one gives."""
        found: dict[str, tuple[int, ...]] = dict.fromkeys(self.born, ())
        for number, one in enumerate(self.operations):
            for name in dict.fromkeys(one.takes):
                if name in found:
                    found[name] = (*found[name], number)
        return found

    @cached_property
    def sweeps(self) -> tuple[Sweep, ...]:
        """The shortest sweeps between which every stream that can be kept for one pixel alone still is."""
        found = []
        for run in self._runs():
            local = [number for number in run if self._within(number, run)]
            spans = [(number, self.read[self.operations[number].gives][-1]) for number in local]
            first = run.start
            for number in run:
                if not any(born <= number < last for born, last in spans):
                    found.append(Sweep(first, number + 1))
                    first = number + 1
        return tuple(found)

    def _runs(self) -> Iterator[range]:
        """Yield the longest runs of operations that one loop could run."""
        first, given, partial = 0, set[str](), set[str]()
        for number, one in enumerate(self.operations):
            head = self.operations[first]
            apart = one.grid != head.grid or one.alone or head.alone or one.once != head.once
            if number > first and (apart or given & set(one.gathers) or partial & set(one.takes)):
                yield range(first, number)
                first, given, partial = number, set(), set()
            given.add(one.gives)
            partial |= {one.gives} if one.writes != "pixel" else set()
        yield range(first, len(self.operations))

    def _within(self, number: int, run: range) -> bool:
        """Whether what an operation gives is read by its run alone, at the pixel where it is given."""
        one = self.operations[number]
        readers = self.read[one.gives]
        return one.writes == "pixel" and not one.alone and bool(readers) and readers[-1] < run.stop

    def sweep_of(self, number: int) -> Sweep:
        """Return the sweep that an operation is in."""
        return next(one for one in self.sweeps if one.first <= number < one.stop)

    @cached_property
    def local(self) -> frozenset[str]:
        """The streams that are kept for one pixel at a time: not those that lie in the place of another."""
        found = set[str]()
        for number, one in enumerate(self.operations):
            sweep = self.sweep_of(number)
            over = (name for name in _overwritten(one) if name in self.born and name not in found)
            if self._within(number, range(sweep.first, sweep.stop)) and not any(
                self._ends(name, number) for name in over
            ):
                found.add(one.gives)
        return frozenset(found)

    @cached_property
    def place_of(self) -> dict[str, str]:
        """The first of the streams in whose place each one is written: itself, or what it was added to."""
        found = {name: name for name in self.born}
        for number, one in enumerate(self.operations):
            for name in _overwritten(one):
                same = name in self.born and (name in self.local) == (one.gives in self.local)
                if same and found[one.gives] == one.gives and self._ends(name, number):
                    found[one.gives] = found[name]
        return found

    def _ends(self, name: str, number: int) -> bool:
        """Whether an operation may write over a stream that it takes: nothing reads that any more."""
        one, sweep, born = self.operations[number], self.sweep_of(number), self.born[name]
        kept = self.buffers[name].planes == self.buffers[one.gives].planes
        whole = self.operations[born].writes == "pixel" or born < sweep.first
        unseen = not any(name in earlier.gathers for earlier in self.operations[sweep.first : number])
        return kept and whole and unseen and self.read[name][-1] == number


def _overwritten(one: Operation) -> tuple[str, ...]:
    """Return the streams in whose place an operation could write: those that it reads element by element."""
    if one.run in ("rectify", "quantise") or (one.run.startswith("add_") and one.takes[0] != one.takes[1]):
        return one.takes
    if one.run == "multiply" and one.takes[0] != one.takes[1]:
        return one.takes[1:]
    if one.run == "mix" and one.takes[2] not in one.takes[:2]:
        return one.takes[2:]
    return ()
