"""Looking at modules while a model runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

from torch import Tensor, nn

from snnq.network.neurons import is_neuron

# A module's path, itself, what it was given and what it put out; what is returned, unless None, takes that place.
See = Callable[[str, nn.Module, tuple[Tensor, ...], Tensor], object]


@contextmanager
def seeing(modules: Mapping[str, nn.Module], see: See) -> Iterator[None]:
    """Call ``see(path, module, inputs, output)`` behind every call of ``modules``, which are given by path.

    What it returns, unless None, is the module's output instead.
    """
    hooks = [module.register_forward_hook(partial(see, path)) for path, module in modules.items()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def neurons_of(model: nn.Module) -> dict[str, nn.Module]:
    """Return a model's spiking neurons by path."""
    return {path: module for path, module in model.named_modules() if is_neuron(module)}
