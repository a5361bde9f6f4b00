"""Epochs of steps that can be cut off anywhere and go on to the same result.

Everything random is drawn from the place in the run (``seeding``), so the state is: the modules' and optimizers'
state, the epoch, the step in it, and the history. It is saved after every epoch and every ``SAVE_SECONDS`` between.
Of several processes the first one writes and all read, so the run folder must lie where all see it; how many there are
is no part of the state.

Steps may return scalars that are still being computed on a device. The host waits for them only where numbers are shown
or saved: every ``READ_SECONDS``.
"""

from __future__ import annotations

import logging
import math
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from snnq.base.errors import InterruptedRun, RunChangedError
from snnq.base.files import open_regular
from snnq.base.progress import Progress, silent
from snnq.base.strict_json import Config, Json
from snnq.base.validation import require_finite
from snnq.training import processes
from snnq.training.finite import require_finite_model
from snnq.training.run_folder import RunFolder
from snnq.training.seeding import place_seed
from snnq.training.transfers import fetched

SAVE_SECONDS, READ_SECONDS = 120.0, 0.5
# What a step returns, some of it still on a device; and what is shown of a run as it stands.
Numbers = Mapping[str, float | Tensor]
Status = dict[str, float | int | str]

log = logging.getLogger(__name__)


class Stateful(Protocol):
    """What can be saved with a run: modules, optimizers, ``Best``."""

    def state_dict(self) -> Json:
        """Return tensors, numbers, strings, lists and dicts."""
        ...

    def load_state_dict(self, state: Json, /) -> object:
        """Take the state back."""


class Best:
    """The best state so far by a score (higher is better; the earlier one wins a tie)."""

    def __init__(self) -> None:
        self.score: tuple[float, ...] | None = None
        self.epoch = -1
        self.state: Json = {}

    def offer(self, score: tuple[float, ...], epoch: int, module: torch.nn.Module) -> bool:
        """Keep a copy of the module's state if the score is better; return whether it was."""
        if self.score is not None and score <= self.score:
            return False
        self.score, self.epoch = score, epoch
        self.state = {name: value.detach().clone() for name, value in module.state_dict().items()}
        return True

    def state_dict(self) -> Json:
        """Return score, epoch and the kept state."""
        return {"score": list(self.score) if self.score else None, "epoch": self.epoch, "state": self.state}

    def load_state_dict(self, state: Json) -> None:
        """Take back what ``state_dict`` gave."""
        self.score = tuple(map(float, state["score"])) if state["score"] else None
        self.epoch, self.state = int(state["epoch"]), dict(state["state"])


@dataclass(frozen=True)
class Position:
    """Where a run is: ``epoch`` and ``step`` in it are 0-based, ``overall`` counts steps from the start."""

    epoch: int
    step: int
    overall: int


class _Sums:
    """What an epoch's steps returned: ``sums`` of what was read, and what was not read yet."""

    def __init__(self, sums: dict[str, float]) -> None:
        self.sums = sums
        self.unread: list[Numbers] = []

    def add(self, facts: Numbers) -> None:
        """Take what a step returned."""
        self.unread.append(facts)

    def read(self) -> None:
        """Wait for the numbers that are not read yet, and add up their means over the processes, step by step."""
        names = [name for facts in self.unread for name in facts]
        own = fetched([value for facts in self.unread for value in facts.values()])
        for name, value in zip(names, processes.mean_numbers(own), strict=True):
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.unread = []


