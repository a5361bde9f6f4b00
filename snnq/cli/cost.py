"""``snnq cost``: look at cost tables, and check one's own."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from snnq.cli.options import Json

app = typer.Typer(no_args_is_help=True, help="Look at cost tables, and check your own.")


@app.command("list")
def list_(json: Json = False) -> None:
    """List the cost tables that come with snnq."""
    from snnq import console
    from snnq.cost import views
    from snnq.cost.table import DEFAULT_TABLE, list_tables, read_table

    tables = [read_table(name) for name in list_tables()]
    if json:
        console.emit_json({"tables": [table.model_dump(mode="json") for table in tables], "default": DEFAULT_TABLE})
    else:
        console.table("Cost tables", views.TABLE_COLUMNS, [views.table_row(table) for table in tables])
    console.next_step(f"snnq cost show {DEFAULT_TABLE}")


@app.command()
def show(
    table: Annotated[str, typer.Argument(metavar="TABLE", help="A table's name, or the path of your own.")],
    plan: Annotated[Path | None, typer.Option(help="Split this plan's energy by group under the table.")] = None,
    json: Json = False,
) -> None:
    """Show a table's constants with their units and sources and, for a plan, the energy of each group."""
    from snnq import console
    from snnq.cost import views
    from snnq.cost.table import read_table
    from snnq.plan import Plan
    from snnq.plan import views as plan_views

    found = read_table(table)
    costed = Plan.read(plan, found) if plan else None
    if json:
        costs = costed.model_dump(mode="json", include={"totals", "groups"}) if costed else {}
        console.emit_json({"table": found.model_dump(mode="json"), **costs})
    else:
        console.table(found.title, views.CONSTANT_COLUMNS, views.constant_rows(found))
        console.table("What one multiplication costs", views.OPERATION_COLUMNS, views.operation_rows(found))
        if costed:
            console.table("What the plan costs", plan_views.GROUP_COLUMNS, plan_views.group_rows(costed))
        console.note(found.notes)
    console.next_step(f"snnq plan show PLAN --cost-table {shlex.quote(table)}")


@app.command()
def check(file: Annotated[Path, typer.Argument(metavar="FILE", help="Your own cost table, a .toml file.")]) -> None:
    """Check that a cost table of your own can be used."""
    from snnq import console
    from snnq.cost import views
    from snnq.cost.table import read_table

    rows = views.operation_rows(read_table(file))
    console.table("What one multiplication costs", views.OPERATION_COLUMNS, rows)
    console.note(f"{file} is in order.")
    console.next_step(f"snnq cost show {shlex.quote(str(file))}")
