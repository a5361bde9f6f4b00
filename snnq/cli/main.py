"""The ``snnq`` command: its sub-commands, and one place where errors become messages and exit codes."""

from __future__ import annotations

import os
import re
import shlex
import sys
import time
from typing import Annotated

import typer

from snnq import __version__, console
from snnq.cli import bench, cost, data, plan
from snnq.cli.demo import demo
from snnq.cli.doctor import doctor
from snnq.cli.eval import evaluate
from snnq.cli.export import export
from snnq.cli.finalize import finalize
from snnq.cli.graft import graft
from snnq.cli.inspect import inspect
from snnq.cli.ptq import ptq
from snnq.cli.report import report
from snnq.cli.search import search
from snnq.cli.verify import verify
from snnq.errors import InterruptedRun, SnnqError

# How long another process than the first waits before it reports an error of its own.
FAREWELL_SECONDS = 6.0

app = typer.Typer(
    name="snnq",
    help="Compress pretrained spiking transformers: a number format of its own for every layer.\n\n"
    "Start with: snnq search, then snnq finalize --plan plan.json, then snnq report.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(asked: bool) -> None:
    if asked:
        console.out(f"snnq {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it.")] = False,
) -> None:
    """Take the options that come before a command."""


for _command in (inspect, graft, search, finalize, ptq, report, verify, export, demo, doctor):
    app.command()(_command)
app.command("eval")(evaluate)
for _name, _group in (("plan", plan.app), ("data", data.app), ("cost", cost.app), ("bench", bench.app)):
    app.add_typer(_group, name=_name)


def spread_budgets(arguments: list[str]) -> list[str]:
    """Return the words with ``--budget A B`` written as ``--budget A --budget B``, so that several can be typed."""
    spread: list[str] = []
    for word in arguments:
        after = spread[-2:-1] == ["--budget"]
        if after and not word.startswith("-") and re.fullmatch(r"[a-z-]+=[^/]*", word):
            spread.append("--budget")
        spread.append(word)
    return spread


def run(arguments: list[str]) -> int:
    """Run one command line; return its exit code. Every error becomes one message, unless SNNQ_DEBUG=1."""
    try:
        with console.remarks_shown():
            app(spread_budgets(arguments), prog_name="snnq")
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else 1
    except SnnqError as problem:
        if os.environ.get("SNNQ_DEBUG") == "1":
            raise
        if isinstance(problem, InterruptedRun) and not console.speaks():
            return 0  # all processes have stopped; the first one says so
        _report(problem)
        if isinstance(problem, InterruptedRun):
            # With --force it would begin anew.
            console.next_step(shlex.join(["snnq", *(word for word in arguments if word != "--force")]))
        return problem.exit_code
    except Exception as problem:
        if os.environ.get("SNNQ_DEBUG") == "1":
            raise
        known = SnnqError(f"{type(problem).__name__}: {problem}", "SNNQ_DEBUG=1 shows where; please report it")
        _report(known)
        return known.exit_code
    return 0


def _report(problem: SnnqError) -> None:
    """Print the error. Where the first process fails too, it says so and ends the others before they do."""
    if not console.speaks():
        time.sleep(FAREWELL_SECONDS)
    console.error(problem)


def main() -> None:
    """Run the command line of this process."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":  # Fabric starts the other processes by it where this one was started so
    main()
