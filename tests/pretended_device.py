"""A pretended accelerator: tensors that claim to lie on a device which is not there, and compute on the CPU.

    with pretended() as seen:
        search("digits", ...)          # any command through its function
    assert not seen.mixes

A tensor here is a wrapper with a CPU tensor in it. What a real accelerator would refuse, or wait for, is noted with the
place in snnq that asked for it: ``mixes`` of the device's tensors with the CPU's, ``wide`` (float64, which Apple's MPS
lacks), ``waits`` of the host for the device, and ``pageable`` copies to it that the host waits for. Not covered: what
cuDNN cannot do, autocast, determinism, streams, several devices, memory.
"""

from __future__ import annotations

import contextlib
import linecache
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import lightning_fabric
import torch
from lightning_fabric.accelerators.cpu import CPUAccelerator
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map

import snnq

SNNQ = snnq.__file__.removesuffix("__init__.py")
# A name that PyTorch knows and that has no kernels of its own in a plain build.
DEVICE = torch.device("lazy", 0)
WAITING = {"aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::equal", "aten::is_nonzero"}
COPIES = {"aten::copy_", "aten::_to_copy", "aten::_copy_from"}


@dataclass
class Seen:
    """What was noted, how often at each place (``file:line code``)."""

    mixes: Counter[str] = field(default_factory=Counter)
    wide: Counter[str] = field(default_factory=Counter)
    waits: Counter[str] = field(default_factory=Counter)
    pageable: Counter[str] = field(default_factory=Counter)

    def summary(self) -> dict[str, int]:
        """Return how often each kind was noted."""
        return {name: sum(getattr(self, name).values()) for name in ("mixes", "wide", "waits", "pageable")}


_seen = Seen()


class Pretended(torch.Tensor):
    """A tensor on the pretended device; ``held`` has its numbers."""

    held: torch.Tensor

    __torch_function__: Any = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> Pretended:
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=DEVICE,
            requires_grad=False,
        )
        made.held = held
        return made

    def __repr__(self, **_: Any) -> str:
        return f"Pretended({self.held})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})

    def tolist(self) -> Any:
        _note(_seen.waits, "tolist")
        return self.held.detach().tolist()

    def __getitem__(self, index: Any) -> Any:
        return torch.Tensor.__getitem__(self, _placed_index(index))

    def __setitem__(self, index: Any, value: Any) -> None:
        torch.Tensor.__setitem__(self, _placed_index(index), value)

    def __reduce_ex__(self, protocol: Any) -> Any:  # saved as what it holds
        _note(_seen.waits, "saved")
        return self.held.detach().__reduce_ex__(protocol)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        if id(self) not in memo:
            copy: torch.Tensor = Pretended(self.held.detach().clone())
            if isinstance(self, torch.nn.Parameter):
                copy = torch.nn.Parameter(copy, self.requires_grad)
            memo[id(self)] = copy
        return memo[id(self)]


