"""Augmentations of event frames by name, as in ``flip,snn-wide,mixup:alpha=0.5:until=0.7``.

A name may be followed by its parameters, each as ``:key=value``; they act in the order given, on a global batch of
frames (B, T, C, H, W) before the processes share it out. They draw on the CPU, from one generator: what comes out
depends on the place in the run alone. Those up to the last that can work on the CPU only act there, the others on the
device. A sample is changed alike in all its time steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from snnq.base.errors import UsageError, nearest
from snnq.data.dataset import DataSet
from snnq.training import processes
from snnq.training.batches import SplitSamples
from snnq.training.snn_wide import SnnWide
from snnq.training.transfers import moved


@dataclass(frozen=True)
class Flip:
    """Left and right exchanged, with ``probability`` for each sample."""

    probability: float = 0.5

    def __post_init__(self) -> None:
        _require(0 <= self.probability <= 1, "probability", self.probability, "between 0 and 1")

    def __call__(self, frames: Tensor, draw: torch.Generator) -> Tensor:
        """Return new frames (B, T, C, H, W)."""
        flipped = torch.rand(len(frames), 1, 1, 1, 1, generator=draw) < self.probability
        return torch.where(moved(flipped, frames.device), frames.flip(-1), frames)


@dataclass(frozen=True)
class Shift:
    """Each sample moved by up to ``pixels`` in both directions, zeros moved in."""

    pixels: int = 1

    def __post_init__(self) -> None:
        _require(self.pixels >= 0, "pixels", self.pixels, "0 or more")

    def __call__(self, frames: Tensor, draw: torch.Generator) -> Tensor:
        """Return new frames (B, T, C, H, W)."""
        height, width = frames.shape[-2:]
        padded = F.pad(frames, (self.pixels,) * 4)
        moves = torch.randint(0, 2 * self.pixels + 1, (len(frames), 2), generator=draw).tolist()
        return torch.stack([one[..., y : y + height, x : x + width] for one, (y, x) in zip(padded, moves, strict=True)])


@dataclass(frozen=True)
class Thin:
    """Up to the share ``most`` of each sample's events lost at random; for frames of whole counts on the CPU."""

    most: float = 0.3

    def __post_init__(self) -> None:
        _require(0 <= self.most <= 1, "most", self.most, "between 0 and 1")

    def __call__(self, frames: Tensor, draw: torch.Generator) -> Tensor:
        """Return new counts (B, T, C, H, W)."""
        kept = 1 - self.most * torch.rand(len(frames), 1, 1, 1, 1, generator=draw)
        return torch.binomial(frames, kept.expand_as(frames), generator=draw)


@dataclass(frozen=True)
class Mixup:
    """A batch mixed with itself in reverse order, with ``probability`` for each batch.

    x = λ · x + (1 − λ) · reversed(x), and the one-hot labels likewise; λ ~ Beta(``alpha``, ``alpha``), one a batch.
    It ends after the share ``until`` of the epochs. Source: Zhang et al. 2018, and timm's ``Mixup`` in its batch mode.
    """

    alpha: float = 0.5
    probability: float = 0.5
    until: float = 1.0

    def __post_init__(self) -> None:
        _require(0 < self.alpha <= 1000, "alpha", self.alpha, "greater than 0, and 1000 at most")
        _require(0 <= self.probability <= 1, "probability", self.probability, "between 0 and 1")
        _require(0 <= self.until <= 1, "until", self.until, "between 0 and 1")

    def share(self, draw: torch.Generator) -> float:
        """Return λ; 1 for a batch that is not mixed."""
        if float(torch.rand((), generator=draw)) >= self.probability:
            return 1.0
        seed = int(torch.randint(2**62, (), generator=draw))  # torch's own Beta takes no generator
        return float(np.random.default_rng(seed).beta(self.alpha, self.alpha))


Change = Flip | Shift | Thin | SnnWide | Mixup
CHANGES: dict[str, type[Change]] = {"flip": Flip, "shift": Shift, "thin": Thin, "snn-wide": SnnWide, "mixup": Mixup}


def parse_changes(text: str) -> tuple[Change, ...]:
    """Return the augmentations that a text names; none for an empty one.

    Raises ``UsageError`` for an unknown name or parameter (saying the nearest one), a value that cannot be used, a name
    given twice, or a mixup that is not the last.
    """
    words = [word.strip() for word in text.split(",")] if text.strip() else []
    changes = tuple(_parse(word) for word in words)
    for i, change in enumerate(changes):
        if type(change) in map(type, changes[:i]):
            raise UsageError(f"--augment {text}: '{_name(change)}' is given twice")
        if isinstance(change, Mixup) and i < len(changes) - 1:
            raise UsageError(f"--augment {text}: mixup must come last, for it makes counts into fractions")
    return changes


