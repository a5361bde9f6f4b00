"""What makes another float checkpoint of one: decompose, graft and quantise-activations."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from typing import TYPE_CHECKING

from snnq import console
from snnq.cli.building import typed
from snnq.commands import editing as commands
from snnq.commands.words import Words

if TYPE_CHECKING:
    from snnq.checkpoints.decomposing import Decomposed
    from snnq.checkpoints.grafting import GraftedCheckpoint
    from snnq.training.activations import QuantisedActivations


def _show_decomposed(found: Decomposed, json: bool, words: Words) -> None:
    if json:
        console.emit_json(asdict(found))
    else:
        title = "Merged layers" if found.merged else "Decomposed layers"
        rows = [
            (
                one.name,
                "–".join(map(str, one.bonds)),
                f"{one.before:,}",
                f"{one.after:,}",
                "" if one.kept is None else f"{one.kept:.2%}",
            )
            for one in found.layers
        ]
        console.table(title, ("layer", "ranks", "weights before", "after", "energy kept"), rows)
        for why in dict.fromkeys(found.left.values()):
            names = [name for name, reason in found.left.items() if reason == why]
            console.note(f"Left as it is: {', '.join(names)}, which {why}.")
        console.note(
            f"{found.weights_before:,} weights became {found.weights_after:,}, {found.macs_before:,} "
            f"multiply-accumulates a step {found.macs_after:,}."
        )
    console.next_step(f"snnq search {shlex.quote(str(words['out']))} --data SPEC")


decompose = typed(commands.decompose, _show_decomposed)


def _show_graft(found: GraftedCheckpoint, json: bool, words: Words) -> None:
    if json:
        console.emit_json(asdict(found))
    else:
        rows = [(found.architecture, found.chunk, f"{found.attention_scale:g}", found.out)]
        console.table("Grafted", ("architecture", "chunk", "scale c", "checkpoint"), rows)
    console.next_step(f"snnq search {shlex.quote(str(words['out']))} --data SPEC")


graft = typed(commands.graft, _show_graft)


def _show_activations(found: QuantisedActivations, json: bool, words: Words) -> None:
    if json:
        console.emit_json(asdict(found))
    else:
        rows = [(one.name, one.bits, "yes" if one.signed else "no", f"{one.range:.4g}") for one in found.layers]
        console.table("Activations", ("layer", "bits", "signed", "range"), rows)
        console.note(
            f"Validation accuracy {found.validation:.2%}, {found.validation_before:.2%} before; nothing was finetuned."
        )
    console.next_step(f"snnq search {shlex.quote(found.out)}")


quantise_activations = typed(commands.quantise_activations, _show_activations)
