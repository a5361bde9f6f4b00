"""``snnq cost``: look at cost tables, and check one's own."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from snnq import console
from snnq.cli.building import GroupedCommand, typed
from snnq.commands.looking import measure as run_measure
from snnq.commands.words import Json, Words

if TYPE_CHECKING:
    from snnq.assessing.measure import Measurement

app = typer.Typer(no_args_is_help=True, help="Look at cost tables, and check your own.")


@app.command("list")
def list_(json: Json = False) -> None:
    """List the cost tables that come with snnq."""
    from snnq.cost import views
    from snnq.cost.table import DEFAULT_TABLE, TABLES, list_tables, read_table

    tables = [read_table(name) for name in list_tables()]
    if json:
        shown = [table.model_dump(mode="json") for table in tables]
        console.emit_json({"tables": shown, "default": DEFAULT_TABLE, "folder": str(TABLES)})
    else:
        console.table("Cost tables", *views.list_table(tables))
        console.note(f"They lie in {TABLES}; for one of your own: snnq cost show {DEFAULT_TABLE} --toml > mine.toml")
    console.next_step(f"snnq cost show {DEFAULT_TABLE}")


@app.command()
def show(
    table: Annotated[str, typer.Argument(metavar="TABLE", help="A table's name, or the path of your own.")],
    plan: Annotated[Path | None, typer.Option(help="Split this plan's energy by group under the table.")] = None,
    toml: Annotated[bool, typer.Option("--toml", help="Print the file itself, to edit and pass by its path.")] = False,
    json: Json = False,
) -> None:
    """Show a table's constants with their units and sources and, for a plan, the energy of each group."""
    from snnq.base.files import read_text
    from snnq.cost import views
    from snnq.cost.table import TABLES, read_table
    from snnq.plan import Plan
    from snnq.plan import views as plan_views

    found = read_table(table)
    if toml:
        console.document(read_text(found.path or TABLES / f"{found.name}.toml").rstrip("\n"))
        return
    costed = Plan.read(plan, found) if plan else None
    if json:
        costs = costed.model_dump(mode="json", include={"totals", "groups"}) if costed else {}
        console.emit_json({"table": found.model_dump(mode="json"), **costs})
    else:
        console.table(found.title, *views.constant_table(found))
        console.table("What one multiplication costs", *views.operation_table(found))
        console.table("What an event costs, in the event model", *views.event_table(found))
        if costed:
            for title, columns, rows in plan_views.group_tables(costed):
                console.table(title, columns, rows)
        console.note(found.notes)
        console.note(views.machine(found))
    console.next_step(f"snnq plan show PLAN --cost-table {shlex.quote(table)}")


@app.command()
def check(file: Annotated[Path, typer.Argument(metavar="FILE", help="Your own cost table, a .toml file.")]) -> None:
    """Check that a cost table of your own can be used."""
    from snnq.cost import views
    from snnq.cost.table import read_table

    found = read_table(file)
    console.table("What one multiplication costs", *views.operation_table(found))
    console.table("What an event costs, in the event model", *views.event_table(found))
    console.note(f"{file} is in order.")
    console.next_step(f"snnq cost show {shlex.quote(str(file))}")


def _measured(found: Measurement, json: bool, words: Words) -> None:
    if json:
        console.emit_json(found.to_dict())
    else:
        _show_events(found)
    if found.kind == "packed":
        console.next_step(f"snnq report {shlex.quote(words['path'])} --measure {words['samples']}")
    else:
        console.next_step("snnq cost list")


app.command(cls=GroupedCommand)(typed(run_measure, _measured))


def _show_events(found: Measurement) -> None:
    from snnq.cost import event_views as views
    from snnq.network import products

    events = found.events
    what = views.label(events)
    console.table(f"Layers; nJ: {what}", *views.layer_table(events))
    console.table(f"Neurons; nJ: {what}", *views.neuron_table(events))
    if found.products:
        console.table(products.TITLE, products.COLUMNS, products.rows(found.products))
        console.table(f"Inside attention, measured; nJ: {what}", *views.attention_table(events, found.products))
    console.table(f"Parts; nJ: {what}", *views.part_table(events))
    console.table("Energy by both models", *views.model_table(found.paper_energy_pj, events))
    console.note(views.sentence(events))
    if found.kind == "plan":
        console.note("Measured on the plan's float checkpoint: finetuned under the plan, its firing rates will differ.")
    if found.simulated:
        console.note(f"The data ({events.data}) are events simulated from images, not recordings.")
