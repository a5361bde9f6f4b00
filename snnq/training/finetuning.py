"""Finetuning of a float model that was edited: one step, one epoch, and what a run saves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from snnq.base.progress import Progress
from snnq.base.strict_json import Json
from snnq.data import DataSet
from snnq.training import processes
from snnq.training.batches import steps_per_epoch, training_batches
from snnq.training.batchnorm import share_batchnorm
from snnq.training.evaluation import evaluate
from snnq.training.finetune import Finetune, distilled_loss
from snnq.training.finite import FiniteWatch
from snnq.training.loop import Best, Position, Stateful, run_epochs
from snnq.training.quantized import parameter_groups
from snnq.training.run_folder import RunFolder
from snnq.training.schedules import learning_rate, set_rate
from snnq.training.teacher import Teacher
from snnq.training.transfers import moved


class Finetuning:
    """Rounds of ``epochs`` each; ``between(round)`` is called after all of them but the last, and may set new masks.

    Every round begins its learning rate and its optimizer anew. The best epoch is one of the last round. ``beside`` is
    what a run saves beside the model; ``chosen`` are the training samples, all by default; ``name`` goes into the seeds
    of their order. ``at`` is told where the run is, before every step and every validation.
    """

    def __init__(
        self,
        fabric: Fabric,
        model: nn.Module,
        data: DataSet,
        teacher: Teacher | None,
        settings: Finetune,
        epochs: int,
        rounds: int,
        between: Callable[[int], None] = lambda _: None,
        beside: Mapping[str, Stateful] | None = None,
        chosen: Sequence[int] | None = None,
        name: str = "prune",
        at: Callable[[str, int], None] = lambda *_: None,
    ) -> None:
        self.fabric, self.model, self.data, self.teacher = fabric, model, data, teacher
        self.settings, self.epochs, self.rounds, self.between = settings, epochs, rounds, between
        self.beside, self.name, self.at = dict(beside or {}), name, at
        self.chosen = range(len(data.train)) if chosen is None else chosen
        self.steps = epochs * steps_per_epoch(len(self.chosen), settings.batch_size)
        groups = parameter_groups(model, settings.weight_decay)
        optimizer = torch.optim.AdamW(groups, lr=settings.rate_start)  # pyright: ignore
        self.network, self.optimizer = fabric.setup(share_batchnorm(model), optimizer)
        self.best, self.watch = Best(), FiniteWatch(model, "finetuning")

    def stateful(self) -> dict[str, Stateful]:
        """Return what a run saves."""
        return {
            "model": self.model,
            **self.beside,
            "optimizer": self.optimizer.optimizer,
            "precision": self.fabric.strategy.precision,
            "best": self.best,
        }

    def batches(self, epoch: int) -> list[list[int]]:
        """Return the global training batches of an epoch."""
        one = self.settings
        batches = training_batches(len(self.chosen), one.batch_size, one.seed, self.name, epoch)
        return [[self.chosen[place] for place in batch] for batch in batches]

    def step(self, place: Position, indices: list[int]) -> dict[str, Tensor]:
        """Do one optimizer step on a global batch; return loss and accuracy on this process' share of it, ()."""
        one, own = self.settings, processes.shard(indices)
        frames, labels = (moved(part, self.fabric.device) for part in self.data.train.__getitems__(own))
        teacher = None if self.teacher is None else self.teacher(frames, own)
        self.at("step", place.overall)
        logits = self.network(frames)
        loss = distilled_loss(logits, labels, teacher, one.distillation, one.distillation_temperature)
        self.watch.close(f"epoch {place.epoch + 1}, step {place.step + 1}", loss)
        rates = {"peak": one.rate_peak, "start": one.rate_start, "floor": one.rate_floor}
        set_rate(self.optimizer, learning_rate(place.overall % self.steps, self.steps, **rates))
        self.optimizer.zero_grad()
        self.fabric.backward(loss)
        self.optimizer.step()
        right = (logits.detach().argmax(1) == labels).float().mean()
        return {"loss": loss.detach(), "accuracy": right}

    def after_epoch(self, epoch: int) -> Json:
        """Score the epoch on the validation split; keep the model if it is the best of the last round; end a round."""
        self.at("validation", epoch)
        found = evaluate(self.model, self.data.validation, self.settings.batch_size)
        self.model.train()
        round = epoch // self.epochs + 1
        if round == self.rounds:
            self.best.offer((found.accuracy, -found.loss), epoch + 1, self.model)
        elif (epoch + 1) % self.epochs == 0:
            self.between(round)
            self.optimizer.optimizer.state.clear()
        return {"round": round, "validation_accuracy": found.accuracy, "validation_loss": found.loss}

    def run(self, folder: RunFolder, stage: str, progress: Progress) -> None:
        """Run all epochs, or go on with them; raises what ``run_epochs`` does."""
        with self.watch as watch:
            run_epochs(
                folder,
                self.stateful(),
                stage=stage,
                epochs=self.rounds * self.epochs,
                batches=self.batches,
                step=self.step,
                after_epoch=self.after_epoch,
                check=watch.check,
                progress=progress,
            )
