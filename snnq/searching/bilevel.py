"""The two alternating steps of the search (docs/method.md §4).

    L = CE + λ · Σ_l Σ_k p_lk E_lk / Σ_l E_l,float32        (a budget: ``price``)

Step 1 updates the architecture parameters a on a validation batch with the one-hot sample; step 2 updates the latent
weights W on a training batch with the soft sample. The temperature falls over the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor, nn

from snnq.cost.quantities import STORAGE
from snnq.searching.mixture import SchemeLogits, Supernet
from snnq.searching.objective import Objective, start_price
from snnq.searching.settings import SearchSettings
from snnq.training import processes
from snnq.training.batches import SplitSamples, steps_per_epoch, training_batches
from snnq.training.batchnorm import share_batchnorm
from snnq.training.finite import FiniteWatch
from snnq.training.loop import Position, Stateful
from snnq.training.schedules import learning_rate, set_rate, temperature
from snnq.training.seeding import generator
from snnq.training.transfers import moved

if TYPE_CHECKING:
    from jaxtyping import Float, Int


class Bilevel:
    """The search's moving parts: supernet, architecture parameters and prices, two optimizers, and the two steps.

    ``model`` is trained as it is. ``bits`` (L, K) is each layer's share of all weights times the bits of each
    candidate, so that Σ p · bits is the expected average bits; ``groups`` (L) names each layer's group.
    """

    def __init__(
        self,
        fabric: Fabric,
        model: nn.Module,
        aim: Objective,
        train: SplitSamples,
        validation: SplitSamples,
        settings: SearchSettings,
        total_steps: int,
    ) -> None:
        self.fabric, self.settings, self.total_steps = fabric, settings, total_steps
        self.train, self.validation = train, validation
        layers = aim.choices.layers
        supernet = Supernet(model, [layer.name for layer in layers], aim.choices.names).train()
        architecture, price = SchemeLogits(aim.choices), start_price(aim, settings)
        weights = torch.optim.AdamW(
            supernet.weight_parameters(), lr=settings.rate_start, weight_decay=settings.weight_decay
        )
        self.supernet, self.watch = supernet, FiniteWatch(supernet, "searching")
        self.network, self.weight_optimizer = fabric.setup(share_batchnorm(supernet), weights)
        self.architecture, self.price = architecture.to(fabric.device), price.to(fabric.device)
        self.architecture_optimizer: Any = fabric.setup_optimizers(
            torch.optim.Adam([architecture.logits], lr=settings.architecture_rate, betas=(0.5, 0.999))
        )
        self.bits = torch.from_numpy(aim.costs[STORAGE.relative]).float()
        self.groups = [layer.group for layer in layers]

    def stateful(self) -> dict[str, Stateful]:
        """Return what a run saves."""
        return {
            "supernet": self.supernet,
            "architecture": self.architecture,
            "price": self.price,
            "weight_optimizer": self.weight_optimizer.optimizer,
            "architecture_optimizer": self.architecture_optimizer.optimizer,
            "precision": self.fabric.strategy.precision,  # the loss scale of 16-mixed
        }

    def batches(self, epoch: int) -> list[list[int]]:
        """Return the training batches of an epoch."""
        return training_batches(len(self.train), self.settings.batch_size, self.settings.seed, "train", epoch)

    def step(self, place: Position, indices: list[int]) -> dict[str, Float[Tensor, ""]]:
        """Do one weight step, and an architecture step before it when it is due; return the training loss, ()."""
        if place.overall % self.settings.refresh_every == 0 and place.overall:
            self.supernet.refresh()
        if place.overall % self.settings.architecture_every == 0:
            self.architecture_step(place)
        return {"loss": self.weight_step(place, indices)}

    def after_epoch(self, epoch: int) -> dict[str, object]:
        """Return what is logged of an epoch: expected bits, decided layers and every layer's probabilities."""
        shares = dict(zip(self.supernet.layers, self.shares().tolist(), strict=True))
        names = [scheme.name for scheme in self.supernet.schemes]
        facts = {name: value for name, value in self.status().items() if "." not in name}
        return {**facts, "space": names, "probabilities": shares}

    def architecture_step(self, place: Position) -> Float[Tensor, ""]:
        """Step 1: update a on a validation batch with the one-hot sample; return CE + λ · cost, ()."""
        frames, labels = self._batch(self.validation, self._validation_indices(place))
        shares = self._sample(place, "architecture", one_hot=True)
        self.architecture_optimizer.zero_grad()
        # Only a is asked for: no gradient is computed for W, and none waits to be averaged with other processes'.
        with self.fabric.no_backward_sync(self.network, enabled=processes.count() > 1):
            loss = F.cross_entropy(self.network(frames, shares), labels) + self.price(shares)
            self._close(place, loss)
            self.fabric.backward(loss, inputs=[self.architecture.logits])
        if self.architecture.logits.grad is not None:
            self.architecture.logits.grad = processes.mean(self.architecture.logits.grad)
        self.architecture_optimizer.step()
        self.price.update(self.shares(), place.overall / self.total_steps)
        return loss.detach()

    def weight_step(self, place: Position, indices: list[int]) -> Float[Tensor, ""]:
        """Step 2: update W on a training batch with the soft sample; return the cross-entropy, ()."""
        frames, labels = self._batch(self.train, indices)
        loss = F.cross_entropy(self.network(frames, self._sample(place, "weights", one_hot=False).detach()), labels)
        self._close(place, loss)
        one = self.settings
        rates = {"peak": one.rate_peak, "start": one.rate_start, "floor": one.rate_floor}
        set_rate(self.weight_optimizer, learning_rate(place.overall, self.total_steps, **rates))
        self.weight_optimizer.zero_grad()
        self.fabric.backward(loss)
        self.weight_optimizer.step()
        return loss.detach()

    def _close(self, place: Position, loss: Float[Tensor, ""]) -> None:
        self.watch.close(f"epoch {place.epoch + 1}, step {place.step + 1}", loss)

    def shares(self) -> Float[Tensor, "L K"]:
        """Return softmax(a), (L, K): the probabilities without noise."""
        return self.architecture.shares().detach()

    def status(self) -> dict[str, float | int | str]:
        """Return the expected average bits and how many layers give one scheme the share ``decided_at`` or more.

        Parts of them, by name with a dot: the expected bits of every group, and which layers are decided for what.
        """
        shares, names = self.shares().cpu(), [scheme.name for scheme in self.supernet.schemes]
        expected, most = shares * self.bits, shares.max(-1)
        decided = (most.values >= self.settings.decided_at).tolist()
        words = [
            f"{layer} {names[k]}"
            for layer, k, sure in zip(self.supernet.layers, most.indices.tolist(), decided, strict=True)
            if sure
        ]
        return {
            "bits": float(expected.sum()),
            "decided": sum(decided),
            **self._bits_by_group(expected.sum(-1).tolist()),
            **({"decided.decided": ", ".join(words)} if words else {}),
        }

    def _bits_by_group(self, expected: Sequence[float]) -> dict[str, float]:
        """Return the expected bits per weight of every group; a layer's weights are its bits over the scheme's."""
        weights = (self.bits[:, 0] / self.supernet.schemes[0].bits).tolist()
        sums: dict[str, list[float]] = {}
        for group, bits, weight in zip(self.groups, expected, weights, strict=True):
            total = sums.setdefault(group, [0.0, 0.0])
            total[0] += bits
            total[1] += weight
        return {f"bits.{group}": bits / weight for group, (bits, weight) in sums.items()}

    def _sample(self, place: Position, which: str, *, one_hot: bool) -> Float[Tensor, "L K"]:
        heat = temperature(
            place.overall, self.total_steps, high=self.settings.temperature_high, low=self.settings.temperature_low
        )
        draw = generator(self.settings.seed, which, place.overall)
        return self.architecture.sample(heat, draw, one_hot=one_hot)

    def _validation_indices(self, place: Position) -> list[int]:
        number = place.overall // self.settings.architecture_every
        size = self.settings.batch_size
        cycle, i = divmod(number, steps_per_epoch(len(self.validation), size))
        return training_batches(len(self.validation), size, self.settings.seed, "validation", cycle)[i]

    def _batch(
        self, samples: SplitSamples, indices: Sequence[int]
    ) -> tuple[Float[Tensor, "n T C H W"], Int[Tensor, " n"]]:
        frames, labels = samples.__getitems__(processes.shard(indices))
        return moved(frames, self.fabric.device), moved(labels, self.fabric.device)
