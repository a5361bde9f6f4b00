"""``--method halving``: candidate plans of one budget are finetuned shortly, and the better half goes on.

Successive halving (Jamieson & Talwalkar 2016, arXiv:1502.07943). Every rung takes the same number of steps, shared by
the plans that are left: half as many plans are trained twice as long. A rung's schedule of learning rates ends before
plans are compared by their validation loss. All of them see the same batches, and start from the checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from snnq.base.progress import Progress, silent
from snnq.base.strict_json import Json
from snnq.schemes.scheme import scheme
from snnq.searching.drift import drift
from snnq.searching.estimates import hessian, random
from snnq.searching.finishing import Found
from snnq.searching.judging import Judge, sensitivity
from snnq.searching.objective import Objective
from snnq.searching.trainee import Trainee
from snnq.training.batches import steps_per_epoch, training_batches
from snnq.training.evaluation import evaluate
from snnq.training.loop import Position, Stateful, run_epochs
from snnq.training.rate import Aim
from snnq.training.run_folder import RunFolder
from snnq.training.seeding import generator
from snnq.training.teacher import float_teacher

if TYPE_CHECKING:
    from jaxtyping import Float

# How many plans begin; by how much (σ of a logarithm) the weight of each layer differs between those that are drawn,
# and how often one is drawn at most to find so many.
PLANS, SPREAD, DRAWS = 8, 1.0, 64


@dataclass(frozen=True)
class PlanCandidate:
    """A plan, as positions in the choices (L,), and the scores (L, K) it is the best of."""

    name: str
    chosen: list[int]
    scores: Float[np.ndarray, "L K"]


def candidates(judge: Judge, aim: Objective, progress: Progress) -> list[PlanCandidate]:
    """Return up to ``PLANS`` different plans of the budget: the other methods', and sensitivity's with its layers
    weighed by chance."""
    settings, sensitive = judge.settings, sensitivity(judge, aim, progress)
    named = [("sensitivity", sensitive), ("hessian", hessian(judge, progress)), ("drift", drift(judge, progress))]
    named.append(("random", random(judge.choices, settings.seed)))
    group = list(judge.choices.group)
    for number in range(DRAWS):
        draw = torch.randn(judge.choices.groups, generator=generator(settings.seed, "candidate", number))
        weights = (SPREAD * draw).exp().double().numpy()[group]
        lowest = np.nanmin(sensitive, 1, keepdims=True)
        named.append((f"sensitivity, drawn {number + 1}", (sensitive - lowest) * weights[:, None]))
    found: dict[tuple[int, ...], PlanCandidate] = {}
    for name, scores in named:
        chosen = aim.solve(scores)
        found.setdefault(tuple(chosen), PlanCandidate(name, chosen, scores))
        if len(found) == PLANS:
            break
    return list(found.values())


class Rungs(nn.Module):
    """Who is left, by validation losses ``losses`` (rungs, plans), NaN of plans that were not trained so long.

    Of n plans the ``widths`` are n, n/2, … down to 2: that many are trained in each rung, for ``parts`` slots each.
    """

    losses: Tensor

    def __init__(self, plans: int) -> None:
        super().__init__()
        self.widths: list[int] = []
        while plans > 1:
            self.widths.append(plans)
            plans //= 2
        self.parts = [max(1, round(self.widths[0] / width)) for width in self.widths]
        shape = (len(self.widths), self.widths[0] if self.widths else 1)
        self.register_buffer("losses", torch.full(shape, torch.nan, dtype=torch.float64))

    def left(self, rung: int) -> list[int]:
        """Return the plans that a rung trains, the best first; behind the last rung, all it trained in this order."""
        if rung == 0:
            return list(range(self.losses.shape[1]))
        row = self.losses[rung - 1].nan_to_num(torch.inf).tolist()
        order = sorted(self.left(rung - 1), key=lambda plan: (row[plan], plan))
        return order[: self.widths[rung]] if rung < len(self.widths) else order

    def slots(self) -> Iterator[tuple[int, int, int]]:
        """Yield rung, place in it, and part of the training there, of every slot."""
        for rung, (width, parts) in enumerate(zip(self.widths, self.parts, strict=True)):
            for place in range(width):
                yield from ((rung, place, part) for part in range(parts))


class Halving:
    """The moving parts: a trainee for each plan, and who is left."""

    def __init__(self, fabric: Fabric, judge: Judge, plans: Sequence[PlanCandidate]) -> None:
        self.judge, self.settings, self.plans, self.rungs = judge, judge.settings, plans, Rungs(len(plans))
        self.precision = fabric.strategy.precision
        self.trainees = [trainee(fabric, judge, plan.chosen) for plan in plans]
        self.slots = list(self.rungs.slots())
        self.each = steps_per_epoch(len(judge.job.data.train), self.settings.batch_size)
        self.steps = max(1, self.settings.epochs * self.each // max(1, len(self.slots)))
        self.teacher = float_teacher(judge.job, fabric, self.settings.batch_size, augmented=False)

    def stateful(self) -> dict[str, Stateful]:
        """Return what a run saves."""
        parts: dict[str, Stateful] = {"rungs": self.rungs, "precision": self.precision}
        for number, one in enumerate(self.trainees):
            parts |= {f"{name} {number}": part for name, part in one.stateful().items()}
        return parts

    def plan(self, slot: int) -> int:
        """Return which plan a slot trains."""
        rung, place, _ = self.slots[slot]
        return self.rungs.left(rung)[place]

    def batches(self, slot: int) -> list[list[int]]:
        """Return the batches of a slot: the same for all plans of a rung."""
        rung, _, part = self.slots[slot]
        first = (sum(self.rungs.parts[:rung]) + part) * self.steps
        return [self._batch(number) for number in range(first, first + self.steps)]

    def _batch(self, number: int) -> list[int]:
        cycle, i = divmod(number, self.each)
        size, seed = self.settings.batch_size, self.settings.seed
        return training_batches(len(self.judge.job.data.train), size, seed, "halving", cycle)[i]

    def step(self, place: Position, indices: list[int]) -> dict[str, Float[Tensor, ""]]:
        """Do one step of the slot's plan."""
        rung, _, part = self.slots[place.epoch]
        at, total = part * self.steps + place.step, self.rungs.parts[rung] * self.steps
        where = f"slot {place.epoch + 1}, step {place.step + 1}"
        return self.trainees[self.plan(place.epoch)].step(indices, self.teacher, at, total, where)

    def after_slot(self, slot: int) -> Json:
        """Score the slot's plan on the validation split where its rung ends for it."""
        rung, _, part = self.slots[slot]
        plan = self.plan(slot)
        facts: Json = {"plan": self.plans[plan].name, "rung": rung + 1}
        if part + 1 < self.rungs.parts[rung]:
            return facts
        model = self.trainees[plan].model
        found = evaluate(model, self.judge.job.data.validation, self.settings.batch_size)
        model.train()
        self.rungs.losses[rung, plan] = found.loss
        return facts | {"validation_accuracy": found.accuracy, "validation_loss": found.loss}


