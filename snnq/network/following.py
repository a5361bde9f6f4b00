"""A user's own model as a graph, found by running it once and following every tensor that is made of the frames.

Layers, norms and neurons are modules and are seen as such; between them stand torch's functions that move numbers, add,
pool or average them. How the model is written does not matter: steps in front or one by one, modules in sequence or
loops. What has no operation ends it with ``UntraceableError``, which names it. Whether the graph is right is proven
afterwards (``snnq.network.drawn``).
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from spikingjelly.activation_based import functional
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from snnq.base.errors import UsageError, VerificationError
from snnq.network.drawn import prove
from snnq.network.followed import UntraceableError, Value
from snnq.network.graph import Graph
from snnq.network.graph_file import read_graph, written
from snnq.network.layers import quantisable
from snnq.network.neurons import is_neuron
from snnq.network.sketch import Sketch

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
JOINS = frozenset(("cat", "concat", "concatenate"))
BLANKS = frozenset(("zeros_like", "empty_like", "new_zeros", "new_empty"))
WRITES = frozenset(("__setitem__", "copy_", "index_copy_", "masked_fill_"))


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


@torch.no_grad()
def _followed(model: nn.Module, frames_shape: tuple[int, int, int, int]) -> Graph:
    samples = 2 if frames_shape[0] != 2 else 3
    draw = torch.Generator().manual_seed(0)
    frames = torch.poisson(torch.full((samples, *frames_shape), 1.0), generator=draw)
    sketch = Sketch(frames_shape, samples)
    following = Following(sketch)
    following.know(frames, sketch.frames())
    with following.modules(model), following:
        logits = model(frames)
    if following.untraceable is not None:  # though their code went on
        raise following.untraceable
    if not isinstance(logits, Tensor) or (value := following.known(logits)) is None:
        raise UntraceableError("its logits are not made of the frames by what can be followed")
    return sketch.finish(value)


class Following(TorchFunctionMode):
    """Knows of every tensor that is made of the frames which numbers it has; draws what is done in a ``Sketch``."""

    def __init__(self, sketch: Sketch) -> None:
        super().__init__()
        self.sketch = sketch
        self.untraceable: UntraceableError | None = None
        self._values: dict[int, tuple[weakref.ref[Tensor], Value]] = {}
        self._inside = 0

    def know(self, tensor: Tensor, value: Value) -> Tensor:
        """Note a tensor's numbers; it is forgotten with the tensor."""
        if tuple(value.index.shape[1:]) != tuple(tensor.shape):
            raise UntraceableError(f"a tensor of shape {tuple(tensor.shape)} could not be followed")
        key = id(tensor)
        self._values[key] = weakref.ref(tensor, lambda _: self._values.pop(key, None)), value
        return tensor

    def known(self, tensor: object) -> Value | None:
        """Return a tensor's numbers, None where it is not made of the frames."""
        found = self._values.get(id(tensor))
        return found[1] if found is not None and found[0]() is tensor else None

    @contextmanager
    def modules(self, model: nn.Module) -> Iterator[None]:
        """See layers, norms and neurons as what they are, not as the functions they call."""
        layers, hooks = quantisable(model), []
        for path, module in model.named_modules():
            if path in layers or is_neuron(module) or isinstance(module, nn.modules.batchnorm._BatchNorm):
                hooks.append(module.register_forward_pre_hook(self._enter))
                leave = partial(self._leave, path)
                hooks.append(module.register_forward_hook(leave, always_call=True))
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _enter(self, module: nn.Module, given: tuple[object, ...]) -> None:
        self._inside += 1

    def _leave(self, path: str, module: nn.Module, given: tuple[object, ...], output: object) -> None:
        self._inside -= 1
        if self._inside or self.untraceable is not None:
            return
        value = self.known(given[0]) if given else None
        with self._noting():
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
        given = [] if self._inside else [one for one in tree_leaves((args, named)) if self.known(one) is not None]
        values = [self.known(one) for one in given]  # in place, a function changes what is known
        found = func(*args, **named)
        if not given:
            return found
        with self._noting():
            return self._follow(func, args, named, found, dict(zip(map(id, given), values, strict=True)))

    def _follow(
        self, func: Callable[..., Any], args: tuple[Any, ...], named: dict[str, Any], found: Any, values: dict[int, Any]
    ) -> Any:
        name, value = getattr(func, "__name__", str(func)), values.get(id(args[0])) if args else None
        if name in WRITES or not args:
            raise UntraceableError(f"it writes into a tensor (torch's {name})")
        if name == "__iter__":
            return iter(self._moved(torch.unbind, args[:1], {}, torch.unbind(args[0]), values))
        if not any(isinstance(one, Tensor) for one in tree_leaves(found)):
            return found  # a size, a type
        if name in BLANKS:
            return found
        if name in MOVES:
            return self._moved(func, args, named, found, values)
        if name in STAYS and value is not None:
            if not (found.is_floating_point() and torch.equal(found.double(), args[0].double())):
                raise UntraceableError(f"torch's {name} changes numbers in it")
            return self.know(found, value)
        if name in ADDS and len(args) == 2 and named.get("alpha", 1) == 1:
            return self.know(found, self._added(args, values, tuple(found.shape)))
        if name in SCALES and len(args) == 2 and not named and len(values) == 1:
            return self.know(found, self._scaled(args, values, SCALES[name]))
        if name in JOINS:
            return self.know(found, self._joined(func, args, named, values))
        if value is None:
            raise UntraceableError(f"torch's {name} has no operation here")
        return self.know(found, self.sketch.function(name, value, args[1:], named, tuple(found.shape)))

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
            return self.know(found, Value(first.stream, torch.stack(terms), first.factor))
        for place, one in enumerate(found):
            self.know(one, Value(first.stream, torch.stack([term[place] for term in terms]), first.factor))
        return found

    def _added(self, args: tuple[Any, ...], values: dict[int, Any], shape: tuple[int, ...]) -> Value:
        first, second = (values.get(id(one)) for one in args)
        if first is None or second is None:
            (value,), other = values.values(), args[0] if first is None else args[1]
            if tuple(value.index.shape[1:]) != shape or bool(torch.as_tensor(other != 0).any()):
                raise UntraceableError("it adds a tensor that is not made of the frames")
            return value
        if first.index.shape[1:] != second.index.shape[1:]:
            raise UntraceableError("it adds tensors of different shapes")
        return self.sketch.add(first, second)

    def _scaled(self, args: tuple[Any, ...], values: dict[int, Any], power: int) -> Value:
        first, other = args if id(args[0]) in values else args[::-1]
        if isinstance(other, Tensor) and other.numel() != 1:
            raise UntraceableError("it multiplies by a tensor")
        if power < 0 and id(args[0]) not in values:
            raise UntraceableError("it divides by what is made of the frames")
        value = values[id(first)]
        return Value(value.stream, value.index, value.factor * float(other) ** power)

    def _joined(
        self, func: Callable[..., Any], args: tuple[Any, ...], named: dict[str, Any], values: dict[int, Any]
    ) -> Value:
        parts = [values.get(id(one)) for one in args[0]]
        axis = args[1] if len(args) > 1 else named.get("dim", named.get("axis", 0))
        if any(one is None for one in parts):
            raise UntraceableError("it concatenates a tensor that is not made of the frames")
        if len({(one.stream, one.factor, len(one.index)) for one in parts}) == 1:  # pyright: ignore
            rank, first = parts[0].index.ndim - 1, parts[0]  # pyright: ignore[reportOptionalMemberAccess]
            index = torch.cat([one.index for one in parts], axis % rank + 1)  # pyright: ignore
            return Value(first.stream, index, first.factor)  # pyright: ignore[reportOptionalMemberAccess]
        return self.sketch.concat(parts, axis)  # pyright: ignore[reportArgumentType]
