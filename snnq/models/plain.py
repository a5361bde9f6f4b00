"""A user's module made plain: every weight one tensor, of one layer, under one name; or refused, with both names.

Weights that torch computes from others before every call (``weight_norm``, ``spectral_norm``, parametrizations) become
what they are in evaluation mode. What cannot be made plain is said before anything is trained: layers that share a
weight would take two schemes, lazy layers have no shape yet, norms without statistics cannot be folded.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

from snnq.base.errors import UsageError
from snnq.network.layers import quantisable

if TYPE_CHECKING:
    from torch import nn
    from torch.nn.utils.spectral_norm import SpectralNorm
    from torch.nn.utils.weight_norm import WeightNorm

log = logging.getLogger(__name__)


def check_plain(name: str, model: nn.Module) -> None:
    """Raise ``UsageError`` for lazy layers, tensors with two names, and norms without running statistics."""
    from torch import nn
    from torch.nn.modules.lazy import LazyModuleMixin

    for path, module in model.named_modules():
        if isinstance(module, LazyModuleMixin) and module.has_uninitialized_params():  # pyright: ignore
            raise UsageError(
                f"--model {name}: layer '{path}' is a {type(module).__name__}, which has no shape before it has run",
                "build it with its sizes, as nn.Linear or nn.Conv2d",
            )
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is None:
            raise UsageError(
                f"--model {name}: norm '{path}' keeps no running statistics, so it cannot be folded",
                "build it with track_running_stats=True",
            )
    for first, second in _shared(model):
        raise UsageError(
            f"--model {name}: '{first}' and '{second}' are one tensor; a layer's weights must be its own",
            "call one module twice instead of two that share their weight, or give each a copy",
        )


def _shared(model: nn.Module) -> Iterator[tuple[str, str]]:
    """Yield the two names of every tensor that has two, one of them a layer's or a norm's."""
    from torch import nn

    layers = [module for module, _ in quantisable(model).values()]
    layers += [one for one in model.modules() if isinstance(one, nn.modules.batchnorm._BatchNorm)]
    own = {id(one) for module in layers for one in (*module.parameters(), *module.buffers())}
    named = (*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False))
    names: dict[int, str] = {}
    for path, tensor in named:
        first = names.setdefault(id(tensor), path)
        if first != path and id(tensor) in own:
            yield first, path


def make_plain(model: nn.Module) -> list[str]:
    """Replace computed weights by what they are; return the paths of these weights. Changes ``model``."""
    from torch.nn.utils import parametrize
    from torch.nn.utils.spectral_norm import SpectralNorm
    from torch.nn.utils.weight_norm import WeightNorm

    found = []
    modes = [(module, module.training) for module in model.modules()]
    model.eval()  # spectral_norm estimates anew in training mode
    for path, module in list(model.named_modules()):
        for hook in list(module._forward_pre_hooks.values()):
            if isinstance(hook, WeightNorm | SpectralNorm):
                _undo(module, hook)
                found.append(f"{path}.{hook.name}")
        if parametrize.is_parametrized(module):
            for tensor in list(module.parametrizations):  # pyright: ignore
                parametrize.remove_parametrizations(module, tensor, leave_parametrized=True)
                found.append(f"{path}.{tensor}")
    for module, training in modes:
        module.training = training
    return found


def _undo(module: nn.Module, hook: WeightNorm | SpectralNorm) -> None:
    from torch.nn.utils import remove_spectral_norm, remove_weight_norm
    from torch.nn.utils.weight_norm import WeightNorm

    if isinstance(hook, WeightNorm):
        remove_weight_norm(module, hook.name)
        return
    remove_spectral_norm(module, hook.name)
    # torch leaves what it asks of a state dict behind: it looks for its hook where a wrapped one lies.
    asks = module._load_state_dict_pre_hooks
    for key in [key for key, one in asks.items() if getattr(getattr(one, "hook", one), "fn", None) is hook]:
        del asks[key]


def say_plain(model: nn.Module, called: set[str], computed: list[str]) -> None:
    """Log which weights were computed from others, and which layers never run: their weights stay in float32."""
    if computed:
        log.info(f"Taken as they are in evaluation mode, no longer computed from other tensors: {_some(computed)}.")
    if idle := [path for path in quantisable(model) if path not in called]:
        log.info(
            f"Never called as modules: {_some(idle)}. Their weights stay in float32 and are in no plan and no cost; "
            "a function that takes a module's weight (nn.MultiheadAttention does) hides what it computes."
        )


def _some(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
