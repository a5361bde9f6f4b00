"""The float and the quantised model on the calibration samples: what each gave so far, and how far a block is off.

Cached activations take little memory, without loss: spikes as bits, small whole numbers as bytes, the rest as is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from snnq.network.blocks import Address, Block
from snnq.network.replay import Layout, Ran, Replay
from snnq.training.transfers import moved


@dataclass(frozen=True)
class StoredTensor:
    """A tensor at rest: ``kind`` bits, bytes or as-is, and its true shape and type."""

    kind: str
    data: Tensor
    shape: torch.Size
    dtype: torch.dtype

    @property
    def nbytes(self) -> int:
        """Bytes taken."""
        return self.data.numel() * self.data.element_size()


def store(tensor: Tensor) -> StoredTensor:
    """Return a tensor packed as tightly as its values allow, on the CPU."""
    tensor = tensor.detach().cpu()
    shape, dtype = tensor.shape, tensor.dtype
    small = tensor.to(torch.uint8) if tensor.numel() and tensor.min() >= 0 and tensor.max() <= 255 else None
    if small is None or not torch.equal(small.to(dtype), tensor):
        return StoredTensor("as-is", tensor.clone(), shape, dtype)
    if int(small.max()) <= 1:
        return StoredTensor("bits", torch.from_numpy(np.packbits(small.numpy().reshape(-1))), shape, dtype)
    return StoredTensor("bytes", small, shape, dtype)


def restore(stored: StoredTensor, device: torch.device) -> Tensor:
    """Return the tensor that was stored, on ``device``."""
    data = stored.data
    if stored.kind == "bits":
        data = torch.from_numpy(np.unpackbits(data.numpy(), count=math.prod(stored.shape)))
    return moved(data, device).to(stored.dtype).view(stored.shape)


class Budget:
    """Bytes that may be kept; what does not fit is computed again where it is needed."""

    def __init__(self, limit: int) -> None:
        self.limit, self.used = limit, 0

    def take(self, size: int) -> bool:
        """Take so many bytes if they are left; return whether they were."""
        fits = self.used + size <= self.limit
        self.used += size if fits else 0
        return fits

    def give_back(self, size: int) -> None:
        """Give bytes back."""
        self.used -= size


@dataclass(frozen=True)
class BlockTarget:
    """What a block should give on one batch: its output and its neurons' currents (empty where they do not count)."""

    stored_output: StoredTensor
    stored_currents: tuple[StoredTensor, ...]
    device: torch.device

    @property
    def output(self) -> Tensor:
        """The float block's output."""
        return restore(self.stored_output, self.device)

    @property
    def currents(self) -> list[Tensor]:
        """What the float block's neurons are given."""
        return [restore(one, self.device) for one in self.stored_currents]

    @property
    def nbytes(self) -> int:
        """Bytes taken."""
        return self.stored_output.nbytes + sum(one.nbytes for one in self.stored_currents)


class Side:
    """One of the two models and the outputs of its earlier blocks that later ones need, batch by batch."""

    def __init__(self, replay: Replay, layout: Layout, batches: Sequence[Tensor], budget: Budget) -> None:
        self.replay, self.layout, self.batches, self.budget = replay, layout, batches, budget
        self.kept: list[dict[Address, StoredTensor]] | None = [{} for _ in batches]

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.replay.model.parameters()).device

    def run(
        self, block: Block, batch: int, *, tensors: Mapping[str, Tensor] | None = None, keep: Sequence[Address] = ()
    ) -> Ran:
        """Run a block on a batch, from what is kept or, where nothing is, from the frames."""
        cache = None
        if self.kept is not None:
            cache = {address: restore(self.kept[batch][address], self.device) for address in block.needs}
        frames = moved(self.batches[batch], self.device).float()
        return self.replay.run(frames, block, cache, tensors=tensors, keep=keep)

    @torch.no_grad()
    def target(self, block: Block, batch: int, kind: str = "both") -> BlockTarget:
        """Return what the model gives as a target of the other one."""
        ran = self.run(block, batch)
        currents = () if kind == "output" else tuple(store(one) for one in ran.currents)
        return BlockTarget(store(ran.output), currents, self.device)

    def targets(self, block: Block, kind: str) -> list[BlockTarget] | None:
        """Return the targets of all batches, or None where they would take more memory than is left."""
        found: list[BlockTarget] = []
        for batch in range(len(self.batches)):
            found.append(self.target(block, batch, kind))
            if not self.budget.take(found[-1].nbytes):
                self.budget.give_back(sum(one.nbytes for one in found[:-1]))
                return None
        return found

    @torch.no_grad()
    def advance(self, number: int) -> None:
        """Go past a block: keep what later blocks need of it, forget what none needs any more."""
        if self.kept is None:
            return
        block, later = self.layout.blocks[number], self.layout.blocks[number + 1 :]
        needed = {address for one in later for address in one.needs}
        for batch, kept in enumerate(self.kept):
            found = self.run(block, batch, keep=tuple(needed - kept.keys())).kept if needed - kept.keys() else {}
            for address in kept.keys() - needed:
                self.budget.give_back(kept.pop(address).nbytes)
            for address, tensor in found.items():
                kept[address] = store(tensor)
                if not self.budget.take(kept[address].nbytes):
                    del kept[address]
                    self._forget()
                    return

    def _forget(self) -> None:
        """Keep nothing from here on."""
        for kept in self.kept or ():
            self.budget.give_back(sum(one.nbytes for one in kept.values()))
        self.kept = None


def normalised(found: Tensor, target: Tensor) -> Tensor:
    """Return the mean squared error over the target's variance: 0 is equal, 1 as far off as the target's mean."""
    spread = target.var(correction=0).clamp_min(1e-6)
    return (found - target).square().mean() / spread


def block_loss(ran: Ran, target: BlockTarget, kind: str) -> Tensor:
    """Return the output's error, the mean of the neurons' currents' errors, or their sum; a block without neurons has
    its output only."""
    losses = []
    if kind != "current" or not target.stored_currents:
        losses.append(normalised(ran.output, target.output))
    if kind != "output" and target.stored_currents:
        pairs = zip(ran.currents, target.currents, strict=True)
        losses.append(torch.stack([normalised(*pair) for pair in pairs]).mean())
    return torch.stack(losses).sum()
