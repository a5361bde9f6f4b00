"""A cost table as tables of text: columns and rows for the terminal. Units stand in the columns' names."""

from __future__ import annotations

from snnq.cost.table import CostTable

EVENT_COLUMNS = ("event", "energy pJ", "sum of")
TABLE_COLUMNS = ("cost table", "node", "year", "what it is")
CONSTANT_COLUMNS = ("constant", "energy pJ", "per", "source")
OPERATION_COLUMNS = ("scheme family", "energy pJ per multiplication", "sum of")


def table_row(table: CostTable) -> list[str]:
    """Return a table's own row, for ``TABLE_COLUMNS``; a fit says so."""
    return [table.name, table.node, str(table.year), table.title + (" (a fit)" if table.fitted else "")]


def constant_rows(table: CostTable) -> list[list[str]]:
    """Return one row a constant, for ``CONSTANT_COLUMNS``."""
    rows = []
    for name, constant in table.constants.items():
        source = table.sources[constant.source]
        rows.append([name, f"{constant.energy_pj:g}", constant.per, f"{source.text} [{source.year}, {source.node}]"])
    return rows


def operation_rows(table: CostTable) -> list[list[str]]:
    """Return one row a family of number formats, for ``OPERATION_COLUMNS``, and one for a fetched bit of weight."""
    rows = [[name, f"{table.operation_pj(name):g}", " + ".join(parts)] for name, parts in table.operations.items()]
    return [*rows, ["(one weight bit)", f"{table.weight_bit_pj:g}", f"{table.memory.weights} / 32"]]


def event_rows(table: CostTable) -> list[list[str]]:
    """Return one row an event of the event model, for ``EVENT_COLUMNS``, and one for a bit of local memory."""
    prices = {
        "accumulate": table.accumulate_pj,
        "neuron": table.neuron_pj,
        "whole": table.whole_pj,
    }
    rows = []
    for event, parts in table.events.sums().items():
        part, _, key = event.partition(" ")
        rows.append([event, f"{prices[part](key):g}", " + ".join(parts)])
    return [*rows, ["(one local bit)", f"{table.local_bit_pj:g}", f"{table.memory.local} / 32"]]
