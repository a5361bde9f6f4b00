"""``snnq.prune``: a float checkpoint with most of its weights, or channels, gone."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Unpack

import torch
from torch import nn

from snnq.base.errors import UsageError, VerificationError
from snnq.base.progress import Progress, silent
from snnq.base.strict_json import Config, Json
from snnq.checkpoints.opening import load_model
from snnq.checkpoints.sizes import Given
from snnq.network.layers import frames_shape
from snnq.network.readers import Chain, chains
from snnq.pruning.dead import narrowed_edit, remove_dead
from snnq.pruning.masks import HeldMasks, Masks, channel_masks, pattern_masks, share_after, weight_masks
from snnq.pruning.settings import CHANNELS, PruneSettings
from snnq.structure.edits import apply_edits
from snnq.structure.masked import masked_edit, masked_layers
from snnq.training.devices import Compute, as_compute
from snnq.training.edit_run import EditRun, RunPlace, edit_run, open_edit
from snnq.training.edited import Accuracies, EditedLayer, layers_left
from snnq.training.finetuning import Finetuning
from snnq.training.job import Job
from snnq.training.run_folder import RunFolder
from snnq.training.threads import keeps_threads

# Validation samples on which logits with and without dead channels are compared, and what is rounding in float64.
COMPARED, NOTHING = 8, 1e-9


@dataclass(frozen=True)
class Pruned:
    """A written checkpoint, and what it came to.

    ``channels``: how many are left of each layer that lost some for good. ``logits_moved``: the largest change of a
    logit by taking them out, which is rounding alone; None where none were. ``best_epoch`` is 0 without finetuning.
    """

    out: str
    sparsity: float
    layers: tuple[EditedLayer, ...]
    channels: dict[str, int]
    before: Accuracies
    after: Accuracies
    best_epoch: int
    batchnorm_reestimated: bool
    logits_moved: float | None

    @classmethod
    def from_dict(cls, plain: Json) -> Pruned:
        """Return what ``asdict`` was given by."""
        parts: Json = {name: Accuracies(**plain[name]) for name in ("before", "after")}
        parts["layers"] = tuple(EditedLayer(**one) for one in plain["layers"])
        return cls(**(plain | parts))


@keeps_threads
def prune(
    checkpoint: str | Path,
    *,
    data: str | None = None,
    out: str | Path,
    settings: PruneSettings,
    run: str | Path | None = None,
    compute: Compute | str = "auto",
    force: bool = False,
    progress: Progress = silent,
    words: Config | None = None,
    **given: Unpack[Given],
) -> Pruned:
    """Prune a float checkpoint by magnitude, finetune what is left, and write it as a checkpoint.

    The first layer, which sees event counts, and the head stay whole. State and metrics lie in ``run`` (default:
    ``out`` with ``.run`` added); a run that was cut off goes on. The test split is used once, at the end.

    Raises OutputExistsError if ``out`` is there and is not from this very run (unless ``force``), UsageError where
    there is nothing to prune, RunChangedError, InterruptedRun after Ctrl-C, and what opening raises.
    """
    compute, one, place = as_compute(compute), settings.finetune, RunPlace(Path(out), run, force, words)
    opened = open_edit(checkpoint, data, compute, one.batch_size, progress, given)
    edit = edit_run("prune", opened, one, asdict(settings), place, compute, progress)
    if (known := edit.known()) is not None:
        return Pruned.from_dict(known)
    task = _task(edit.job, settings)
    folder, _ = edit.open()
    model, epoch = _trained(folder, task, edit)
    made = _finished(task, model, epoch, edit)
    edit.save(model, asdict(made))
    return made


@dataclass(frozen=True)
class _Task:
    """What is pruned: ``names`` of layers, or the free channels of ``chains``; ``kept`` are masks of earlier edits."""

    job: Job
    settings: PruneSettings
    names: tuple[str, ...]
    chains: tuple[Chain, ...]
    kept: Masks

    def masks(self, model: nn.Module, round: int) -> Masks:
        """Return the masks of round 1 … R by the weights as they stand; of no rounds, those of round 0."""
        one, rounds = self.settings, self.settings.rounds
        if one.pattern is not None:
            (left, group), weights = one.pattern, self._weights(model)
            found = pattern_masks(weights, left if round == rounds else group - (group - left) * round // rounds, group)
        else:
            share = share_after(one.sparsity or 0.0, round, rounds)
            channels = one.structure == CHANNELS
            masks = channel_masks(model, self.chains, share, one.scope) if channels else {}
            found = masks if channels else weight_masks(self._weights(model), share, one.scope)
        for name, mask in self.kept.items():
            own = mask.to(model.get_parameter(name).device)
            found[name] = found[name] & own if name in found else own
        return found

    def _weights(self, model: nn.Module) -> dict[str, torch.Tensor]:
        return {f"{name}.weight": model.get_submodule(name).get_parameter("weight") for name in self.names}


def _task(job: Job, settings: PruneSettings) -> _Task:
    """Return what is to be pruned; raises UsageError where there is nothing."""
    config, one = job.checkpoint.config, settings
    names = tuple(layer.name for layer in job.layers if layer.input != "counts" and layer.group != "head")
    free: tuple[Chain, ...] = ()
    if one.structure == CHANNELS or one.remove_dead:
        found = chains(job.model, job.wiring.norms, frames_shape(config))
        free = tuple(chain for chain in found if chain.layer in _names(job))
        if not free:
            raise UsageError(
                f"{job.checkpoint.path}: no channels are free to go: other places than one layer see all of them",
                "prune single weights: --structure unstructured",
            )
    if not names:
        raise UsageError(f"{job.checkpoint.path}: it has no layer between the first one and the head to prune")
    weights = {name: job.model.get_submodule(name).get_parameter("weight") for name in masked_layers(job.model)}
    return _Task(job, settings, names, free, {f"{name}.weight": one.detach() != 0 for name, one in weights.items()})


def _names(job: Job) -> set[str]:
    return {layer.name for layer in job.layers}


def _trained(folder: RunFolder, task: _Task, edit: EditRun) -> tuple[nn.Module, int]:
    """Return the pruned and finetuned model of its best epoch, on the device, and that epoch; 0 in one shot."""
    job, settings = task.job, task.settings
    torch.manual_seed(settings.finetune.seed)
    model = load_model(job.checkpoint)
    held = HeldMasks(model, {})
    held.set(task.masks(model, min(1, settings.rounds)))
    if settings.rounds == 0:
        return edit.fabric.to_device(model), 0

    def between(round: int) -> None:
        masks = task.masks(model, round + 1)
        if settings.rewind:
            model.load_state_dict(job.checkpoint.state_dict)
        held.set(masks)

    moving = edit.trained(
        folder,
        "pruning",
        partial(Finetuning, model=model.train(), between=between, beside={"masks": held}),
        settings.rounds,
    )
    model.load_state_dict(moving.best.state)
    return model, moving.best.epoch


def _finished(task: _Task, model: nn.Module, epoch: int, edit: EditRun) -> Pruned:
    """Estimate the norms anew if that is no worse, take out what is dead, say what is masked, and score the model."""
    job, new = task.job, edit.refreshed(model)
    model.cpu().eval()
    entries, moved = _narrow(task, model) if task.chains else ([], None)
    apply_edits(model, [narrowed_edit(entries)] if entries else [])
    pruned = set() if task.settings.structure == CHANNELS else set(task.names)
    names = [layer.name for layer in job.layers if layer.name in pruned | masked_layers(model)]
    apply_edits(model, [masked_edit(model, names)] if names else [])
    before, after = edit.scores(model)
    layers = layers_left(job, model)
    sparsity = 1 - sum(layer.left for layer in layers) / sum(layer.weights for layer in layers)
    channels = {str(entry["layer"]): int(entry["left"]) for entry in entries}
    return Pruned(str(edit.place.out), sparsity, layers, channels, before, after, epoch, new, moved)


@torch.no_grad()
def _narrow(task: _Task, model: nn.Module) -> tuple[list[Json], float | None]:
    """Take dead channels out of a model, in place; return the edit's entries and by how much a logit moved.

    Both are compared in float64, where no spike hangs on the order of a sum. Raises VerificationError where more than
    rounding is left of it.
    """
    job, kinds = task.job, {layer.name: layer.input for layer in task.job.layers}
    samples = job.data.validation
    frames, _ = samples.__getitems__(list(range(min(COMPARED, len(samples)))))
    due = deepcopy(model).double()(frames.double())
    entries = remove_dead(model, task.chains, kinds, job.data.frames_shape[0])
    if not entries:
        return [], None
    moved = float((deepcopy(model).double()(frames.double()) - due).abs().max())
    if not moved <= NOTHING * max(1.0, float(due.abs().max())):
        raise VerificationError(f"taking dead channels out moved a logit by {moved:.2g}", "please report this")
    return entries, moved
