"""``snnq.profile``: how often each neuron fires in all steps of a sample: never, once, more; and how dense spikes are.

Hardware that packs the T spikes of a neuron in one word stores and reads none for a silent one (LoAS, Yin et al. 2024):
what counts there is not how dense spikes are, but how many neurons stay silent for a whole sample.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Unpack

import torch
from torch import Tensor, nn

from snnq.arithmetic.whole_modules import WHOLE_NEURONS
from snnq.assessing import counting
from snnq.assessing.subject import check_split, open_subject
from snnq.base.errors import UsageError
from snnq.base.progress import Progress, silent
from snnq.base.strict_json import Json
from snnq.checkpoints.sizes import Given
from snnq.data.dataset import DataSet
from snnq.network.layers import forward_macs
from snnq.network.neurons import is_neuron
from snnq.network.tracing import seeing
from snnq.training.devices import Compute, as_compute, placed, start_fabric
from snnq.training.finite import FiniteWatch
from snnq.training.threads import keeps_threads, use_threads

COLUMNS = ("neurons behind", "neurons", "spikes a step", "silent", "fire once")


@dataclass(frozen=True)
class Firing:
    """The neurons behind one module path: of ``neurons``, the mean share over samples that fire 0, 1, 2 … times.

    ``shares`` are from 0 to 1 and add up to 1: one number more than the steps that they run in. ``steps`` are these; of
    several paths, the mean over their neurons.
    """

    name: str
    neurons: int
    shares: tuple[float, ...]
    steps: float

    @property
    def silent(self) -> float:
        """The share of neurons that do not fire in any step of a sample."""
        return self.shares[0]

    @property
    def once(self) -> float:
        """The share of neurons that fire in exactly one step of a sample."""
        return self.shares[1]

    @property
    def density(self) -> float:
        """Spikes a neuron and step."""
        return sum(times * share for times, share in enumerate(self.shares)) / self.steps

    def to_dict(self) -> Json:
        """Return plain data."""
        parts = {"density": self.density, "silent": self.silent, "once": self.once}
        return {"name": self.name, "neurons": self.neurons, **parts, "shares": list(self.shares)}


@dataclass(frozen=True)
class Profile:
    """How often the neurons of a model fire in ``samples`` samples of ``steps`` steps, in the order they run.

    The spiking part of a video network runs in fewer: in all segments of a clip, but not at their key frames.
    """

    path: str
    kind: str
    data: str
    split: str
    samples: int
    steps: int
    layers: tuple[Firing, ...]

    @property
    def whole(self) -> Firing:
        """All neurons together."""
        return together(self.layers)

    def to_dict(self) -> Json:
        """Return plain data."""
        facts = {name: getattr(self, name) for name in ("path", "kind", "data", "split", "samples", "steps")}
        return {**facts, "layers": [one.to_dict() for one in self.layers], "all": self.whole.to_dict()}

    def rows(self) -> list[tuple[str, ...]]:
        """Return a row of ``COLUMNS`` for every layer of neurons, and one of all."""
        return [
            (one.name, f"{one.neurons:,}", f"{one.density:.4f}", f"{one.silent:.2%}", f"{one.once:.2%}")
            for one in (*self.layers, self.whole)
        ]


def together(layers: tuple[Firing, ...]) -> Firing:
    """Return all neurons as one layer, each counted alike."""
    neurons = sum(one.neurons for one in layers)
    columns = zip_longest(*([share * one.neurons / neurons for share in one.shares] for one in layers), fillvalue=0.0)
    return Firing("all", neurons, tuple(map(sum, columns)), sum(one.neurons * one.steps for one in layers) / neurons)


@keeps_threads
def profile(
    path: str | Path = "packed",
    *,
    data: str | None = None,
    split: str = "validation",
    samples: int = 64,
    compute: Compute | str = "auto",
    progress: Progress = silent,
    **given: Unpack[Given],
) -> Profile:
    """Run a packed folder or a float checkpoint on real inputs, and return how often its neurons fire.

    ``samples`` of ``split``, spread evenly, are run one by one; ``given`` are sizes that a checkpoint cannot tell.
    Raises UsageError for an unknown split, no samples, and a model without neurons, and what opening raises.
    """
    check_split(split)
    if samples < 1:
        raise UsageError(f"--samples {samples}: at least 1 is needed")
    subject = open_subject(path, **given)
    found, model = subject.data(data, progress), subject.model()
    compute = as_compute(compute)
    use_threads(compute, forward_macs(subject.layers(model), found.frames_shape[0], 1))
    model = placed(model, start_fabric(compute).device)
    count, layers = firing_of(model, found, split, samples, progress)
    return Profile(str(path), subject.kind, found.spec, split, count, found.frames_shape[0], layers)


@torch.no_grad()
def firing_of(
    model: nn.Module, data: DataSet, split: str, samples: int, progress: Progress = silent
) -> tuple[int, tuple[Firing, ...]]:
    """Return how many samples were run, at most ``samples``, and how often the neurons of a model fire in them."""
    frames, steps = getattr(data, split), data.frames_shape[0]
    count, was_training = min(samples, len(frames)), model.training
    device = next(iter((*model.parameters(), *model.buffers())), torch.empty(0)).device
    model.eval()
    try:
        with FiniteWatch(model, "profiling") as finite, _counting(model, steps) as counts:
            for number in range(count):
                finite.note("the logits", model(frames.__getitems__([number * len(frames) // count])[0].to(device)))
                for one in counts.values():
                    one.close()
                finite.close(f"sample {number + 1}")
                progress("profiling", number + 1, count)
            finite.check(alone=True)
    finally:
        model.train(was_training)
    if not counts:
        raise UsageError("the model has no spiking neurons that ran: there is nothing to profile")
    return count, tuple(one.firing(name, count) for name, one in counts.items())


@dataclass
class _Count:
    """How many neurons fired 0, 1, 2 … times, over all samples; ``open`` are the spikes of one that is under way."""

    steps: int
    times: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    open: Tensor | None = None
    seen: int = 0

    def add(self, spikes: Tensor) -> None:
        """Take spikes (t, …) of some of the steps; what comes after the last of them is of other neurons."""
        fired = (spikes != 0).flatten(1).sum(0)
        self.open = fired if self.open is None else self.open + fired
        self.seen += len(spikes)
        if self.seen == self.steps:
            self.close()

    def close(self) -> None:
        """End a sample: not all neurons run in all its steps."""
        if self.open is not None:
            found = torch.bincount(self.open, minlength=max(self.seen + 1, len(self.times))).cpu()
            self.times = found + nn.functional.pad(self.times, (0, len(found) - len(self.times)))
            self.open, self.seen = None, 0

    def firing(self, name: str, samples: int) -> Firing:
        """Return it as shares."""
        total = int(self.times.sum())
        return Firing(name, total // samples, tuple(int(one) / total for one in self.times), len(self.times) - 1)


@contextmanager
def _counting(model: nn.Module, steps: int) -> Iterator[dict[str, _Count]]:
    """Give the counts of a model's neurons by path, in the order they run."""
    counts: dict[str, _Count] = {}
    runs = getattr(model, "runs", ())

    def see(name: str, node: nn.Module, given: tuple[Tensor, ...], output: object) -> None:
        if isinstance(output, Tensor):
            all_steps = getattr(node, "step_mode", "m") == "m"
            spikes = counting.in_runs(output, runs) if all_steps else output.unsqueeze(0)
            counts.setdefault(name, _Count(steps)).add(spikes)

    nodes = {name: one for name, one in model.named_modules() if is_neuron(one) or isinstance(one, WHOLE_NEURONS)}
    with seeing(nodes, see):
        yield counts
