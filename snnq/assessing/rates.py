"""How often each group of neurons fires in each sample and step; and a model's rate card."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from snnq.assessing.measure import spread
from snnq.base.errors import OutputExistsError, UsageError
from snnq.base.files import write_atomic
from snnq.base.progress import Progress, silent
from snnq.base.version import __version__
from snnq.checkpoints.opening import Checkpoint, load_model
from snnq.cost.rate_card import NeuronRates, RateCard
from snnq.data.dataset import DataSet, Frames
from snnq.network.layers import frames_shape
from snnq.network.tracing import neurons_of, seeing
from snnq.training.finite import FiniteWatch

SAMPLES = 256
_BATCH = 32
_SPLIT = "train"


@torch.no_grad()
def neuron_rates(model: nn.Module, frames: Tensor) -> dict[str, Tensor]:
    """Return, by path, the share of neurons that fire in each sample at each step, float64 (B, T) from 0 to 1.

    ``frames`` are (B, T, C, H, W); ``model`` is in evaluation mode. Neurons that are called more than once a step give
    the mean of their calls.
    """
    samples, steps = frames.shape[:2]
    calls: dict[str, list[Tensor]] = {}

    def see(name: str, node: nn.Module, given: tuple[Tensor, ...], output: object) -> None:
        if isinstance(output, Tensor):
            spikes = output if getattr(node, "step_mode", "m") == "m" else output.unsqueeze(0)
            calls.setdefault(name, []).append((spikes != 0).flatten(2).double().mean(2))

    with seeing(neurons_of(model), see):
        model(frames)
    return {name: _by_step(name, found, steps, samples) for name, found in calls.items()}


def _by_step(name: str, calls: list[Tensor], steps: int, samples: int) -> Tensor:
    """Return shares (B, T) of calls that are (t, B) each: whole runs, or single steps in their order."""
    found = torch.cat(calls).cpu()
    if len(found) % steps or found.shape[1] != samples:
        raise UsageError(f"neurons '{name}' do not run step by step on whole batches: their rates are not known")
    return found.view(-1, steps, samples).mean(0).T if len(calls[0]) == steps else _single(found, steps)


def _single(found: Tensor, steps: int) -> Tensor:
    """Return shares (B, T) of single steps; several calls at each step stand side by side."""
    return found.view(steps, -1, found.shape[1]).mean(1).T


def _batches(frames: Frames, chosen: list[int]) -> Iterator[Tensor]:
    for start in range(0, len(chosen), _BATCH):
        yield frames.__getitems__(chosen[start : start + _BATCH])[0]


def rate_card(opened: Checkpoint, data: DataSet, samples: int = SAMPLES, progress: Progress = silent) -> RateCard:
    """Return the card of a float checkpoint on ``samples`` training samples, spread evenly; no label is looked at.

    Raises UsageError for a model without neurons, and NotFiniteError.
    """
    model, chosen = load_model(opened), list(spread(data, _SPLIT, samples))
    sums: dict[str, Tensor] = {}
    neurons: dict[str, int] = _counts(model, data)
    with FiniteWatch(model, "measuring rates") as finite:
        for number, frames in enumerate(_batches(data.train, chosen), start=1):
            for name, rates in neuron_rates(model, frames).items():
                sums[name] = sums.get(name, torch.zeros(rates.shape[1], dtype=torch.float64)) + rates.sum(0)
            finite.close(f"batch {number}")
            progress("measuring rates", min(number * _BATCH, len(chosen)), len(chosen))
        finite.check()
    if not sums:
        raise UsageError(f"{opened.path}: the model has no spiking neurons that ran: it has no rates")
    means = {name: tuple((total / len(chosen)).clamp(0, 1).tolist()) for name, total in sums.items()}
    return RateCard(
        tool=f"snnq {__version__}",
        checkpoint_sha256=opened.sha256,
        data=data.spec,
        split=_SPLIT,
        samples=len(chosen),
        neurons=tuple(NeuronRates(name=name, neurons=neurons[name], rates=one) for name, one in means.items()),
    )


@torch.no_grad()
def _counts(model: nn.Module, data: DataSet) -> dict[str, int]:
    """Return how many neurons are behind each path, from one sample."""
    found: dict[str, int] = {}

    def see(name: str, node: nn.Module, given: tuple[Tensor, ...], output: object) -> None:
        if isinstance(output, Tensor):
            found[name] = output[0].numel() if getattr(node, "step_mode", "m") == "m" else output.numel()

    with seeing(neurons_of(model), see):
        model(data.train.__getitems__([0])[0])
    return found


def write_card(
    opened: Checkpoint, spec: str | None, out: Path, force: bool = False, progress: Progress = silent
) -> RateCard:
    """Measure a checkpoint's card on the data it names, or on ``spec``, and write it.

    Raises OutputExistsError, UsageError where no data is named, and what opening raises.
    """
    from snnq.data import open_data
    from snnq.training.job import check_fit

    if out.exists() and not force:
        raise OutputExistsError(f"{out} is already there", "add --force to overwrite it, or name another file")
    chosen = spec or opened.data
    if chosen is None:
        raise UsageError(f"{opened.path} does not say what it was trained on", "name the data: --data SPEC")
    shape = frames_shape(opened.config)
    data = open_data(chosen, steps=shape[0], image_size=shape[2:], progress=progress)
    check_fit(data, opened.config)
    card = rate_card(opened, data, progress=progress)
    write_atomic(out, card.model_dump_json(indent=1) + "\n")
    return card