def check_changes(text: str, data: DataSet) -> None:
    """Raise ``UsageError`` for an augmentation that these data cannot have: images lose no events."""
    if data.pixels is not None and any(isinstance(change, Thin) for change in parse_changes(text)):
        raise UsageError(f"--augment {text}: 'thin' loses events, and {data.spec} are images", "leave 'thin' away")


def changes_text(changes: Sequence[Change]) -> str:
    """Return the text of augmentations, with those parameters that are not as usual; ``parse_changes`` reads it."""
    return ",".join(":".join([_name(change), *_unusual(change)]) for change in changes)


def mix(frames: Tensor, labels: Tensor, share: float, classes: int) -> tuple[Tensor, Tensor]:
    """Return ``share`` · batch + (1 − ``share``) · batch in reverse order: frames, and targets (B, classes)."""
    # Not by one_hot, which waits for the device to check the labels.
    targets = torch.eye(classes, dtype=frames.dtype, device=labels.device)[labels]
    mixed, targets = (share * one + (1 - share) * one.flip(0) for one in (frames, targets))
    return mixed, targets


def augment(
    frames: Tensor, labels: Tensor, changes: Sequence[Change], *, classes: int, along: float, draw: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return a global batch of frames (B, T, C, H, W) with its targets: labels (B,), or shares (B, classes) if mixed.

    ``along`` is the share of the run's epochs that are over.
    """
    targets = labels
    for change in changes:
        if not isinstance(change, Mixup):
            frames = change(frames, draw)
        elif (share := change.share(draw) if along < change.until else 1.0) < 1:
            frames, targets = mix(frames, labels, share, classes)
    return frames, targets


def training_share(
    samples: SplitSamples,
    indices: list[int],
    changes: Sequence[Change],
    *,
    classes: int,
    along: float,
    draw: torch.Generator,
    device: torch.device,
) -> tuple[Tensor, Tensor, list[int]]:
    """Return this process' share of a global batch: frames and targets (see ``augment``), on ``device``; indices."""
    mine = processes.shard(range(len(indices)))
    own = [indices[i] for i in mine]
    if not changes:
        frames, labels = samples.__getitems__(own)
        return moved(frames, device), moved(labels, device), own
    frames, labels = samples.__getitems__(indices)
    on_host = max((i + 1 for i, change in enumerate(changes) if isinstance(change, Thin)), default=0)
    # Augmented as one batch and shared out then: the numbers drawn do not depend on the processes.
    frames, _ = augment(frames, labels, changes[:on_host], classes=classes, along=along, draw=draw)
    frames, labels = moved(frames, device), moved(labels, device)
    frames, targets = augment(frames, labels, changes[on_host:], classes=classes, along=along, draw=draw)
    share = slice(processes.rank(), None, processes.count())
    return frames[share], targets[share], own


def _parse(word: str) -> Change:
    name, *pairs = (part.strip() for part in word.split(":"))
    if name not in CHANGES:
        guess = nearest(name.split("=")[0], CHANGES)
        raise UsageError(
            f"--augment: found '{name}', allowed are {', '.join(CHANGES)}{guess}",
            "parameters follow a colon, as in flip,mixup:alpha=0.5:until=0.7",
        )
    known = {field.name: type(field.default) for field in fields(CHANGES[name])}
    given: dict[str, float] = {}
    for pair in pairs:
        key, _, value = (part.strip() for part in pair.partition("="))
        if key not in known:
            allowed = f"it takes {', '.join(known)}{nearest(key, known)}" if known else "it takes none"
            raise UsageError(f"--augment {word}: '{name}' has no parameter '{key}', {allowed}")
        if key in given:
            raise UsageError(f"--augment {word}: '{key}' is given twice")
        given[key] = _number(word, key, value, known[key])
    return replace(CHANGES[name](), **given)


def _number(word: str, key: str, text: str, kind: type) -> float | int:
    try:
        return kind(text)
    except ValueError:
        wanted = "a whole number" if kind is int else "a number"
        raise UsageError(f"--augment {word}: {key} is '{text}', it must be {wanted}") from None


def _name(change: Change) -> str:
    return next(name for name, kind in CHANGES.items() if kind is type(change))


def _unusual(change: Change) -> list[str]:
    values = [(field.name, getattr(change, field.name), field.default) for field in fields(change)]
    return [f"{name}={value!r}".removesuffix(".0") for name, value, usual in values if value != usual]


def _require(sound: bool, key: str, value: float, allowed: str) -> None:
    """Raise UsageError unless ``sound``; a value that is no number never is."""
    if not sound:
        raise UsageError(f"--augment: {key} is {value}, it must be {allowed}")
