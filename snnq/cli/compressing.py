"""Searching, finetuning and packing: what is shown of search, finalize, ptq and compress, and the whole way, demo."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from snnq import console
from snnq.cli.building import typed
from snnq.cli.showing import show_plan
from snnq.commands import compressing as commands
from snnq.commands.words import Force, Words

if TYPE_CHECKING:
    from snnq.packing.finish import Finalized
    from snnq.plan import Plan


def _show_search(plan: Plan, json: bool, words: Words) -> None:
    from snnq.models.registry import architecture
    from snnq.searching.run import better_plan

    out: Path = words["out"]
    if words["known"] and not words["force"]:
        console.note(f"{out} is already the result of this very search; nothing was done.")
    _show_plan(plan, json)
    console.note(f"Packed, it will run {architecture(plan.model.architecture).wiring(plan.model.config).where}.")
    own = f" --model {shlex.quote(words['model'])}" if words["model"] else ""
    best = better_plan(plan, out)
    if best != out:
        console.note(
            f"Wrote the {best.name.removeprefix(f'{out.stem}.').removesuffix(out.suffix)} plan, which wins, to {best}."
        )
    console.next_step(f"snnq finalize --plan {shlex.quote(str(best))}{own}")


def _show_plan(plan: Plan, json: bool) -> None:
    from snnq.plan import views
    from snnq.plan.verdict import verdict

    if json:
        console.emit_json(plan.to_dict())
        return
    show_plan(plan)
    for title, columns, rows in views.baseline_tables(plan):
        console.table(title, columns, rows)
    if said := verdict(plan):
        console.say(said)


search = typed(commands.search, _show_search)


def _run_finalize(plan_option: Path | None = None, **words: object) -> Finalized:
    from snnq.base.errors import UsageError

    plan = words.pop("plan")
    if plan_option is not None and plan is not None:
        raise UsageError(f"two plans are named: {plan} and --plan {plan_option}", "give one of them")
    return commands.finalize(plan or plan_option or Path("plan.json"), **words)


def show_packed(done: Finalized, json: bool, words: Words, made: str = "Packed and verified") -> None:
    """Print what became of a model: accuracies, bits, and the command that reports."""
    from snnq.packed.sizes import bits_words, folder_bits
    from snnq.reporting.differences import tested_sentence

    bits = dict(zip(("avg_bits", "file_avg_bits"), folder_bits(done.folder), strict=True))
    accuracy = done.results.accuracy
    if words["known"] and not words["force"]:
        console.note(f"{words['out']} is already the result of this very run; nothing was done.")
    if json:
        how = "ptq" if done.results.ptq else "finalize"
        console.emit_json(
            {"folder": str(done.folder), "accuracy": accuracy.summary(), **bits, how: done.results.made()}
        )
    else:
        rows = [
            (name, f"{one.validation:.2%}", f"{one.test:.2%}")
            for name, one in (("float", accuracy.float_model), ("plan", accuracy.plan))
        ]
        samples = [f"validation ({accuracy.validation_samples} samples)", f"test ({accuracy.test_samples} samples)"]
        if done.results.ptq:
            blocks = [(one.block, f"{one.loss_nearest:.4f}", f"{one.loss:.4f}") for one in done.results.ptq.blocks]
            console.table("Blocks", ("block", "loss, rounded to nearest", "now"), blocks)
        console.table(accuracy.what, ("model", *samples), rows)
        console.note(f"{made}: {done.folder}")
        console.note(bits_words(*bits.values()))
        console.note(tested_sentence(done.results))
    folder = str(words["out"])
    console.next_step("snnq report" if folder == "packed" else f"snnq report {shlex.quote(folder)}")


finalize = typed(
    commands.finalize,
    show_packed,
    run=_run_finalize,
    more={
        "plan": (
            Annotated[Path | None, typer.Argument(metavar="[PLAN]", help="The plan, likewise.", show_default=False)],
            None,
        ),
        "plan_option": (
            Annotated[Path | None, typer.Option("--plan", help="The plan; plan.json by default.", show_default=False)],
            None,
        ),
    },
)
compress = typed(commands.compress, show_packed)


def _show_ptq(done: Finalized, json: bool, words: Words) -> None:
    seconds = time.monotonic() - words["began"]
    show_packed(done, json, words, f"Packed and verified in {seconds:.0f} s")


ptq = typed(commands.ptq, _show_ptq)


def demo(
    folder: Annotated[Path, typer.Argument(help="Folder for everything the demo writes.")] = Path("demo"),
    force: Force = False,
) -> None:
    """Compress the built-in digits model: search, finalize and report, in one folder."""
    from snnq.cli.report import show_with_page
    from snnq.finalizing.run import finalize
    from snnq.reporting.run import report
    from snnq.searching.run import search

    with console.progress_view() as progress:
        search("digits", out=folder / "plan.json", force=force, progress=progress)
        finalize(folder / "plan.json", out=folder / "packed", force=force, progress=progress)
    show_with_page(report(folder / "packed"))
    console.next_step("snnq search YOUR_CHECKPOINT --data SPEC")
