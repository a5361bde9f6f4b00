"""``snnq demo``: the whole way on the built-in data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from snnq.commands.words import Force


def demo(
    folder: Annotated[Path, typer.Argument(help="Folder for everything the demo writes.")] = Path("demo"),
    force: Force = False,
) -> None:
    """Compress the built-in digits model: search, finalize and report, in one folder."""
    from snnq import console
    from snnq.cli.report import show, write_page
    from snnq.finalizing.run import finalize
    from snnq.reporting.run import report
    from snnq.searching.run import search

    with console.progress_view() as progress:
        search("digits", out=folder / "plan.json", force=force, progress=progress)
        finalize(folder / "plan.json", out=folder / "packed", force=force, progress=progress)
    found = report(folder / "packed")
    page = write_page(found)
    show(found)
    console.note(f"Page: {page}")
    console.next_step("snnq search YOUR_CHECKPOINT --data SPEC")
