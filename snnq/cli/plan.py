"""``snnq plan``: look at plans, make uniform ones, solve for other budgets, compare two."""

from __future__ import annotations

import shlex
from inspect import Parameter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from snnq import console
from snnq.cli.building import GroupedCommand, typed
from snnq.cli.showing import FormatOption, OutputFormat, Page, show_document, show_plan, show_strip
from snnq.commands.planning import uniform_plan
from snnq.commands.words import Force, Json, Words

if TYPE_CHECKING:
    from snnq.plan import Plan

app = typer.Typer(no_args_is_help=True, help="Look at plans, make simple ones, solve for other budgets.")

_SearchsTable = Annotated[str | None, typer.Option(help="A cost table's name or path; the search's by default.")]
PlanPath = Annotated[Path, typer.Argument(metavar="PLAN", help="A plan.json.")]


@app.command()
def show(
    plan: PlanPath,
    json: Json = False,
    cost_table: Annotated[
        str | None, typer.Option(help="Cost the plan with this table (a name or a path) instead of its own.")
    ] = None,
) -> None:
    """Show a plan's layers, groups, totals and baselines; costs are computed from the schemes in the file."""
    from snnq.cost.table import read_table
    from snnq.plan import Plan, views

    found = Plan.read(plan, read_table(cost_table) if cost_table else None)
    if json:
        console.emit_json(found.to_dict())
    else:
        show_strip(found.schemes().items())
        for title, columns, rows in (*views.layer_tables(found), *views.group_tables(found)):
            console.table(title, columns, rows)
        console.table("Totals", *views.total_table(found))
        for title, columns, rows in views.baseline_tables(found):
            console.table(title, columns, rows)
        for line in views.remarks(found):
            console.note(line)
        console.note(f"Energy: the paper's model, per time step and sample, cost table {found.cost_table.name}.")
    console.next_step(views.next_command(found, plan))


def _write_uniform(out: Path, force: bool, **words: object) -> Plan:
    plan = uniform_plan(**words)
    plan.write(out, force=force)
    return plan


def _show_uniform(plan: Plan, json: bool, words: Words) -> None:
    from snnq.plan import views

    if json:
        console.emit_json(plan.to_dict())
    else:
        console.table("Totals", *views.total_table(plan))
    console.note(f'Wrote {words["out"]}. To give a layer another format, edit its "scheme" there.')
    console.next_step(f"snnq plan show {shlex.quote(str(words['out']))}")


app.command("uniform", cls=GroupedCommand)(
    typed(
        uniform_plan,
        _show_uniform,
        run=_write_uniform,
        more={
            "out": (Annotated[Path, typer.Option(help="Where to write the plan.")], Parameter.empty),
            "force": (Force, False),
        },
    )
)


@app.command()
def solve(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A finished search's run folder, or the plan beside it.")],
    budget: Annotated[
        list[str] | None, typer.Option(help="Limits: avg-bits=2.2, storage=6.6%, storage-kib=40, energy=10%, …")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where to write the plan.")] = None,
    front: Annotated[Path | None, typer.Option(help="Write the whole accuracy-cost front here, as CSV.")] = None,
    cost_table: _SearchsTable = None,
    json: Json = False,
    force: Force = False,
) -> None:
    """Find the best plan for another budget from a finished search, in seconds, without training."""
    from snnq.base.errors import UsageError
    from snnq.searching.budget import parse_budget
    from snnq.searching.scores import front as front_of
    from snnq.searching.scores import predicted_loss, write_front
    from snnq.searching.scores import solve as solve_run

    if not budget and front is None:
        raise UsageError(
            "give a budget, or --front FILE for all of them", f"snnq plan solve {run} --budget avg-bits=2.2"
        )
    if front is not None:
        write_front(front, front_of(run, cost_table=cost_table), force=force)
        console.note(f"Wrote the front to {front}.")
    if not budget:
        return
    plan = solve_run(run, parse_budget(budget), cost_table=cost_table, out=out)
    if out is not None:
        plan.write(out, force=force)
    if json:
        console.emit_json(plan.to_dict())
    else:
        show_plan(plan)
        above = predicted_loss(run, plan)
        if above is not None:
            console.note(
                f"Expected: a loss {above:.4f} nats above that of every layer's best scheme, by the search's scores, "
                "before finetuning."
            )
    if out is not None:
        console.next_step(f"snnq finalize --plan {shlex.quote(str(out))}")


@app.command()
def diff(
    a: Annotated[Path, typer.Argument(metavar="A", help="A plan.json or packed folder.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Another one.")],
    format: FormatOption = OutputFormat.table,
    json: Json = False,
    cost_table: Annotated[
        str | None, typer.Option(help="Cost both with this table (a name or a path) instead of their own.")
    ] = None,
    out: Page = None,
) -> None:
    """Show the layers whose scheme differs between two plans and what that changes, and their totals side by side."""
    from snnq.reporting.compare import compare
    from snnq.reporting.comparing import difference_document

    found = difference_document(compare([a, b], cost_table=cost_table))
    show_document(found, OutputFormat.json if json else format, out)
    console.next_step(f"snnq report {shlex.join([str(a), str(b)])}")


@app.command()
def schema() -> None:
    """Print the JSON Schema of plan.json."""
    from snnq.plan.plan import plan_schema

    console.emit_json(plan_schema())
