"""Cost tables: files of energy constants that a user can edit, copy and pass by path.

A table names every constant's source; all sources must be of the table's own technology node, because energies of
different nodes must never be added (docs/method.md §3).
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from snnq.base.errors import CostTableError, nearest
from snnq.base.shelf import Shelf
from snnq.base.validation import Many, Record
from snnq.cost.activity import FloatActivity
from snnq.cost.array_facts import ArrayFacts
from snnq.schemes.format import OPERATIONS

TABLES = Path(__file__).parent / "tables"
DEFAULT_TABLE = "horowitz-45nm"
REUSES: dict[str, str] = {
    "inference": "weights · bits: every weight fetched once per inference, then kept",
    "step": "weights · bits · T: every weight fetched anew at every time step",
    "event": "synaptic operations · bits: a weight read from local memory for every one",
}
ARITHMETICS = ("integer", "float")
WHOLE = ("accumulate", "multiply", "shift")
OPERATION, WORD = "operation", "32-bit word"


class ConstantSource(Record):
    """Where a constant comes from: the publication, its year and its technology node, or the device it is of."""

    text: str
    year: int
    node: str


class EnergyConstant(Record):
    """One energy in pJ, of one operation or of one 32-bit word, and the key of its source."""

    energy_pj: float = Field(ge=0, le=1e12)  # a joule: sums of more are not finite any more
    per: Literal["operation", "32-bit word"]
    source: str


class MemoryConstants(Record):
    """Which constant one 32-bit word costs: of weights fetched from far, and of anything in local memory."""

    weights: str
    local: str


class EventConstants(Record):
    """Which constants the event model adds up for each of its events (``snnq.cost.events``).

    ``accumulate``, by family: a weight added for one spike, or for one set bit of a whole number. ``neuron``, by
    arithmetic: an update of a membrane potential with its threshold. ``whole``, whole numbers without a weight:
    ``accumulate``, one added inside an attention; ``shift``, a sum doubled between two bits of the inputs; ``shift`` or
    ``multiply``, the constant c of an attention.

    Two facts of the machine: ``weight_reuse``, how often it fetches a weight (a key of ``REUSES``), and
    ``skips_zeros``, whether it passes over weights that are zero.
    """

    accumulate: dict[str, Many[str]]
    neuron: dict[str, Many[str]]
    whole: dict[str, Many[str]]
    weight_reuse: Literal["inference", "step", "event"] = "inference"
    skips_zeros: bool = False

    @model_validator(mode="after")
    def _all_named(self) -> EventConstants:
        for part, due in (("accumulate", OPERATIONS), ("neuron", ARITHMETICS), ("whole", WHOLE)):
            _check_sums(getattr(self, part), due, f"{part}: ")
        return self

    def sums(self) -> dict[str, tuple[str, ...]]:
        """Return the constants of every event by what it is: ``accumulate uniform``."""
        parts = {"accumulate": self.accumulate, "neuron": self.neuron, "whole": self.whole}
        return {f"{part} {key}": names for part, one in parts.items() for key, names in one.items()}


class CostTable(Record):
    """A table of constants, and which of them each family of number formats adds up.

    ``sha256`` is that of the file's bytes; ``path`` is None for a table that comes with snnq. ``floats`` is no part of
    the file: what the float model did, where events are to be priced, too (``on``). ``imc_target``: the analog arrays
    whose costs a budget may limit, a name or path, and ``arrays``, no part of the file, the model on them.
    """

    name: str
    title: str
    year: int
    node: str
    fitted: bool
    notes: str = ""
    sources: dict[str, ConstantSource]
    constants: dict[str, EnergyConstant]
    operations: dict[str, Many[str]]
    memory: MemoryConstants
    events: EventConstants
    sha256: str
    path: str | None
    imc_target: str = "spikesim-65nm"
    floats: FloatActivity | None = Field(default=None, exclude=True)
    arrays: ArrayFacts | None = Field(default=None, exclude=True)

    @field_validator("operations")
    @classmethod
    def _one_sum_per_family(cls, operations: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        _check_sums(operations, OPERATIONS)
        return operations

    @field_validator("memory")
    @classmethod
    def _memory_is_per_word(cls, memory: MemoryConstants, info: ValidationInfo) -> MemoryConstants:
        for name in (memory.weights, memory.local):
            _check_constant(name, WORD, info.data.get("constants", {}))
        return memory

    @model_validator(mode="after")
    def _references_hold(self) -> CostTable:
        for names in (*self.operations.values(), *self.events.sums().values()):
            for name in names:
                _check_constant(name, OPERATION, self.constants)
        for name, constant in self.constants.items():
            if constant.source not in self.sources:
                raise ValueError(
                    f"constants.{name}: unknown source '{constant.source}'{nearest(constant.source, self.sources)}"
                )
        for key, source in self.sources.items():
            if source.node != self.node:
                raise ValueError(
                    f"sources.{key}: node '{source.node}' in a table of node '{self.node}'; "
                    "constants of different technology nodes must not be added"
                )
        return self

    def on(self, floats: FloatActivity | None) -> CostTable:
        """Return this table for what a float model did; with None it prices nothing that must be measured."""
        return self.model_copy(update={"floats": floats})

    def on_arrays(self, arrays: ArrayFacts | None) -> CostTable:
        """Return this table for a model on analog arrays; with None it prices nothing on them."""
        return self.model_copy(update={"arrays": arrays})

    def operation_pj(self, operation: str) -> float:
        """Return e_op (docs/method.md §3), the energy in pJ of one multiplication under a format's ``operation``."""
        return self._sum(self.operations[operation])

    def accumulate_pj(self, operation: str) -> float:
        """Return the energy in pJ of adding one weight of a format's ``operation``, for one spike or one bit."""
        return self._sum(self.events.accumulate[operation])

    def neuron_pj(self, arithmetic: str) -> float:
        """Return the energy in pJ of one update of a membrane potential, in ``integer`` or ``float`` arithmetic."""
        return self._sum(self.events.neuron[arithmetic])

    def whole_pj(self, what: str) -> float:
        """Return the energy in pJ of one ``accumulate``, ``multiply`` or ``shift`` of a whole number."""
        return self._sum(self.events.whole[what])

    def _sum(self, names: tuple[str, ...]) -> float:
        return sum(self.constants[name].energy_pj for name in names)

    @property
    def weight_bit_pj(self) -> float:
        """The energy in pJ of fetching one bit of a weight: a 32-bit word's divided by 32."""
        return self.constants[self.memory.weights].energy_pj / 32

    @property
    def local_bit_pj(self) -> float:
        """The energy in pJ of one bit written to local memory or read from it: a 32-bit word's divided by 32."""
        return self.constants[self.memory.local].energy_pj / 32


