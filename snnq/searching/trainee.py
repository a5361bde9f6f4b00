"""A quantised model that a search trains, with what its codes take: one step of it.

    L = CE(mean of the labels and the float model's softmax) + the price of the codes

These are the targets that plans are measured by (``judging``). The price is one for all layers (``Rate``), or one
a layer (``HeldRates``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn.utils import parametrize

from snnq.checkpoints.opening import load_model
from snnq.searching.settings import SearchSettings
from snnq.training import processes
from snnq.training.batchnorm import share_batchnorm
from snnq.training.finite import FiniteWatch
from snnq.training.job import Job
from snnq.training.loop import Stateful
from snnq.training.quantized import parameter_groups, quantize_model, quantized_layers
from snnq.training.rate import Aim
from snnq.training.schedules import learning_rate, set_rate
from snnq.training.teacher import Teacher
from snnq.training.transfers import moved

if TYPE_CHECKING:
    from jaxtyping import Float


class Trainee:
    """A float checkpoint's model under schemes by layer, its optimizer, and the price of its codes."""

    def __init__(
        self,
        fabric: Fabric,
        job: Job,
        schemes: Mapping[str, str],
        aim: Aim,
        settings: SearchSettings,
    ) -> None:
        self.fabric, self.job, self.settings = fabric, job, settings
        self.model = quantize_model(load_model(job.checkpoint), schemes, aim.begin).train()
        price = aim.rate(self.model)
        self.price = None if price is None else price.to(fabric.device)
        optimizer = torch.optim.AdamW(
            parameter_groups(self.model, settings.weight_decay),
            lr=settings.rate_start,  # pyright: ignore
        )
        self.network, self.optimizer = fabric.setup(share_batchnorm(self.model), optimizer)
        self.watch = FiniteWatch(self.model, "searching")

    def stateful(self) -> dict[str, Stateful]:
        """Return what a run saves of it."""
        parts: dict[str, Stateful] = {"model": self.model, "optimizer": self.optimizer.optimizer}
        return parts if self.price is None else parts | {"price": self.price}

    def step(
        self, indices: list[int], teacher: Teacher, at: int, total: int, where: str
    ) -> dict[str, Float[Tensor, ""]]:
        """Do step ``at`` of ``total`` on a global batch; return its loss, without the price, and the coded bits, ()."""
        indices = processes.shard(indices)
        frames, labels = self.job.data.train.__getitems__(indices)
        frames, labels = moved(frames, self.fabric.device), moved(labels, self.fabric.device)
        soft = torch.softmax(teacher(frames, indices), 1)
        loss = task = F.cross_entropy(self.network(frames), (soft + F.one_hot(labels, soft.shape[1])) / 2)
        facts = {}
        if self.price is not None:
            paid, facts["coded_bits"] = self.price.loss(at / total)
            loss = task + paid
        self.watch.close(where, loss)
        one = self.settings
        rate = learning_rate(at, total, peak=one.rate_peak, start=one.rate_start, floor=one.rate_floor)
        set_rate(self.optimizer, rate)
        self.optimizer.zero_grad()
        self.fabric.backward(loss)
        self.optimizer.step()
        return {"loss": task.detach()} | facts

    def latent(self) -> nn.Module:
        """Return the model with its latent weights, to be rounded anew; this one is not trained any further."""
        for name, _, _ in list(quantized_layers(self.model)):
            parametrize.remove_parametrizations(self.model.get_submodule(name), "weight", leave_parametrized=False)
        return self.model.eval()
