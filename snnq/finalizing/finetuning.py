"""One step and one epoch of quantisation-aware training."""

from __future__ import annotations

from collections.abc import Callable

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from snnq.assessing.variation import Varied
from snnq.base.progress import Progress
from snnq.base.strict_json import Json
from snnq.data import DataSet
from snnq.finalizing.settings import FinalizeSettings
from snnq.training.augmentation import parse_changes, training_share
from snnq.training.batches import training_batches
from snnq.training.batchnorm import share_batchnorm
from snnq.training.evaluation import evaluate
from snnq.training.finetune import distilled_loss
from snnq.training.finite import FiniteWatch
from snnq.training.loop import Best, Position, Stateful, run_epochs
from snnq.training.quantized import parameter_groups
from snnq.training.quick_neurons import quicken
from snnq.training.rate import Aim
from snnq.training.run_folder import RunFolder
from snnq.training.schedules import learning_rate, set_rate
from snnq.training.seeding import generator
from snnq.training.teacher import Teacher


class QuantisedFinetuning:
    """The moving parts of finalize: the quantised model, its optimizer, the teacher and the best epoch."""

    def __init__(
        self,
        fabric: Fabric,
        model: nn.Module,
        data: DataSet,
        teacher: Teacher | None,
        settings: FinalizeSettings,
        total_steps: int,
        aim: Aim,
        varied: Varied | None = None,
    ) -> None:
        self.aim, self.rate = aim, aim.rate(model)
        self.fabric, self.model, self.settings, self.total_steps = fabric, model, settings, total_steps
        self.data, self.teacher, self.varied = data, teacher, varied
        self.changes = parse_changes(settings.augment)
        groups = parameter_groups(model, settings.weight_decay)
        optimizer = torch.optim.AdamW(groups, lr=settings.rate_start)  # pyright: ignore
        self.network, self.optimizer = fabric.setup(quicken(share_batchnorm(model)), optimizer)
        self.best, self.watch = Best(), FiniteWatch(model, "finetuning")

    def stateful(self) -> dict[str, Stateful]:
        """Return what a run saves."""
        parts: dict[str, Stateful] = {
            "model": self.model,
            "optimizer": self.optimizer.optimizer,
            "precision": self.fabric.strategy.precision,  # the loss scale of 16-mixed
            "best": self.best,
        }
        return parts if self.rate is None else parts | {"rate": self.rate}

    def batches(self, epoch: int) -> list[list[int]]:
        """Return the global training batches of an epoch."""
        return training_batches(len(self.data.train), self.settings.batch_size, self.settings.seed, "finalize", epoch)

    def step(self, place: Position, indices: list[int]) -> dict[str, Tensor]:
        """Do one optimizer step on a global batch; return loss and accuracy on this process' share of it, ()."""
        one = self.settings
        frames, targets, indices = training_share(
            self.data.train,
            indices,
            self.changes,
            classes=len(self.data.classes),
            along=place.epoch / one.epochs,
            draw=generator(one.seed, "augmentation", place.overall),
            device=self.fabric.device,
        )
        teacher = None if self.teacher is None else self.teacher(frames, indices)
        if self.varied is not None:
            self.varied.at("step", place.overall)
        logits = self.network(frames)
        loss = distilled_loss(logits, targets, teacher, one.distillation, one.distillation_temperature)
        facts = {}
        if self.rate is not None:
            price, facts["bits"] = self.rate.loss(place.overall / self.total_steps)
            loss = loss + price
        self.watch.close(f"epoch {place.epoch + 1}, step {place.step + 1}", loss)
        rates = {"peak": one.rate_peak, "start": one.rate_start, "floor": one.rate_floor}
        set_rate(self.optimizer, learning_rate(place.overall, self.total_steps, **rates))
        self.optimizer.zero_grad()
        self.fabric.backward(loss)
        self.optimizer.step()
        labels = targets if targets.ndim == 1 else targets.argmax(1)
        right = (logits.detach().argmax(1) == labels).float().mean()
        return {"loss": loss.detach(), "accuracy": right} | facts

    def after_epoch(self, epoch: int) -> Json:
        """Score the epoch on the validation split and keep the model if it is the best so far."""
        if self.varied is not None:
            self.varied.at("validation", epoch)
        found = evaluate(self.model, self.data.validation, self.settings.batch_size)
        self.model.train()
        score, facts = (found.accuracy, -found.loss), {}
        if self.rate is not None:
            fits, bits = self.rate.fits(), self.rate.per_weight()
            score, facts = (float(fits), *score), {"coded_bits": bits, "price": self.rate.steered()}
        self.best.offer(score, epoch + 1, self.model)
        return {"validation_accuracy": found.accuracy, "validation_loss": found.loss} | facts

    def run(self, folder: RunFolder, after_epoch: Callable[[int], Json], progress: Progress) -> list[Json]:
        """Run all epochs, or go on with them; return the history; raises what ``run_epochs`` does."""
        with self.watch as watch:
            return run_epochs(
                folder,
                self.stateful(),
                stage="finetuning",
                epochs=self.settings.epochs,
                batches=self.batches,
                step=self.step,
                after_epoch=after_epoch,
                check=watch.check,
                progress=progress,
            )
