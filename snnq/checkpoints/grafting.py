"""``snnq.graft``: another attention on the same weights."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

from snnq.base.errors import OutputExistsError, UsageError, nearest
from snnq.checkpoints.opening import open_checkpoint, save_checkpoint
from snnq.checkpoints.sizes import GivenToGraft
from snnq.models.registry import architecture
from snnq.structure.edits import STRUCTURE, apply_edits, edits_of, renamed

ATTENTIONS = ("statten",)


@dataclass(frozen=True)
class GraftedCheckpoint:
    """A written checkpoint: its architecture, the steps a chunk has, and the attention's scale c."""

    out: str
    architecture: str
    chunk: int
    attention_scale: float


def graft(
    path: str | Path,
    *,
    attention: str = "statten",
    chunk: int,
    scale: float | None = None,
    out: str | Path,
    force: bool = False,
    **given: Unpack[GivenToGraft],
) -> GraftedCheckpoint:
    """Write a float checkpoint of the same weights whose attention mixes ``chunk`` consecutive steps (STAtten).

    A Spike-Driven Transformer becomes the ``statten`` architecture of its kind; a Spikformer keeps its name and gets
    ``chunk``. No parameter is added. ``scale`` is c of Q (Kᵀ V · c), a power of two by default: upstream's for STAtten,
    a Spikformer's own divided by the chunk. ``given`` are sizes that the file cannot tell. The grafted model wants a
    short finetuning.

    Raises UsageError for another attention, architecture or chunk, OutputExistsError, and what opening raises.
    """
    if attention not in ATTENTIONS:
        raise UsageError(f"--attention {attention}: there is {', '.join(ATTENTIONS)}{nearest(attention, ATTENTIONS)}")
    if os.path.lexists(out) and not force:
        raise OutputExistsError(f"{out} is already there", "add --force to overwrite it, or name another --out")
    opened = open_checkpoint(path, **given)
    grafted = architecture(opened.architecture).graft
    if grafted is None:
        raise UsageError(f"{opened.path} is a {opened.architecture}: grafting takes a Spikformer or an SDT")
    sizes, edits, state = dict(opened.config), edits_of(opened.config), opened.state_dict
    sizes.pop(STRUCTURE, None)
    found = grafted(sizes, chunk, scale)
    edits = edits if found.renamed is None else renamed(edits, *found.renamed)
    model = apply_edits(architecture(found.architecture).build(found.config), edits)
    if found.renamed is not None:
        state = {key.replace(*found.renamed): tensor for key, tensor in state.items()}
    model.load_state_dict(state, strict=True)
    facts = {"data": opened.data} if opened.data else {}
    save_checkpoint(out, model, architecture=found.architecture, facts=facts, overwrite=force)
    made = found.config
    return GraftedCheckpoint(str(out), found.architecture, made["chunk"], made["attention_scale"])