@dataclass
class _Run:
    """A run under way: what it is called where it is shown, what is saved with it, and its numbers so far."""

    folder: RunFolder
    stateful: Mapping[str, Stateful]
    stage: str
    unit: str
    epochs: int
    check: Callable[[], None]
    progress: Progress
    history: list[Json]
    facts: _Sums
    seed: int = field(default_factory=torch.initial_seed)

    def where(self, epoch: int) -> str:
        return f"{self.stage}, {self.unit} {epoch + 1}"

    def steps(
        self,
        epoch: int,
        order: Sequence[list[int]],
        first: int,
        step: Callable[[Position, list[int]], Numbers],
        status: Callable[[], Status],
        interrupted: Callable[[], bool],
    ) -> None:
        """Run an epoch's steps from the ``first`` on; show and save what is due between them."""
        saved, read = time.monotonic(), -math.inf
        shown: Status = {}
        for i in range(first, len(order)):
            place = Position(epoch, i, epoch * len(order) + i)
            # What a model draws itself, as dropout does, belongs to its place in the run, too.
            torch.manual_seed(place_seed(self.seed, "step", place.overall))
            self.facts.add(step(place, order[i]))
            now = time.monotonic()
            flags = (interrupted(), now - saved > SAVE_SECONDS, now - read > READ_SECONDS or i + 1 == len(order))
            stop, late, due = processes.any_of(*flags)
            if stop or late or due:
                shown = self._means(epoch, i + 1) | status()
                read = time.monotonic()
            count = {self.unit: f"{epoch + 1}/{self.epochs}"}
            self.progress(self.stage, place.overall + 1, self.epochs * len(order), **count, **shown)
            if stop or late:
                _require_finite(self.stateful, self.facts.sums, self.where(epoch))
                self._save(epoch, i + 1)
                saved = time.monotonic()
            if stop:
                said = f"stopped by Ctrl-C; {self.folder.path} is saved"
                raise InterruptedRun(said, "the same command goes on from here")

    def close(self, epoch: int, steps: int, after_epoch: Callable[[int], Json]) -> None:
        """End an epoch: write its line, and save the state that the next one begins with."""
        line = {"epoch": epoch + 1, **{name: value / steps for name, value in self.facts.sums.items()}}
        self.history.append(line | after_epoch(epoch))
        self.check()
        _require_finite(self.stateful, self.history[-1], self.where(epoch))
        self.facts.sums.clear()
        self._save(epoch + 1, 0)

    def _means(self, epoch: int, steps: int) -> dict[str, float]:
        self.facts.read()
        self.check()
        require_finite(self.facts.sums, f"{self.where(epoch)}, by step {steps}")
        return {name: value / steps for name, value in self.facts.sums.items()}

    def _save(self, epoch: int, step: int) -> None:
        state = {"epoch": epoch, "step": step, "history": self.history, "sums": self.facts.sums}
        saved = {"loop": state, "parts": {name: part.state_dict() for name, part in self.stateful.items()}}
        write = partial(torch.save, saved)
        processes.on_first(lambda: self.folder.write_state(write, self.history))


def run_epochs(
    run: RunFolder,
    stateful: Mapping[str, Stateful],
    *,
    stage: str,
    epochs: int,
    batches: Callable[[int], Sequence[list[int]]],
    step: Callable[[Position, list[int]], Numbers],
    after_epoch: Callable[[int], Json],
    status: Callable[[], Status] = dict,
    unit: str = "epoch",
    check: Callable[[], None] = lambda: None,
    progress: Progress = silent,
) -> list[Json]:
    """Run or resume the epochs; return the history, one dict an epoch.

    ``batches(epoch)`` gives the sample indices of every step's global batch, as many in each epoch; ``step`` takes its
    process' share of them and returns numbers, or scalars on a device, that are averaged over the processes and over
    the epoch; ``after_epoch`` returns facts that are added to the epoch's history line; ``status`` returns facts worth
    showing as they stand, and is asked when numbers are read. ``unit`` is what one of the ``epochs`` is called where
    progress is shown. ``check`` raises where a number is not finite, and is called before any is shown or saved.

    Raises InterruptedRun after Ctrl-C, when the state is saved, NotFiniteError for numbers that are not finite: no such
    number is ever saved, or gone on from.
    """
    state = _load(run.state_path, stateful, epochs)
    _require_finite(stateful, state, str(run.state_path))
    begun, first = state["epoch"], state["step"]
    if begun or first:
        log.info("%s goes on in %s: %s %s of %s", stage, run.path, unit, min(begun + 1, epochs), epochs)
    facts = _Sums(state["sums"])
    under_way = _Run(run, stateful, stage, unit, epochs, check, progress, state["history"], facts)
    with _interrupt_flag() as interrupted:
        for epoch in range(begun, epochs):
            order = batches(epoch)
            under_way.steps(epoch, order, first if epoch == begun else 0, step, status, interrupted)
            under_way.close(epoch, len(order), after_epoch)
    return under_way.history


