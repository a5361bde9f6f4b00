"""Numbers that are not finite stop a run: losses, currents of neurons, weights and the norms' statistics.

A neuron's threshold hides them: NaN ≥ θ is false, so a network of broken currents goes on as a silent one. They are
looked for where they arise, and on the device: nothing waits for it until ``check`` is called, where numbers are shown
or saved; what is then named is the first step at which something broke, and the first neuron in that step.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from snnq.base.errors import NotFiniteError
from snnq.network.neurons import is_neuron
from snnq.training import processes


class FiniteWatch:
    """While entered, notes the first step at which a current of a model's neurons, or a loss, is not finite.

    ``where`` names the work in messages. A step ends with ``close``.
    """

    def __init__(self, model: nn.Module, where: str) -> None:
        self.model, self.where = model, where
        self.steps: list[str] = []
        self.names: tuple[str, ...] = ()
        self.reach: dict[str, Tensor] = {}  # the largest current of the step, by what it goes to
        self.broken: tuple[Tensor, Tensor] | None = None  # by name: the first step at which it broke, and its value
        self.earlier: str | None = None  # what was broken while other names were called
        self.hooks: list[RemovableHandle] = []

    def __enter__(self) -> FiniteWatch:
        for name, module in self.model.named_modules():
            if is_neuron(module):
                self.hooks.append(module.register_forward_pre_hook(self._hook(f"the current of neurons '{name}'")))
        return self

    def __exit__(self, *problem: object) -> None:
        for hook in self.hooks:
            hook.remove()
        self.hooks = []

    def _hook(self, name: str) -> Callable[[nn.Module, tuple[object, ...]], None]:
        def see(module: nn.Module, given: tuple[object, ...]) -> None:
            if given and isinstance(given[0], Tensor) and given[0].is_floating_point() and given[0].numel():
                self.note(name, given[0])

        return see

    @torch.no_grad()
    def note(self, name: str, values: Tensor) -> None:
        """Take values of the step under way."""
        low, high = torch.aminmax(values.detach())
        most = torch.maximum(high, -low).float()
        before = self.reach.get(name)
        self.reach[name] = most if before is None else torch.maximum(most, before)  # which keeps NaN

    @torch.no_grad()
    def close(self, at: str, loss: Tensor | None = None) -> None:
        """End the step ``at``, in words, whose loss is the last thing that was computed."""
        if loss is not None:
            self.note("the loss", loss)
        if not self.reach:
            return
        found = torch.stack(list(self.reach.values()))
        if self.broken is None or tuple(self.reach) != self.names:
            self.earlier = self._first()
            self.steps, self.names = [], tuple(self.reach)
            self.broken = (torch.full_like(found, -1), torch.zeros_like(found))
        first, value = self.broken
        new = ~found.isfinite() & (first < 0)
        self.broken = torch.where(new, float(len(self.steps)), first), torch.where(new, found, value)
        self.steps.append(at)
        self.reach = {}

    def check(self, *, alone: bool = False) -> None:
        """Raise NotFiniteError where anything was not finite; this waits for the device.

        In any process, so that all stop together, unless this one works ``alone``.
        """
        own = self._first()
        if own if alone else not processes.all_agree(own is None):
            raise NotFiniteError(f"{self.where}: {own or 'another process found numbers that are not finite'}")

    def _first(self) -> str | None:
        if self.earlier or self.broken is None:
            return self.earlier
        steps, values = (part.tolist() for part in torch.stack(self.broken).cpu())
        found = [(step, place) for place, step in enumerate(steps) if step >= 0]
        if not found:
            return None
        step, place = min(found)
        broken = tensors_not_finite(self.model)
        also = f"; so is {broken} by now" if broken else ""
        value = "not a number (NaN)" if math.isnan(values[place]) else "infinite"
        return f"{self.names[place]} is {value}, first in {self.steps[int(step)]}{also}"


def tensors_not_finite(module: nn.Module) -> str | None:
    """Return the first parameter or buffer that is not finite everywhere, in words; None where all are."""
    named = [(name, tensor) for name, tensor in module.state_dict().items() if isinstance(tensor, Tensor)]
    named = [(name, tensor.detach()) for name, tensor in named if tensor.is_floating_point() and tensor.numel()]
    if not named:
        return None
    device = named[0][1].device
    sound = torch.stack([tensor.isfinite().all().to(device) for _, tensor in named]).tolist()
    return next((_tensor_word(name) for (name, _), one in zip(named, sound, strict=True) if not one), None)


def _tensor_word(name: str) -> str:
    path, _, part = name.rpartition(".")
    kind = "the statistic" if part in ("running_mean", "running_var") else "the tensor"
    return f"{kind} '{part}' of '{path}'" if path else f"{kind} '{part}'"


def require_finite_model(model: nn.Module, where: str) -> None:
    """Raise NotFiniteError naming the first weight or statistic of a model that is not finite."""
    if broken := tensors_not_finite(model):
        raise NotFiniteError(f"{where}: {broken} is not finite")