def _check_sums(sums: dict[str, tuple[str, ...]], due: tuple[str, ...], where: str = "") -> None:
    """Raise ValueError unless exactly the families (or events) ``due`` have constants to add up."""
    for name in sums:
        if name not in due:
            raise ValueError(f"{where}unknown family '{name}'{nearest(name, due)}")
    for name in due:
        if not sums.get(name):
            raise ValueError(f"{where}no constants are named for the family '{name}'")


def _check_constant(name: str, per: str, constants: dict[str, EnergyConstant]) -> None:
    """Raise ValueError unless a constant of that name exists and counts the right thing."""
    if name not in constants:
        raise ValueError(f"unknown constant '{name}'{nearest(name, constants)}")
    if constants[name].per != per:
        raise ValueError(f"constant '{name}' is per {constants[name].per}, it must be per {per}")


_TABLES = Shelf(
    "cost table",
    TABLES,
    CostTable,
    CostTableError,
    hint=f"compare it with a table that works: snnq cost show {DEFAULT_TABLE}",
    listing="snnq cost list",
    others=("floats", "arrays"),
)


def list_tables() -> tuple[str, ...]:
    """Return the names of the tables that come with snnq."""
    return _TABLES.names()


def read_table(name_or_path: str | Path = DEFAULT_TABLE) -> CostTable:
    """Return a table by name or path (``base.shelf``); raises CostTableError naming the file and the key."""
    return _TABLES.read(name_or_path)
