"""The commands that make plans without training."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from snnq.commands.calling import command, texts
from snnq.commands.words import Budget, ModelSizes, Typed

if TYPE_CHECKING:
    from snnq.plan import Plan


@command
def uniform_plan(
    scheme: Annotated[str, typer.Option(help="One scheme for every layer, such as uniform-2.")],
    *,
    checkpoint: Annotated[
        str | Path | None,
        typer.Argument(metavar="[CKPT]", help="A float checkpoint, or 'digits'.", show_default=False),
        Typed(str | None),
    ] = None,
    architecture: Annotated[
        str | None,
        typer.Option(help="An architecture at its published sizes; which one a checkpoint is, where it does not say."),
    ] = None,
    cost_table: Annotated[str | None, typer.Option(help="A cost table's name or path.")] = None,
    sizes: ModelSizes,
) -> "Plan":
    """Make the plan that gives every layer the same scheme.

    The model is that of a float checkpoint, or an architecture at its published sizes.
    """
    from snnq.cost.table import read_table
    from snnq.searching.uniform import uniform_plan as make

    table = read_table(cost_table) if cost_table else None
    return make(scheme, checkpoint=checkpoint, table=table, **sizes.given() | {"architecture": architecture})


@command
def solve(
    run: str | Path, budget: Budget, *, out: str | Path | None = None, cost_table: str | Path | None = None
) -> "Plan":
    """Find the best plan for another budget from a finished search, without training (``snnq plan solve``).

    A plan that is written by ``plan.write(out)`` is told the way to its run by ``out``.
    """
    from snnq.searching.budget import parse_budget
    from snnq.searching.scores import solve as run_solve

    return run_solve(run, parse_budget(texts(budget, dashes=True)), cost_table=cost_table, out=out)
