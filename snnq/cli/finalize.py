"""``snnq finalize``: finetune under a plan, pack and verify. And what it shares with ``snnq ptq``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from snnq.cli.building import typed
from snnq.commands.compressing import compress as run_compress
from snnq.commands.compressing import finalize as run_finalize

if TYPE_CHECKING:
    from snnq.packing.finish import Finalized


def _run(plan_option: Path | None = None, **words: Any) -> Finalized:
    from snnq.base.errors import UsageError

    plan = words.pop("plan")
    if plan_option is not None and plan is not None:
        raise UsageError(f"two plans are named: {plan} and --plan {plan_option}", "give one of them")
    return run_finalize(plan or plan_option or Path("plan.json"), **words)


def show_packed(done: Finalized, json: bool, words: dict[str, Any], made: str = "Packed and verified") -> None:
    """Print what became of a model: accuracies, bits, and the command that reports."""
    from snnq import console
    from snnq.packed.sizes import bits_words, folder_bits
    from snnq.reporting.sentences import tested_sentence

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
        console.table("Accuracy", ("model", *samples), rows)
        console.note(f"{made}: {done.folder}")
        console.note(bits_words(*bits.values()))
        console.note(tested_sentence(done.results))
    folder = str(words["out"])
    console.next_step("snnq report" if folder == "packed" else f"snnq report {shlex.quote(folder)}")


finalize = typed(
    run_finalize,
    show_packed,
    run=_run,
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
compress = typed(run_compress, show_packed)