def trainee(fabric: Fabric, judge: Judge, chosen: list[int]) -> Trainee:
    """Return the checkpoint's model in training under a plan (L,), every rated layer held to its own rate."""
    schemes = judge.choices.schemes(chosen)
    rated = {name: form for name, one in schemes.items() if (form := scheme(one)).rate is not None}
    sizes = {layer.name: layer.weights for layer in judge.choices.layers}
    target = sum(sizes[name] * (form.rate or 0.0) for name, form in rated.items())
    aim = Aim(rated, sum(sizes.values()), target=target, each=True)
    return Trainee(fabric, judge.job, schemes, aim, judge.settings)


def halve(fabric: Fabric, judge: Judge, aim: Objective, folder: RunFolder, progress: Progress = silent) -> Found:
    """Run or resume successive halving; return the plan that is left, with the weights that it has trained."""
    plans = candidates(judge, aim, progress)
    torch.manual_seed(judge.settings.seed)
    moving = Halving(fabric, judge, plans)
    with ExitStack() as stack:
        watches = [stack.enter_context(one.watch) for one in moving.trainees]

        def check() -> None:
            for watch in watches:
                watch.check()

        run_epochs(
            folder,
            moving.stateful(),
            stage="halving",
            epochs=len(moving.slots),
            batches=moving.batches,
            step=moving.step,
            after_epoch=moving.after_slot,
            unit="slot",
            check=check,
            progress=progress,
        )
    best = moving.rungs.left(len(moving.rungs.widths))[0]
    return Found(moving.trainees[best].latent(), plans[best].scores, chosen=plans[best].chosen)
