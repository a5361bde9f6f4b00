"""A user's own model as a graph, found by running it once and following every tensor that is made of the frames.

Layers, norms and neurons are modules and are seen as such; between them stand torch's functions that move numbers, add,
pool or average them. How the model is written does not matter: steps in front or one by one, modules in sequence or
loops. What has no operation ends it with ``UntraceableError``, which names it. Whether the graph is right is proven
afterwards (``snnq.network.drawn``).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from spikingjelly.activation_based import functional
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from snnq.base.errors import UsageError, VerificationError
from snnq.network.drawn import prove
from snnq.network.followed import FollowedTensor, UntraceableError
from snnq.network.graph import Graph
from snnq.network.graph_file import read_graph, written
from snnq.network.known import CONSTANTS, Known
from snnq.network.layers import quantisable
from snnq.network.neurons import is_neuron
from snnq.network.sketch import Sketch
from snnq.network.sketched import graph_of

# Functions that move numbers: what they do to a tensor, they do to the places of its numbers.
MOVES = frozenset(
    (
        *("view", "reshape", "flatten", "unflatten", "ravel", "unsqueeze", "squeeze", "transpose", "permute", "t"),
        *("movedim", "moveaxis", "swapaxes", "swapdims", "select", "narrow", "chunk", "split", "tensor_split"),
        *("unbind", "__getitem__", "__get__", "view_as", "reshape_as", "stack", "flip", "index_select"),
    )
)
# Functions that leave every number what it is, in evaluation mode.
STAYS = frozenset(
    (
        *("contiguous", "clone", "detach", "to", "float", "double", "cpu", "type", "type_as", "requires_grad_"),
        *("dropout", "dropout1d", "dropout2d", "dropout3d", "feature_dropout", "alpha_dropout", "identity"),
    )
)
ADDS = frozenset(("add", "__add__", "__radd__", "__iadd__", "add_"))
SCALES = {"mul": 1, "__mul__": 1, "__rmul__": 1, "__imul__": 1, "mul_": 1, "multiply": 1}
SCALES |= {"div": -1, "__truediv__": -1, "__itruediv__": -1, "div_": -1, "true_divide": -1, "divide": -1}
COPIES = frozenset(("expand", "expand_as", "repeat", "cuda"))  # of constants
JOINS = frozenset(("cat", "concat", "concatenate"))
BLANKS = frozenset(("zeros_like", "empty_like", "new_zeros", "new_empty"))
WRITES = frozenset(("__setitem__", "__set__", "copy_", "index_copy_", "masked_fill_"))
# Functions that say something of a tensor which does not depend on its numbers; what others say may decide what is run.
FACTS = frozenset(
    (
        *("__get__", "__len__", "__hash__", "__repr__", "__format__", "size", "dim", "ndimension", "numel", "nelement"),
        *("stride", "type", "is_contiguous", "is_floating_point", "is_complex", "get_device", "element_size"),
    )
)
EXACT = (torch.float32, torch.float64)


def follow(model: nn.Module, frames_shape: tuple[int, int, int, int]) -> Graph | str:
    """Return the graph of a user's own model, proven with its weights, or half a sentence after "and": why not.

    The model takes frames (B, T, C, H, W) and gives logits (B, classes) (``models.custom.adopt``). Its weights and
    modes are as before.
    """
    modes = [(module, module.training) for module in model.modules()]
    try:
        graph = read_graph(written(_followed(model.eval(), frames_shape)), frames_shape)  # within a file's limits
        prove(graph, model)
        return graph
    except UntraceableError as found:
        return str(found)
    except VerificationError as problem:
        return f"the operations that were found in it are not its own: {problem.message}"
    except UsageError as problem:
        return problem.message.removeprefix("graph: ")
    except Exception as problem:  # whatever the user's code raises
        said = str(problem).partition("\n")[0]
        return f"it cannot be watched ({type(problem).__name__}: {said})"
    finally:
        functional.reset_net(model)
        for module, training in modes:
            module.training = training


def _chance() -> tuple[object, ...]:
    """Return the state of what random numbers are drawn from."""
    drawn = cast(tuple[Any, ...], np.random.get_state())
    return torch.get_rng_state().tolist(), random.getstate(), np.asarray(drawn[1]).tolist(), drawn[2]


@torch.no_grad()
def _followed(model: nn.Module, frames_shape: tuple[int, int, int, int]) -> Graph:
    samples = 2 if frames_shape[0] != 2 else 3
    draw = torch.Generator().manual_seed(0)
    frames = torch.poisson(torch.full((samples, *frames_shape), 1.0), generator=draw)
    sketch = Sketch(frames_shape, samples)
    following = Following(sketch)
    following.know(frames, sketch.frames())
    chance = _chance()
    with following.modules(model), following:
        logits = model(frames)
    if following.untraceable is not None:  # though their code went on
        raise following.untraceable
    if _chance() != chance:
        raise UntraceableError("it draws random numbers")
    if not isinstance(logits, Tensor) or (value := following.known(logits)) is None:
        raise UntraceableError("its logits are not made of the frames by what can be followed")
    return graph_of(sketch, value)


class Following(TorchFunctionMode):
    """Knows of every tensor that is made of the frames which numbers it has; draws what is done in a ``Sketch``."""

    def __init__(self, sketch: Sketch) -> None:
        super().__init__()
        self.sketch = sketch
        self.untraceable: UntraceableError | None = None
        self._known, self._inside = Known(), 0
        self.know, self.known = self._known.note, self._known.value

    @contextmanager
    def modules(self, model: nn.Module) -> Iterator[None]:
        """See layers, norms and neurons as what they are, not as the functions they call."""
        layers, hooks = quantisable(model), []
        for path, module in model.named_modules():
            if path in layers or is_neuron(module) or isinstance(module, nn.modules.batchnorm._BatchNorm):
                hooks.append(module.register_forward_pre_hook(self._enter))
                leave = partial(self._leave, path)
                hooks.append(module.register_forward_hook(leave, always_call=True, with_kwargs=True))
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _enter(self, module: nn.Module, given: tuple[object, ...]) -> None:
        self._inside += 1

    def _leave(
        self, path: str, module: nn.Module, given: tuple[object, ...], named: Mapping[str, object], output: object
    ) -> None:
        self._inside -= 1
        if self._inside or self.untraceable is not None:
            return
        value = self.known(given[0]) if given else None
        with self._noting():
            if any(self.known(one) is not None for one in tree_leaves((given[1:], dict(named)))):
                raise UntraceableError(f"'{path}' is given more than one tensor that is made of the frames")
            if value is None or not isinstance(output, Tensor):
                raise UntraceableError(f"'{path}' is given something that could not be followed from the frames")
            self.know(output, self.sketch.module(path, module, value, tuple(output.shape)))

    @contextmanager
    def _noting(self) -> Iterator[None]:
        """Keep what cannot be traced, in case their code goes on after it."""
        try:
            yield
        except UntraceableError as found:
            self.untraceable = self.untraceable or found
            raise

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run a function of torch, and follow what it does."""
        named = dict(kwargs or {})
        if not args and "input" in named:
            args = (named.pop("input"),)
        tensors = [] if self._inside else [one for one in tree_leaves((args, named)) if isinstance(one, Tensor)]
        given = [one for one in tensors if self.known(one) is not None]
        values = [self.known(one) for one in given]  # in place, a function changes what is known
        constant = all(map(self._known.constant, tensors))
        found = func(*args, **named)
        if not given:
            return found if self._inside else self._made(func, found, bool(tensors), constant=constant)
        with self._noting():
            return self._follow(func, args, named, found, dict(zip(map(id, given), values, strict=True)))

    def _made(self, func: Callable[..., Any], found: Any, moved: bool, *, constant: bool) -> Any:
        """Note a constant: one that is made, or what is made of nothing but constants by moving their numbers."""
        name = getattr(func, "__name__", "")
        if isinstance(found, Tensor) and (name in CONSTANTS or (moved and constant and name in MOVES | STAYS | COPIES)):
            self._known.note(found, None)
        return found

    def _follow(
        self, func: Callable[..., Any], args: tuple[Any, ...], named: dict[str, Any], found: Any, values: dict[int, Any]
    ) -> Any:
        name, value = getattr(func, "__name__", str(func)), values.get(id(args[0])) if args else None
        if name in WRITES or not args or "out" in named:
            raise UntraceableError(f"it writes into a tensor (torch's {name})")
        if name == "__iter__":
            return iter(self._moved(torch.unbind, args[:1], {}, torch.unbind(args[0]), values))
        if not any(isinstance(one, Tensor) for one in tree_leaves(found)):
            if name not in FACTS:
                raise UntraceableError(f"its code reads numbers that are made of the frames (torch's {name})")
            return found
        if name in BLANKS:
            return self._made(func, found, moved=False, constant=False)
        if name in MOVES:
            return self._moved(func, args, named, found, values)
        if name in STAYS and value is not None:
            if found.dtype not in EXACT or not torch.equal(found.double(), args[0].double()):
                raise UntraceableError(f"torch's {name} changes numbers in it")
            return self.know(found, value)
        if name in ADDS and len(args) == 2 and named.get("alpha", 1) == 1:
            return self._changed(found, args, self._added(args, values, tuple(found.shape)))
        if name in SCALES and len(args) == 2 and not named and len(values) == 1:
            return self._changed(found, args, self._scaled(args, values, SCALES[name]))
        if name in JOINS:
            return self.know(found, self._joined(func, args, named, values))
        if value is None:
            raise UntraceableError(f"torch's {name} has no operation here")
        return self.know(found, self.sketch.function(name, value, args[1:], named, tuple(found.shape)))

    def _changed(self, found: Tensor, args: tuple[Any, ...], value: FollowedTensor) -> Tensor:
        """Note what a function gives that may have written it into what it was given."""
        if found is args[0]:
            self._known.changed(found)
        return self.know(found, value)

    def _moved(
        self, func: Callable[..., Any], args: tuple[Any, ...], named: dict[str, Any], found: Any, values: dict[int, Any]
    ) -> Any:
        """Do to the places of numbers what a function has done to numbers; it may give several tensors."""
        several = args[0] if isinstance(args[0], list | tuple) else None
        parts = [values.get(id(one)) for one in (several or args[:1])]
        first, name = parts[0], getattr(func, "__name__", "")
        if first is None or any(
            one is None or (one.stream, one.factor) != (first.stream, first.factor) for one in parts
        ):
            raise UntraceableError(f"torch's {name} joins what is not of one kind")
        if len({len(one.index) for one in parts}) > 1:  # pyright: ignore[reportOptionalMemberAccess]
            raise UntraceableError(f"torch's {name} joins different sums")
        terms = [
            func(list(one) if several is not None else one[0], *args[1:], **named)
            for one in zip(*(one.index for one in parts), strict=True)  # pyright: ignore[reportOptionalMemberAccess]
        ]
        if isinstance(found, Tensor):
            return self.know(found, FollowedTensor(first.stream, torch.stack(terms), first.factor))
        for place, one in enumerate(found):
            self.know(one, FollowedTensor(first.stream, torch.stack([term[place] for term in terms]), first.factor))
        return found

    def _added(self, args: tuple[Any, ...], values: dict[int, Any], shape: tuple[int, ...]) -> FollowedTensor:
        first, second = (values.get(id(one)) for one in args)
        if first is None or second is None:
            (value,), other = values.values(), args[0] if first is None else args[1]
            constant = isinstance(other, int | float) or self._known.constant(other)
            if not constant or tuple(value.index.shape[1:]) != shape or bool(torch.as_tensor(other != 0).any()):
                raise UntraceableError("it adds a tensor that is not made of the frames")
            return value
        if first.index.shape[1:] != second.index.shape[1:]:
            raise UntraceableError("it adds tensors of different shapes")
        return self.sketch.add(first, second)

    def _scaled(self, args: tuple[Any, ...], values: dict[int, Any], power: int) -> FollowedTensor:
        first, other = args if id(args[0]) in values else args[::-1]
        if isinstance(other, Tensor) and other.numel() != 1:
            raise UntraceableError("it multiplies by a tensor")
        if isinstance(other, Tensor) and other.requires_grad:
            raise UntraceableError("it multiplies by a parameter, which training moves")
        if power < 0 and id(args[0]) not in values:
            raise UntraceableError("it divides by what is made of the frames")
        value = values[id(first)]
        return FollowedTensor(value.stream, value.index, value.factor * float(other) ** power)

    def _joined(
        self, func: Callable[..., Any], args: tuple[Any, ...], named: dict[str, Any], values: dict[int, Any]
    ) -> FollowedTensor:
        parts = [values.get(id(one)) for one in args[0]]
        axis = args[1] if len(args) > 1 else named.get("dim", named.get("axis", 0))
        if any(one is None for one in parts):
            raise UntraceableError("it concatenates a tensor that is not made of the frames")
        if len({(one.stream, one.factor, len(one.index)) for one in parts}) == 1:  # pyright: ignore
            rank, first = parts[0].index.ndim - 1, parts[0]  # pyright: ignore[reportOptionalMemberAccess]
            index = torch.cat([one.index for one in parts], axis % rank + 1)  # pyright: ignore
            return FollowedTensor(first.stream, index, first.factor)  # pyright: ignore[reportOptionalMemberAccess]
        return self.sketch.concat(parts, axis)  # pyright: ignore[reportArgumentType]
