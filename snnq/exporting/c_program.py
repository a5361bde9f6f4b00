"""A network as the tables of the C source: streams, operations, sweeps, and where everything lies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from snnq.arithmetic.whole_network import WholeNetwork
from snnq.exporting.c_buffers import TOTALS, Buffer
from snnq.exporting.c_layers import TILE, CLayer
from snnq.exporting.c_memory import SCRATCH, Lasting, Memory, Place, plan_memory
from snnq.exporting.c_operations import Operations
from snnq.exporting.c_sweeps import Sweep, SweepProgram
from snnq.network.leaks import is_fixed
from snnq.network.streams import FRAMES

_NONE = -1
_NOWHERE = Place(_NONE, 0)
# Of a recording that is run step by step, how many of these are done.
_COUNTER_BYTES = 8


@dataclass(frozen=True)
class CProgram:
    """A network's operations, where their buffers lie in a ``run``, and in a ``step``, if steps are not mixed."""

    program: SweepProgram
    run: Memory
    step: Memory | None
    chunk: int
    segmented: bool = False

    @property
    def stream_bytes(self) -> int | None:
        """Bytes for a recording that is run step by step."""
        return None if self.step is None else self.step.bytes + _COUNTER_BYTES

    @property
    def rom(self) -> int:
        """Bytes of the tables of numbers: four of each stream, and two places; and the ``tops``."""
        tops = sum(len(one.tops) for one in self.program.operations)
        return len(self.streams) * (16 + 8 * len(self.memories)) + 8 * tops

    @cached_property
    def memories(self) -> dict[str, Memory]:
        """Where everything lies, by the kind of pass."""
        return {"run": self.run} | ({} if self.step is None else {"step": self.step})

    @cached_property
    def _moved(self) -> list[tuple[Sweep, str]]:
        """The streams that lie elsewhere in some sweep, in some pass."""
        return list(dict.fromkeys(key for memory in self.memories.values() for key in memory.moved))

    @cached_property
    def _still(self) -> dict[str, Buffer]:
        """All buffers by name, as they are counted; those that are moved have other numbers behind these."""
        program, lasting = self.program, self.step is not None
        own = [buffer for one in program.operations for buffer in one.uses]
        own += [one.held for one in program.operations if one.held and lasting]
        given = [program.buffers[name] for name in program.born if name != TOTALS]
        first = [program.buffers[FRAMES], Buffer(SCRATCH, 1), program.buffers[TOTALS]]
        return {one.name: one for one in (*first, *given, *own)}

    @cached_property
    def _number(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self._still)}

    @cached_property
    def streams(self) -> list[Buffer]:
        """All rows of the table of streams."""
        return [*self._still.values(), *(self.program.buffers[name] for _, name in self._moved)]

    def places(self, memory: Memory) -> list[tuple[int, int]]:
        """Return a table of places."""
        found = [memory.places.get(name, _NOWHERE) for name in self._still]
        found += [memory.moved.get(key, memory.places[key[1]]) for key in self._moved]
        return [(one.at, one.bytes) for one in found]

    def operations(self, layers: Sequence[str]) -> list[dict[str, Any]]:
        """Return the rows of the table of operations; ``layers`` are named as they are counted in C."""
        moved = {key: len(self._still) + place for place, key in enumerate(self._moved)}
        rows = []
        for number, one in enumerate(self.program.operations):
            sweep = self.program.sweep_of(number)
            takes = [moved.get((sweep, name), self._number[name]) for name in one.takes]
            layer = {"l": f"&layers[{layers.index(one.made.layer)}]"} if one.made else {}
            own = {buffer.name.rpartition(", ")[2]: self._number[buffer.name] for buffer in one.uses}
            lasting = one.held is not None and self.step is not None
            rows.append(
                {
                    "run": one.run,
                    "gives": self._number[one.gives],
                    "takes": [*takes, *[_NONE] * (3 - len(takes))],
                    "part": one.part,
                    "held": self._number[one.held.name] if one.held and lasting else _NONE,
                    "numbers": {**layer, **own, **one.numbers},
                    "tops": one.tops,
                }
            )
        return rows

    def sweeps(self) -> list[tuple[int, ...]]:
        """Return the rows of the table of sweeps: operations, sides of the image, what is moved, and where.

        Last, whether it is run for one time step.
        """
        rows = []
        for sweep in self.program.sweeps:
            found = [place for place, (where, _) in enumerate(self._moved) if where == sweep]
            moved = (self._number[self._moved[found[0]][1]], len(self._still) + found[0]) if found else (0, 0)
            first = self.program.operations[sweep.first]
            rows.append((sweep.first, sweep.stop, *first.grid, *moved, int(first.once)))
        return rows

    def values(self, layers: Sequence[CLayer]) -> dict[str, Any]:
        """Return what the templates say of it; ``layers`` are those of the C source, in their order."""
        program = self.program
        planes = {one.made.layer: program.buffers[one.takes[0]].planes for one in program.operations if one.made}
        seen = [planes[one.name] for one in layers]
        return {
            **self._kinds(layers),
            "planes": seen,
            "multiplies": 0 in seen,
            "streams": self.streams,
            "operations": self.operations([one.name for one in layers]),
            "sweeps": self.sweeps(),
            "memories": [(name, self.places(memory)) for name, memory in self.memories.items()],
            "once": any(one.once for one in program.operations),
            "ram": self.run.bytes,
            "streaming": self.step is not None,
            "stream_ram": self.stream_bytes,
            "acausal": "a clip is run by segments, each of them at once"
            if self.segmented
            else f"an attention mixes {self.chunk} steps at once",
        }

    def _kinds(self, layers: Sequence[CLayer]) -> dict[str, Any]:
        """Return which functions the source needs, and in which widths of their numbers."""
        operations, widths = self.program.operations, sorted({one.width for one in layers})
        kinds = sorted({one.run for one in operations})
        neurons = [tuple(map(int, kind.split("_")[1:])) for kind in kinds if kind.startswith("neuron_")]
        fires, mixings = (
            any(one.made and one.held for one in operations),
            [one for one in operations if one.run == "mix"],
        )
        mixes = any(one.held for one in mixings)
        leaks = {one.numbers["leak"] for one in operations if "leak" in one.numbers}
        voltages = {*(widths if fires else ()), *(width for _, width in neurons), *([32] if mixes else [])}
        totals = [kind.split("_")[1:] for kind in kinds if kind.startswith("total_") and kind != "total_planes"]
        return {
            "kinds": kinds,
            "widths": widths,
            "fires": fires,
            "counting": any(one.most for one in layers),
            "keeps": any(one.made and one.part == _NONE for one in operations),
            "pooled": "pooled" in kinds,
            "neurons": neurons,
            "mixes": mixes,
            "mixed_numbers": any(one.tops for one in mixings),
            "number_bits": [int(kind.partition("_")[2]) for kind in kinds if kind.startswith("numbers_")],
            "voltages": sorted(voltages),
            "leaks": leaks,
            "fixed_leaks": any(map(is_fixed, leaks)),
            "chunked": self.chunk > 1,
            "counts": "features" in kinds or "total_planes" in kinds,
            "totals": totals,
            "reads": [kind.partition("_")[2] for kind in kinds if kind.startswith("read_")],
        }


