"""A cost table as tables of text: columns and rows for the terminal. Units stand in the columns' names."""

from __future__ import annotations

from collections.abc import Sequence

from snnq.cost.table import CostTable

Cells = tuple[tuple[str, ...], list[list[str]]]


def list_table(tables: Sequence[CostTable]) -> Cells:
    """Return one row a cost table; a fit says so."""
    rows = [[one.name, one.node, str(one.year), one.title + (" (a fit)" if one.fitted else "")] for one in tables]
    return ("cost table", "node", "year", "what it is"), rows


def constant_table(table: CostTable) -> Cells:
    """Return one row a constant."""
    rows = []
    for name, constant in table.constants.items():
        source = table.sources[constant.source]
        rows.append([name, f"{constant.energy_pj:g}", constant.per, f"{source.text} [{source.year}, {source.node}]"])
    return ("constant", "energy pJ", "per", "source"), rows


def operation_table(table: CostTable) -> Cells:
    """Return one row a family of number formats, and one for a fetched bit of weight."""
    rows = [[name, f"{table.operation_pj(name):g}", " + ".join(parts)] for name, parts in table.operations.items()]
    rows.append(["(one weight bit)", f"{table.weight_bit_pj:g}", f"{table.memory.weights} / 32"])
    return ("scheme family", "energy pJ per multiplication", "sum of"), rows


def machine(table: CostTable) -> str:
    """Return the facts of the machine that the event model depends on, in a sentence."""
    skipped = "skipped" if table.events.skips_zeros else "not skipped"
    return f"In the event model, weights are fetched once per {table.events.weight_reuse}; zero weights are {skipped}."


def event_table(table: CostTable) -> Cells:
    """Return one row an event of the event model, and one for a bit of local memory."""
    prices = {"accumulate": table.accumulate_pj, "neuron": table.neuron_pj, "whole": table.whole_pj}
    rows = []
    for event, parts in table.events.sums().items():
        part, _, key = event.partition(" ")
        rows.append([event, f"{prices[part](key):g}", " + ".join(parts)])
    rows.append(["(one local bit)", f"{table.local_bit_pj:g}", f"{table.memory.local} / 32"])
    return ("event", "energy pJ", "sum of"), rows
