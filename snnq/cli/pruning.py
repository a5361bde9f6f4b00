"""What is shown of prune, mask-silent and profile."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from snnq import console
from snnq.cli.building import typed
from snnq.commands import pruning as commands
from snnq.commands.words import Words

if TYPE_CHECKING:
    from snnq.assessing.silence import Profile
    from snnq.pruning.run import Pruned
    from snnq.pruning.silencing import Silenced
    from snnq.training.edited import Accuracies


def _show_pruned(found: Pruned, json: bool, words: Words) -> None:
    _known(words)
    if json:
        console.emit_json(asdict(found))
    else:
        rows = [
            (one.name, f"{one.weights:,}", f"{one.left:,}", f"{one.left / one.weights:.1%}") for one in found.layers
        ]
        console.table("Layers", ("layer", "weights", "left", "share"), rows)
        show_accuracies(found.before, found.after)
    console.note(f"{found.sparsity:.2%} of the layers' weights are gone.")
    if found.channels:
        channels = ", ".join(f"{name} {left}" for name, left in found.channels.items())
        console.note(f"Channels that are left: {channels}. Taking out the others moved no logit (float64).")
    _show_end(found.out)


def _show_silenced(found: Silenced, json: bool, words: Words) -> None:
    _known(words)
    if json:
        console.emit_json(asdict(found))
    else:
        shares = (found.silent_before, found.silent_silenced, found.silent_after)
        stages = ("the checkpoint", "silenced", "and finetuned" if found.best_epoch else "and its norms estimated anew")
        accuracies = (found.before.validation, found.validation_silenced, found.after.validation)
        rows = [
            (name, f"{silent:.2%}", f"{accuracy:.2%}")
            for name, silent, accuracy in zip(stages, shares, accuracies, strict=True)
        ]
        console.table("Silent neurons", ("model", "silent", "validation"), rows)
        show_accuracies(found.before, found.after)
    console.note(
        f"Silencing alone gives {found.changed:.2%} of the validation samples another class, and moves a logit by "
        f"{found.logits_moved:.3g} on average."
    )
    _show_end(found.out)


def _show_profile(found: Profile, json: bool, words: Words) -> None:
    from snnq.assessing.silence import COLUMNS

    if json:
        console.emit_json(found.to_dict())
        return
    count = len(COLUMNS) if words["silent"] else COLUMNS.index("silent")
    console.table(
        f"{found.samples} {found.split} samples of {found.steps} steps",
        COLUMNS[:count],
        [row[:count] for row in found.rows()],
    )
    if not words["silent"]:
        console.next_step(f"snnq profile {shlex.quote(str(words['path']))} --silent")


def _known(words: Words) -> None:
    if words["known"] and not words["force"]:
        console.note(f"{words['out']} is already the result of this very run; nothing was done.")


def show_accuracies(before: Accuracies, after: Accuracies) -> None:
    """Show what a checkpoint as given scores, and what was written."""
    rows = [
        (name, f"{one.validation:.2%}", f"{one.validation_loss:.4f}", f"{one.test:.2%}", f"{one.test_loss:.4f}")
        for name, one in (("as given", before), ("written", after))
    ]
    console.table("Accuracy", ("checkpoint", "validation", "loss", "test", "loss"), rows)


def _show_end(out: str) -> None:
    console.note(f"Wrote {out}.")
    console.next_step(f"snnq search {shlex.quote(out)}")


def _run_profile(silent: bool, **words: object) -> Profile:
    return commands.profile(**words)


_Silent = Annotated[
    bool, typer.Option("--silent", help="Show neurons that stay silent, or fire once, in all steps of a sample.")
]
prune = typed(commands.prune, _show_pruned)
mask_silent = typed(commands.mask_silent, _show_silenced)
profile = typed(commands.profile, _show_profile, run=_run_profile, more={"silent": (_Silent, False)})