class _Mode(TorchDispatchMode):
    """Sees what makes tensors, too, which no argument tells."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    kwargs, name = dict(kwargs), func._schema.name
    flat, _ = tree_flatten((args, kwargs))
    ours = [one for one in flat if isinstance(one, Pretended)]
    there, device = bool(ours), kwargs.get("device")
    if device is not None:
        there, kwargs["device"] = _is_there(device), torch.device("cpu")
    _look(name, args, flat, ours, there, device)
    with _disable_current_modes():
        out = func(*tree_map(_held, args), **tree_map(_held, kwargs))
    if name.endswith("_") and not name.endswith("__") and isinstance(args[0], Pretended):
        return args[0]
    if not there:
        return out
    if any(isinstance(one, torch.Tensor) and one.dtype == torch.float64 for one in tree_leaves(out)):
        _note(_seen.wide, name)
    same = {id(one.held): one for one in ours}

    def wrapped(one: Any) -> Any:
        if not isinstance(one, torch.Tensor) or isinstance(one, Pretended):
            return one
        return same[id(one)] if id(one) in same else Pretended(one)

    return tree_map(wrapped, out)


def _look(name: str, args: Any, flat: list[Any], ours: list[Pretended], there: bool, device: Any) -> None:
    """Note what this call would cost on an accelerator, or that it would be refused."""
    cpu = [one for one in flat if isinstance(one, torch.Tensor) and not isinstance(one, Pretended) and one.ndim]
    if ours and cpu and name not in COPIES:
        if name.startswith("aten::index") and isinstance(args[0], Pretended):
            _note(_seen.waits, f"{name} by an index on the CPU")
        else:
            _note(_seen.mixes, name)
            raise RuntimeError(f"{name} mixes tensors of two devices at {_where()}")
    if ours and (name in WAITING or (name == "aten::_to_copy" and device is not None and not there)):
        _note(_seen.waits, name)
    if name == "aten::copy_" and isinstance(args[0], Pretended) != isinstance(args[1], Pretended):
        _note(_seen.pageable if isinstance(args[0], Pretended) else _seen.waits, name)
    if name == "aten::_to_copy" and there and not ours:
        _note(_seen.pageable, name)


def _held(one: Any) -> Any:
    return one.held if isinstance(one, Pretended) else one


def _is_there(device: Any) -> bool:
    return device is not None and torch.device(device).type == DEVICE.type


def _note(counter: Counter[str], what: str) -> None:
    place = _where()
    # ``moved`` pins what it sends where there is something to pin for.
    if counter is not _seen.pageable or not place.startswith("training/transfers.py"):
        counter[f"{what} @ {place}"] += 1


def _where() -> str:
    frame = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(SNNQ):
            return f"{file.removeprefix(SNNQ)}:{frame.f_lineno} {linecache.getline(file, frame.f_lineno).strip()}"
        frame = frame.f_back
    return "outside"


def _placed_index(index: Any) -> Any:
    if isinstance(index, list):
        _note(_seen.pageable, "index of a list")
        return Pretended(torch.tensor(index))
    return tuple(map(_placed_index, index)) if isinstance(index, tuple) else index


_tensor, _as_tensor, _new_tensor = torch.tensor, torch.as_tensor, torch.Tensor.new_tensor
_parameter_deepcopy, _launch = torch.nn.Parameter.__deepcopy__, lightning_fabric.Fabric.launch


def _make(data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False, **rest: Any) -> Any:
    if isinstance(data, list | tuple) and any(isinstance(one, Pretended) for one in data):
        _note(_seen.waits, "torch.tensor of the device's scalars")
    if not _is_there(device):
        return _tensor(data, dtype=dtype, device=device, requires_grad=requires_grad, **rest)
    _note(_seen.pageable, "torch.tensor")
    return Pretended(_tensor(data, dtype=dtype)).requires_grad_(requires_grad)


def _make_as(data: Any, dtype: Any = None, device: Any = None) -> Any:
    if not _is_there(device):
        return _as_tensor(data, dtype=dtype, device=device)
    return data if isinstance(data, Pretended) else Pretended(_as_tensor(data, dtype=dtype))


def _make_like(self: Any, data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Any:
    if isinstance(self, Pretended) and (device is None or _is_there(device)):
        _note(_seen.pageable, "new_tensor")
        return Pretended(_tensor(data, dtype=dtype or self.dtype))
    return _new_tensor(self, data, dtype=dtype, device=device, requires_grad=requires_grad)


def _deepcopy(self: Any, memo: Any) -> Any:
    return Pretended.__deepcopy__(self, memo) if isinstance(self, Pretended) else _parameter_deepcopy(self, memo)


def _launch_there(self: Any, *arguments: Any, **named: Any) -> Any:
    found = _launch(self, *arguments, **named)
    self._strategy._root_device = DEVICE
    return found


@contextlib.contextmanager
def pretended() -> Iterator[Seen]:
    """Let Fabric's device be the pretended one, and yield what is seen."""
    global _seen
    swapping = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(True)
    _seen = Seen()
    with contextlib.ExitStack() as stack:
        for where, name, by in (
            (torch, "tensor", _make),
            (torch, "as_tensor", _make_as),
            (torch.Tensor, "new_tensor", _make_like),
            (torch.nn.Parameter, "__deepcopy__", _deepcopy),
            (lightning_fabric.Fabric, "launch", _launch_there),
            (CPUAccelerator, "setup_device", lambda self, device: None),
        ):
            stack.enter_context(mock.patch.object(where, name, by))
        stack.callback(torch.__future__.set_swap_module_params_on_conversion, swapping)
        stack.enter_context(_Mode())
        yield _seen