def c_program(network: WholeNetwork, widths: Mapping[str, int]) -> CProgram:
    """Return a network's program; ``widths``: 32 or 64, the bits of every layer's sums.

    Raises UsageError for what has no form in C.
    """
    made = Operations(network, widths)
    program, graph = SweepProgram(tuple(made.all), made.buffers), network.wiring.graph
    steps, segmented = graph.pass_steps, graph.segment is not None
    chunk = max((one.mixes.chunk for one in network.wiring.mixings), default=1)
    run = plan_memory(
        program, _scratch(program, widths, steps), steps, Lasting.TOTALS if segmented else Lasting.NOTHING
    )
    causal = chunk == 1 and not segmented
    step = plan_memory(program, _scratch(program, widths, 1), 1, Lasting.ALL) if causal else None
    return CProgram(program, run, step, chunk, segmented)


def _scratch(program: SweepProgram, widths: Mapping[str, int], steps: int) -> int:
    """Return the bytes of sums and a row, twice as many sums where they are pooled, or of an attention's products."""
    pooled = any(one.run == "pooled" for one in program.operations)
    mixed = [
        program.buffers[one.takes[0]].channels // one.numbers["heads"] * (steps // one.numbers["chunk"]) * 4
        for one in program.operations
        if one.run == "mix"
    ]
    return max(max(widths.values()) // 8 * TILE * (steps * (2 if pooled else 1) + 1), *mixed, 0)
