"""The run of ``--method rate``: training at one price, resumed where it was cut off, and what a plan is made of it."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from lightning_fabric import Fabric
from torch import Tensor

from snnq.base.progress import Progress
from snnq.base.strict_json import Json
from snnq.cost.table import CostTable
from snnq.schemes.scheme import Params, rated, scheme
from snnq.searching.constraints import Choices
from snnq.searching.finishing import Found
from snnq.searching.objective import objective
from snnq.searching.rating import (
    RateSpace,
    Trained,
    keeps,
    rate_aim,
    rate_scores,
    trained_rates,
    water_filled,
    with_own,
)
from snnq.searching.settings import SearchSettings
from snnq.searching.trainee import Trainee
from snnq.training.batches import steps_per_epoch, training_batches
from snnq.training.evaluation import evaluate
from snnq.training.job import Job
from snnq.training.loop import Best, Position, Stateful, run_epochs
from snnq.training.quantized import quantized_layers
from snnq.training.run_folder import RunFolder
from snnq.training.teacher import float_teacher

# Training aims so far below a budget: nothing is trimmed here, and rates swing a little about what is aimed at.
AIMED = 0.98
# An epoch that leaves more than this of its budget unspent is no rival of one that does not.
SPENT = 0.95
# Rates are rounded up to the decimals of their names: so much of a budget is left for that.
ROOM = 0.999


class RateTraining:
    """The moving parts: the model in training, the price of its codes, and the best epoch."""

    def __init__(self, fabric: Fabric, job: Job, space: RateSpace, settings: SearchSettings, table: CostTable) -> None:
        self.job, self.space, self.settings = job, space, settings
        aim = rate_aim(space, settings, table)
        self.target = aim.target
        if aim.target is not None:
            aim = replace(aim, target=aim.target * AIMED)
        self.trainee = Trainee(fabric, job, space.schemes, aim, settings)
        assert self.trainee.price is not None
        self.rate, self.best, self.precision = self.trainee.price, Best(), fabric.strategy.precision
        self.total = settings.epochs * steps_per_epoch(len(job.data.train), settings.batch_size)
        self.weights_of = {layer.name: layer.weights for layer in job.layers}
        fixed = [layer for layer in job.layers if layer.name not in space.grids]
        self.fixed_bits = sum(scheme(space.schemes[layer.name]).storage_bits(layer.shape) for layer in fixed)

    def stateful(self) -> dict[str, Stateful]:
        """Return what a run saves."""
        return {**self.trainee.stateful(), "best": self.best, "precision": self.precision}

    def after_epoch(self, epoch: int) -> Json:
        """Score the epoch on the validation split and keep it if it is the best that keeps the budget."""
        found = evaluate(self.trainee.model, self.job.data.validation, self.settings.batch_size)
        self.trainee.model.train()
        bits = self.rate.bits()
        whole = sum(bits.values())
        share = SPENT if self.target is None else whole / self.target
        score = (float(share <= 1), float(share >= SPENT), found.accuracy, -found.loss)
        self.best.offer(score, epoch + 1, self.trainee.model)
        rates = {layer.name: bits[layer.name] / layer.weights for layer in self.job.layers if layer.name in bits}
        return {
            "bits": (whole + self.fixed_bits) / self.rate.weights,
            "rates": rates,
            "price": self.rate.steered(),
            "validation_accuracy": found.accuracy,
            "validation_loss": found.loss,
        }

    def ended(self) -> Trained:
        """Return what the best epoch's codes take; the model is left with its weights. The price is the last one."""
        self.trainee.model.load_state_dict(self.best.state)
        return Trained(self.rate.bits(), self.rate.steered())


def train_rates(
    fabric: Fabric,
    job: Job,
    space: RateSpace,
    settings: SearchSettings,
    table: CostTable,
    folder: RunFolder,
    progress: Progress,
) -> tuple[RateTraining, Trained]:
    """Run or resume the training; return it with the weights of its best epoch, and what their codes take."""
    torch.manual_seed(settings.seed)
    teacher = float_teacher(job, fabric, settings.batch_size, augmented=False, progress=progress)
    moving = RateTraining(fabric, job, space, settings, table)

    def batches(epoch: int) -> list[list[int]]:
        return training_batches(len(job.data.train), settings.batch_size, settings.seed, "train", epoch)

    def step(place: Position, indices: list[int]) -> dict[str, Tensor]:
        where = f"epoch {place.epoch + 1}, step {place.step + 1}"
        return moving.trainee.step(indices, teacher, place.overall, moving.total, where)

    with moving.trainee.watch as watch:
        run_epochs(
            folder,
            moving.stateful(),
            stage="searching",
            epochs=settings.epochs,
            batches=batches,
            step=step,
            after_epoch=moving.after_epoch,
            check=watch.check,
            progress=progress,
        )
    return moving, moving.ended()


def found_rates(
    moving: RateTraining, trained: Trained, table: CostTable
) -> tuple[Choices, Found, dict[tuple[str, str], Params]]:
    """Return the choices with the trained rates among them, what the search ends with, and the grids of these rates.

    Rates that exceed the budget, or leave much of it, are brought to it together. The plan has these rates where it may
    and they keep the budget; else it is solved from the scores.
    """
    space, rates, target = moving.space, trained_rates(moving.space, trained), moving.target
    taken = math.fsum(rates[name] * moving.weights_of[name] for name in rates)
    if target is not None and not SPENT <= taken / target <= 1:
        rates = water_filled(rates, moving.weights_of, target * ROOM)
    choices, own = with_own(space, rates)
    if own is not None and not keeps(objective(choices, moving.settings, table), own):
        own = None
    params = {name: chain.params() for name, chain, _ in quantized_layers(moving.trainee.model)}
    grids = {
        (name, rated(space.schemes[name], rates[name])): {key: value.detach() for key, value in params[name].items()}
        for name in space.free
        if rates[name] == trained.bits[name] / moving.weights_of[name]  # else it is another's, or was moved
    }
    scores = rate_scores(choices, rates, trained.price)
    return choices, Found(moving.trainee.latent(), scores, chosen=own), grids
