"""A user's module made plain: every weight one tensor, of one layer, under one name; or refused, with both names.

Weights that torch computes from others before every call (``weight_norm``, ``spectral_norm``, parametrizations) become
what they are in evaluation mode. What cannot be made plain is said before anything is trained: layers that share a
weight would take two schemes, lazy layers have no shape yet, norms without statistics cannot be folded.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from snnq.base.errors import UsageError
from snnq.network.layers import quantisable

if TYPE_CHECKING:
    from torch import Tensor, nn
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
    """Yield the two names of every tensor that has two, one of them a layer's or a norm's; views of one are one."""
    from torch import nn

    layers = [module for module, _ in quantisable(model).values()]
    layers += [one for one in model.modules() if isinstance(one, nn.modules.batchnorm._BatchNorm)]
    own = {id(one) for module in layers for one in (*module.parameters(), *module.buffers())}
    named = (*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False))
    seen: dict[int, list[tuple[str, Tensor]]] = {}
    for path, tensor in named:
        before = seen.setdefault(tensor.untyped_storage().data_ptr(), [])
        for first, other in before:
            if (id(tensor) in own or id(other) in own) and (tensor is other or _overlap(tensor, other)):
                yield first, path
        before.append((path, tensor))


def _overlap(one: Tensor, other: Tensor) -> bool:
    """Return whether two tensors in one storage have bytes in common; what lies interleaved counts as that."""
    ends = []
    for tensor in (one, other):
        last = sum((size - 1) * step for size, step in zip(tensor.shape, tensor.stride(), strict=True))
        ends.append((tensor.data_ptr(), tensor.data_ptr() + (last + 1) * tensor.element_size()))
    (first, first_end), (second, second_end) = ends
    placed = all(tensor.numel() and not tensor.is_meta for tensor in (one, other))
    return placed and first < second_end and second < first_end


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


@contextmanager
def weights_taken(model: nn.Module) -> Iterator[set[str]]:
    """Note the layers whose weight a function takes outside of their own call, as a tied decoder does."""
    from torch import Tensor
    from torch.overrides import TorchFunctionMode
    from torch.utils._pytree import tree_leaves

    layers = quantisable(model)
    paths, found = {id(module.weight): path for path, (module, _) in layers.items()}, set[str]()
    inside = 0

    def enter(*_: object) -> None:
        nonlocal inside
        inside += 1

    def leave(*_: object) -> None:
        nonlocal inside
        inside -= 1

    class _Noting(TorchFunctionMode):
        def __torch_function__(
            self, func: Callable[..., Any], types: object, args: tuple[Any, ...] = (), kwargs: Any = None
        ) -> Any:
            result = func(*args, **(kwargs or {}))
            if not inside and any(isinstance(one, Tensor) for one in tree_leaves(result)):
                found.update(paths[id(one)] for one in tree_leaves((args, kwargs)) if id(one) in paths)
            return result

    hooks = [module.register_forward_pre_hook(enter) for module, _ in layers.values()]
    hooks += [module.register_forward_hook(leave, always_call=True) for module, _ in layers.values()]
    try:
        with _Noting():
            yield found
    finally:
        for hook in hooks:
            hook.remove()


def say_plain(model: nn.Module, called: set[str], taken: set[str], computed: list[str]) -> None:
    """Log which weights were computed from others, which layers never run, and whose weights functions ``taken`` take.

    Weights of layers that never run stay in float32.
    """
    if computed:
        log.info(f"Taken as they are in evaluation mode, no longer computed from other tensors: {_some(computed)}.")
    if idle := [path for path in quantisable(model) if path not in called]:
        log.info(
            f"Never called as modules: {_some(idle)}. Their weights stay in float32 and are in no plan and no cost; "
            "a function that takes a module's weight (nn.MultiheadAttention does) hides what it computes."
        )
    if both := [path for path in quantisable(model) if path in taken and path in called]:
        log.info(
            f"Taken by functions beside their layers' own calls: the weights of {_some(both)}. They are quantised "
            "there, too, but what these functions compute is in no cost."
        )


def _some(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
