"""``snnq.mask_silent``: neurons that fire once in all steps of a sample are made silent, and the model finetuned."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Unpack

import torch
from torch import Tensor, nn

from snnq.assessing.silence import firing_of, together
from snnq.base.errors import UsageError
from snnq.base.progress import Progress, silent
from snnq.base.strict_json import Config, Json
from snnq.checkpoints.opening import load_model
from snnq.checkpoints.sizes import Given
from snnq.network.tracing import neurons_of, seeing
from snnq.pruning.masks import HeldMasks
from snnq.pruning.settings import SilenceSettings
from snnq.structure.edits import apply_edits
from snnq.structure.masked import masked_edit, masked_layers
from snnq.structure.silenced import SILENCED
from snnq.training.devices import Compute, as_compute
from snnq.training.edit_run import EditRun, RunPlace, edit_run, open_edit
from snnq.training.edited import Accuracies
from snnq.training.evaluation import predict
from snnq.training.finetuning import Finetuning
from snnq.training.job import Job
from snnq.training.run_folder import RunFolder
from snnq.training.threads import keeps_threads

# Validation samples on which silent neurons are counted.
COUNTED = 64


@dataclass(frozen=True)
class Silenced:
    """A written checkpoint, and by how much its function is another than that of the checkpoint as given.

    ``neurons``: the modules that are silenced. On validation, before any finetuning: ``changed`` is the share of
    samples whose class is another, ``logits_moved`` the mean change of a logit, ``validation_silenced`` the accuracy.
    Shares of silent neurons: of the checkpoint, ``silenced`` without finetuning, and of what was written.
    """

    out: str
    most: int
    neurons: tuple[str, ...]
    changed: float
    logits_moved: float
    validation_silenced: float
    silent_before: float
    silent_silenced: float
    silent_after: float
    before: Accuracies
    after: Accuracies
    best_epoch: int
    batchnorm_reestimated: bool

    @classmethod
    def from_dict(cls, plain: Json) -> Silenced:
        """Return what ``asdict`` was given by."""
        parts: Json = {name: Accuracies(**plain[name]) for name in ("before", "after")}
        parts["neurons"] = tuple(plain["neurons"])
        return cls(**(plain | parts))


@keeps_threads
def mask_silent(
    checkpoint: str | Path,
    *,
    data: str | None = None,
    out: str | Path,
    settings: SilenceSettings,
    run: str | Path | None = None,
    compute: Compute | str = "auto",
    force: bool = False,
    progress: Progress = silent,
    words: Config | None = None,
    **given: Unpack[Given],
) -> Silenced:
    """Silence neurons that fire seldom, finetune for a few epochs, and write the model as a checkpoint.

    All neurons but the first ones, which encode the frames, get the filter (LoAS). It is part of the model from then
    on, which runs packed in floating point. A run that was cut off goes on; the test split is used once, at the end.

    Raises OutputExistsError if ``out`` is there and is not from this very run (unless ``force``), UsageError for a
    model whose neurons run step by step, RunChangedError, InterruptedRun after Ctrl-C, and what opening raises.
    """
    compute, one, place = as_compute(compute), settings.finetune, RunPlace(Path(out), run, force, words)
    opened = open_edit(checkpoint, data, compute, one.batch_size, progress, given)
    job, fabric = opened
    model, edit = _silenced(job, settings.most)
    at_work = edit_run("mask_silent", opened, one, asdict(settings), place, compute, progress)
    if (known := at_work.known()) is not None:
        return Silenced.from_dict(known)
    folder, logits = at_work.open()
    facts = _compared(job, fabric.to_device(model), logits, one.batch_size, progress)
    epoch = _trained(folder, model, at_work) if one.epochs else 0
    new = at_work.refreshed(model)
    facts["silent_after"] = _silent_share(job, model, progress)
    masked = [layer.name for layer in job.layers if layer.name in masked_layers(model)]
    apply_edits(model, [masked_edit(model, masked)] if masked else [])
    before, after = at_work.scores(model)
    results = {"before": before, "after": after, "best_epoch": epoch, "batchnorm_reestimated": new}
    made = Silenced(out=str(out), most=settings.most, neurons=tuple(edit["neurons"]), **facts, **results)
    at_work.save(model, asdict(made))
    return made


def _silenced(job: Job, most: int) -> tuple[nn.Module, Json]:
    """Return the model with the filter behind all neurons but the first, and the edit."""
    order: list[str] = []
    model = load_model(job.checkpoint)
    with torch.no_grad(), seeing(neurons_of(model), lambda name, *_: order.append(name)):
        model(job.data.validation.__getitems__([0])[0])
    names = list(dict.fromkeys(order))[1:]
    if not names:
        raise UsageError(f"{job.checkpoint.path}: it has no neurons behind its first ones to silence")
    edit: Json = {"edit": SILENCED, "most": most, "neurons": names}
    return apply_edits(model, [edit]), edit


def _compared(job: Job, model: nn.Module, before: Tensor, size: int, progress: Progress) -> dict[str, float]:
    """Return by how much silencing alone changes the function, and how many neurons it makes silent."""
    logits, labels = predict(model, job.data.validation, size, progress, "silenced model on validation")
    return {
        "changed": float((logits.argmax(1) != before.argmax(1)).double().mean()),
        "logits_moved": float((logits - before).abs().mean()),
        "validation_silenced": float((logits.argmax(1) == labels).double().mean()),
        "silent_before": _silent_share(job, job.model, progress),
        "silent_silenced": _silent_share(job, model, progress),
    }


def _silent_share(job: Job, model: nn.Module, progress: Progress) -> float:
    return together(firing_of(model, job.data, "validation", COUNTED, progress)[1]).silent


def _trained(folder: RunFolder, model: nn.Module, at_work: EditRun) -> int:
    """Finetune a model, in place, to its best epoch, which is returned; masked weights stay zero."""
    torch.manual_seed(at_work.finetune.seed)
    masked = {f"{name}.weight" for name in masked_layers(model)}
    held = HeldMasks(model, {name: part.detach() != 0 for name, part in model.named_parameters() if name in masked})
    moving = at_work.trained(folder, "finetuning", partial(Finetuning, model=model.train(), beside={"masks": held}))
    model.load_state_dict(moving.best.state)
    return moving.best.epoch
