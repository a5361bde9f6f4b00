"""Learning an adapter: one step, one epoch, one task after the other, and what a run saves."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snnq.adapting.pools import PULL, Pools, SlotPool, rounded_head
from snnq.adapting.settings import FULL, OSPP, SCORES, AdaptSettings
from snnq.adapting.tasks import Lessons
from snnq.adapting.trial import Trial
from snnq.base.strict_json import Json
from snnq.network.prefixes import Site
from snnq.packed.adapter import WEIGHTS
from snnq.packed.prompting import Features, Prompting
from snnq.training.finite import FiniteWatch
from snnq.training.loop import Position, Stateful
from snnq.training.schedules import set_rate
from snnq.training.seeding import generator, shuffled
from snnq.training.transfers import moved


@dataclass(frozen=True)
class Frozen:
    """What frozen models say of the training samples once and for all, (N, n) each, where a method needs it.

    ``features``: the head's input, for the head alone, and as a query of two-stage methods. ``reference``: the float
    checkpoint's, for OS-Prompt++.
    """

    features: Tensor | None = None
    reference: Tensor | None = None


@dataclass(frozen=True)
class Passes:
    """The model in floats that gradients run through, without a head: ``features`` are what its head would see."""

    model: nn.Module
    features: Features
    prompting: Prompting | None


class Learning:
    """Tasks of ``epochs`` each. Optimizer and rate begin anew with every task; earlier tasks' samples do not return."""

    def __init__(
        self,
        settings: AdaptSettings,
        lessons: Lessons,
        head: nn.Linear,
        pools: Pools | None,
        passes: Passes | None,
        known: Frozen,
        trial: Trial,
    ) -> None:
        self.settings, self.lessons, self.head, self.pools = settings, lessons, head, pools
        self.passes, self.known, self.trial = passes, known, trial
        self.device, self.task = head.weight.device, -1
        parts: list[nn.Module] = [head] if pools is None else [head, pools]
        if settings.method == FULL and passes is not None:
            parts.append(passes.model.requires_grad_(True))
        self.trained = nn.ModuleList(parts)
        self.optimizer = torch.optim.Adam(self.trained.parameters(), lr=settings.learning_rate)
        self.watch = FiniteWatch(head if passes is None else passes.model, "adapting")

    def stateful(self) -> dict[str, Stateful]:
        """Return what a run saves."""
        return {"trained": self.trained, "optimizer": self.optimizer, "queries": self.trial.first}

    def batches(self, epoch: int) -> list[list[int]]:
        """Return the batches of an epoch, all samples of its task once, drawn; a new task is begun with its first."""
        task, one = epoch // self.settings.epochs, self.settings
        self._at(task)
        places = self.lessons.members("train", task)
        order = shuffled(len(places), one.seed, "adapt", epoch)
        return [places[order[i : i + one.batch_size]].tolist() for i in range(0, len(order), one.batch_size)]

    def _at(self, task: int) -> None:
        """Let the slots be those of a task."""
        if self.pools is not None and task != self.task:
            self.pools.at(task)
        self.task = task

    def begin(self, task: int) -> None:
        """Start what belongs to a task: its slots and its optimizer."""
        if self.pools is not None:
            self.pools.begin(task)
        self.task = task
        self.optimizer.state.clear()

    def step(self, place: Position, indices: list[int]) -> dict[str, Tensor]:
        """Do one optimizer step; return the loss and the accuracy among the task's classes, ()."""
        labels = torch.from_numpy(self.lessons.data.train.labels[indices]).to(self.device)
        own = self.lessons.classes_of(self.task)
        features, more = self._pass(indices)
        # Classes of other tasks are masked: their logits are −∞, so nothing pushes them down.
        logits = self.head(features)[:, own.start : own.stop]
        loss = F.cross_entropy(logits, labels - own.start) + more
        self.watch.close(f"epoch {place.epoch + 1}, step {place.step + 1}", loss)
        set_rate(self.optimizer, self._rate(place.epoch % self.settings.epochs))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        right = (logits.detach().argmax(1) == labels - own.start).float().mean()
        return {"loss": loss.detach(), "accuracy": right}

    def _rate(self, epoch: int) -> float:
        last = max(self.settings.epochs - 1, 1)
        return self.settings.learning_rate * math.cos(99 * math.pi * epoch / (200 * last))

    def _pass(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        """Return the head's input (n, features) for training samples, and what the method adds to the loss, ()."""
        nothing = torch.zeros((), device=self.device)
        if self.passes is None:
            assert self.known.features is not None
            return self.known.features[indices].to(self.device), nothing
        frames = moved(self.lessons.data.train.__getitems__(indices)[0], self.device)
        added: list[Tensor] = []
        if self.passes.prompting is not None:
            self.passes.prompting.give = self._give(indices, added)
        self.passes.model(frames)
        return self.passes.features.take(), sum(added, nothing)

    def _give(self, indices: list[int], added: list[Tensor]) -> Callable[[Site, Tensor], tuple[Tensor, Tensor]]:
        """Return what prompts the attentions of a batch; what each adds to the loss is put into ``added``."""
        assert self.pools is not None
        pools, known = self.pools.by_module(), self.known
        query = None if known.features is None else known.features[indices].to(self.device)
        reference = None if known.reference is None else known.reference[indices].to(self.device)
        steps = self.trial.backbone.wiring.graph.steps

        def give(site: Site, own: Tensor) -> tuple[Tensor, Tensor]:
            pool, asked = pools[site.module], own / (steps * site.tokens) if query is None else query
            if pool.top is not None:
                added.append(PULL * pool.pull(asked))
            if reference is not None:
                added.append(self.settings.strength * regulariser(self.settings, pool, asked, reference))
            return pool(asked)

        return give

    def after_epoch(self, epoch: int) -> Json:
        """Return the task; after its last epoch also what is known by then. The next task is begun."""
        task, end = epoch // self.settings.epochs, (epoch + 1) % self.settings.epochs == 0
        if not end:
            return {"task": task + 1}
        floating = self.passes.model if self.settings.method == FULL and self.passes is not None else None
        found = self.trial.after(task, self.head, self.pools, floating)
        if task + 1 < len(self.lessons.sizes):
            self.begin(task + 1)
        return {"task": task + 1, "known": found}

    def finish(self) -> None:
        """Let the slots be those of the last task, as they are once all is learned."""
        self._at(len(self.lessons.sizes) - 1)

    def tensors(self) -> dict[str, np.ndarray]:
        """Return everything that an adapter's file holds."""
        weight, bias = rounded_head(self.head)
        found = {"head.weight": weight, "head.bias": bias}
        for module, one in (self.pools.whole() if self.pools is not None else {}).items():
            found |= {f"{module}.keys": one.keys, f"{module}.prompts": one.prompts}
            found |= {} if one.attention is None else {f"{module}.attention": one.attention}
        if self.settings.method == FULL and self.passes is not None:
            state = self.passes.model.state_dict()
            found |= {f"{WEIGHTS}{name}": value.detach().cpu().float().numpy() for name, value in state.items()}
        return found


def regulariser(settings: AdaptSettings, pool: SlotPool, query: Tensor, reference: Tensor) -> Tensor:
    """Return OS-Prompt++'s loss () of queries (n, C) and the reference's features (n, C), without λ.

    ``scores``: the mean over samples of ‖softmax(cos(K, q)) − softmax(cos(K, r))‖², the paper's; ``embeddings``: the
    mean of (q − r)², as its released code has it.
    """
    assert settings.method == OSPP
    if settings.regulariser == SCORES:
        found, due = (pool.weights(one).softmax(1) for one in (query, reference))
        return (found - due).square().sum(1).mean()
    return F.mse_loss(query, reference)


def new_head(features: int, classes: int, seed: int) -> nn.Linear:
    """Return a head that starts as torch's linear layers do, drawn from the seed alone."""
    made, draw = nn.Linear(features, classes), generator(seed, "head")
    reach = 1 / math.sqrt(features)
    with torch.no_grad():
        for one in (made.weight, made.bias):
            one.copy_((torch.rand(one.shape, generator=draw) * 2 - 1) * reach)
    return made
