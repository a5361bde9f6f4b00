"""What a search step costs: against a float training step, and against the plain K-branch formulation."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Unpack

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import nn

from snnq.base.progress import Progress, silent
from snnq.bench.timing import Findings, machine, median_ratio, time_in_turns
from snnq.checkpoints.opening import Checkpoint, load_model, open_checkpoint
from snnq.checkpoints.sizes import Given
from snnq.cost.table import DEFAULT_TABLE, read_table
from snnq.network.layers import forward_macs, frames_shape, layer_table
from snnq.searching.bilevel import Bilevel
from snnq.searching.constraints import resolve
from snnq.searching.mixture import BranchNet, sample
from snnq.searching.objective import objective
from snnq.searching.settings import SearchSettings
from snnq.training.devices import Compute, as_compute, start_fabric
from snnq.training.loop import Position
from snnq.training.seeding import generator
from snnq.training.threads import keeps_threads, use_threads


class _Batch:
    """The same random counts whatever is asked for: timing does not depend on what they show."""

    def __init__(self, shape: tuple[int, ...], size: int, classes: int) -> None:
        draw = generator(0, "bench")
        self.frames = torch.poisson(torch.full((size, *shape), 0.4), generator=draw)
        self.labels = torch.randint(0, classes, (size,), generator=draw)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitems__(self, indices: object, /) -> tuple[torch.Tensor, torch.Tensor]:
        return self.frames, self.labels


@keeps_threads
def bench_search(
    checkpoint: str | Path = "digits",
    *,
    batch_size: int = 64,
    repeats: int = 15,
    compute: Compute | str = "auto",
    progress: Progress = silent,
    **given: Unpack[Given],
) -> Findings:
    """Time one step of each kind in turns and return medians in ms and the ratios.

    ``composite_over_float``: the mean search step, weight and architecture steps and refreshed scales mixed as the
    search mixes them, against a float training step on the same batch. ``branches_over_composite``: the weight step
    in the K-branch form against the composite one.
    """
    settings, opened = SearchSettings(batch_size=batch_size), open_checkpoint(checkpoint, **given)
    contestants = _contestants(opened, settings, start_fabric(compute), as_compute(compute))
    seconds = time_in_turns(contestants, repeats, progress=progress, stage="timing search steps")
    parts = zip(seconds["weights"], seconds["architecture"], seconds["refresh"], strict=True)
    mixed = [_mean_step(settings, *times) for times in parts]
    return {
        "composite_over_float": median_ratio(mixed, seconds["float"]),
        "branches_over_composite": median_ratio(seconds["branches"], seconds["weights"]),
        "weight_step_over_float": median_ratio(seconds["weights"], seconds["float"]),
        "architecture_step_over_float": median_ratio(seconds["architecture"], seconds["float"]),
        "median_ms": {name: 1000 * statistics.median(times) for name, times in seconds.items()},
        "batch_size": batch_size,
        "repeats": repeats,
        "candidates": list(settings.space),
        "machine": machine(),
    }


def _contestants(
    opened: Checkpoint, settings: SearchSettings, fabric: Fabric, compute: Compute
) -> dict[str, Callable[[], object]]:
    """Return the steps to be timed; each returns when the device is done."""
    shape = frames_shape(opened.config)
    batch = _Batch(shape, settings.batch_size, opened.config["classes"])
    layers = layer_table(load_model(opened), shape)
    names = [layer.name for layer in layers]
    use_threads(compute, forward_macs(layers, shape[0], settings.batch_size))
    aim = objective(resolve(layers, settings.space, settings.constraints), settings, read_table(DEFAULT_TABLE))
    search = Bilevel(fabric, load_model(opened), aim, batch, batch, settings, total_steps=10_000)
    branches = BranchNet(load_model(opened), names, settings.space).train()
    shares = sample(torch.zeros(len(names), len(settings.space)), 1.0, generator(0, "shares"), one_hot=False)
    place, indices = Position(0, 0, 0), list(range(settings.batch_size))
    return {
        "float": _training_step(fabric, load_model(opened).train(), batch),
        "weights": lambda: float(search.weight_step(place, indices)),
        "architecture": lambda: float(search.architecture_step(place)),
        "refresh": search.supernet.refresh,
        "branches": _training_step(fabric, branches, batch, shares),
    }


def _mean_step(settings: SearchSettings, weights: float, architecture: float, refresh: float) -> float:
    """Return the mean time of a step over ``refresh_every`` weight steps, the architecture steps among them counted."""
    extra = settings.refresh_every / settings.architecture_every
    whole = settings.refresh_every * weights + extra * architecture + refresh
    return whole / (settings.refresh_every + extra)


def _training_step(fabric: Fabric, network: nn.Module, batch: _Batch, *extra: torch.Tensor) -> Callable[[], object]:
    """Return a plain training step, batch to the device to AdamW; it returns when the device is done."""
    network = fabric.to_device(network)
    shares = [one.to(fabric.device) for one in extra]
    optimizer = torch.optim.AdamW(network.parameters())

    def step() -> float:
        frames, labels = batch.frames.to(fabric.device), batch.labels.to(fabric.device)
        loss = F.cross_entropy(network(frames, *shares), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step