def _require_finite(stateful: Mapping[str, Stateful], facts: object, where: str) -> None:
    """Raise NotFiniteError where facts, or weights and statistics of the trained modules, are not finite."""
    require_finite(facts, where)
    for part in stateful.values():
        # What has no parameters may hold infinities of its own: the logarithm of a price of 0.
        if isinstance(part, torch.nn.Module) and any(True for _ in part.parameters()):
            require_finite_model(part, where)


def _load(path: Path, stateful: Mapping[str, Stateful], epochs: int) -> Json:
    if not os.path.lexists(path):
        return {"epoch": 0, "step": 0, "history": [], "sums": {}}
    try:
        with open_regular(path) as stream:
            saved = torch.load(stream, weights_only=True, map_location="cpu")
        for name, part in stateful.items():
            form = _form_of(part)
            part.load_state_dict(saved["parts"][name])
            if form != _form_of(part):
                raise ValueError(f"'{name}' is of another shape")
        _check_best(stateful)
        return _checked(saved["loop"], epochs)
    except Exception as problem:  # a damaged or foreign file makes torch and its optimizers raise nearly anything
        said = getattr(problem, "strerror", None) or (str(problem).splitlines() or [""])[0] or type(problem).__name__
        if isinstance(problem, pickle.UnpicklingError):  # torch's words there are about its options, not the file
            said = "it is damaged, or holds something else than tensors and plain values; nothing of it was run"
        raise RunChangedError(f"{path} cannot be read: {said}", "type --force to start the run anew") from None


def _form_of(part: Stateful) -> list[dict[str, type]] | None:
    """Return what of a part's state must not change when it is loaded, as far as the part itself does not see to it."""
    if not isinstance(part, torch.optim.Optimizer):
        return None
    for parameter, state in part.state.items():
        for key, value in state.items():
            if isinstance(value, torch.Tensor) and value.numel() != 1 and value.shape != parameter.shape:
                raise ValueError(f"'{key}' of an optimizer has shape {list(value.shape)}, not {list(parameter.shape)}")
        if {"step", "exp_avg", "exp_avg_sq"} - state.keys():
            raise ValueError("the state of an optimizer is not whole")
    return [{key: type(value) for key, value in group.items()} for group in part.param_groups]


def _check_best(stateful: Mapping[str, Stateful]) -> None:
    """Raise ValueError unless the best state is one of a module that is saved beside it."""

    def shapes(state: Config) -> dict[str, object]:
        return {name: getattr(value, "shape", None) for name, value in state.items()}

    modules = [shapes(part.state_dict()) for part in stateful.values() if isinstance(part, torch.nn.Module)]
    for part in stateful.values():
        if isinstance(part, Best) and part.state and shapes(part.state) not in modules:
            raise ValueError("its best epoch is of another model")


def _checked(state: Json, epochs: int) -> Json:
    """Return where the run is; raises ValueError, KeyError or TypeError where it cannot be there."""
    epoch, step, history, sums = (state[key] for key in ("epoch", "step", "history", "sums"))
    whole = all(type(number) is int and number >= 0 for number in (epoch, step))
    lines = isinstance(history, list) and all(isinstance(line, dict) for line in history)
    if not whole or not lines or epoch > epochs or len(history) != epoch or not isinstance(sums, dict):
        raise ValueError(f"it is no state of a run of {epochs} epochs")
    return state


@contextmanager
def _interrupt_flag() -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C into a flag that is looked at between steps; the second one interrupts at once."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    asked = threading.Event()

    def handler(number: int, frame: object) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    before = signal.signal(signal.SIGINT, handler)
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGINT, before)
