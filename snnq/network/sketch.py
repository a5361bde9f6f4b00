"""Drawing a user's own model while it runs: operations are added as they are seen, piece by piece, step by step.

An operation is known by what it is made of; the same on other steps or samples is the same operation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from snnq.network.combining import Add, Concat, Flatten, Pool
from snnq.network.followed import (
    FollowedTensor,
    Shape,
    UntraceableError,
    images_of,
    pixel_mean,
    time_mean,
    whole_images,
    whole_pixels,
)
from snnq.network.graph import Operation
from snnq.network.graph_file import square
from snnq.network.operations import Head, LayerOperation, Mean
from snnq.network.said_neurons import said_neuron
from snnq.network.streams import FRAMES, LOGITS

if TYPE_CHECKING:
    from jaxtyping import Int64


class Sketch:
    """A graph of frames (T, C, H, W) that is being found, of so many ``samples`` at once."""

    def __init__(self, frames_shape: tuple[int, int, int, int], samples: int) -> None:
        self.steps, channels, *size = frames_shape
        self.samples = samples
        self.shapes = {FRAMES: Shape(channels, (size[0], size[1]))}
        self.operations: dict[str, Operation] = {}  # by what they give
        # Where modules ran. Layers: t · B + b, linear ones at every pixel; neurons: t.
        self.seen: dict[str, Tensor] = {}

    def frames(self) -> FollowedTensor:
        """Return what frames (B, T, C, H, W) are."""
        places = torch.arange(self.steps * self.samples)
        images = images_of(places, self.shapes[FRAMES]).unflatten(0, (self.steps, self.samples))
        return FollowedTensor(FRAMES, images.transpose(0, 1)[None])

    def _add(self, one: Operation, shape: Shape) -> str:
        """Add an operation, or find that it is there; return what it gives."""
        there = self.operations.setdefault(one.gives, one)
        if there != one:
            raise UntraceableError(f"'{one.gives}' is called at two places of it")
        self.shapes[one.gives] = shape
        return one.gives

    def plain(self, value: FollowedTensor) -> FollowedTensor:
        """Return a value that is numbers of one stream: a mean over pixels becomes an operation."""
        if value.plain:
            return value
        shape = self.shapes[value.stream]
        kept = pixel_mean(value, shape) if shape.pixels > 1 else None
        if kept is None:
            raise UntraceableError(
                f"'{value.stream}' is summed or scaled in a way that is no mean over all pixels or steps"
            )
        gives = self._add(Mean((value.stream,), f"{value.stream}, mean"), Shape(shape.channels, (1, 1)))
        return FollowedTensor(gives, kept[None])

    def module(self, path: str, module: nn.Module, value: FollowedTensor, shape: tuple[int, ...]) -> FollowedTensor:
        """Return what a layer, norm or neuron gives, a tensor of that shape."""
        if isinstance(module, nn.Linear) and (found := self._on_time_mean(path, module, value, shape)):
            return found
        value = self.plain(value)
        if value.stream == LOGITS:
            raise UntraceableError(f"'{path}' is given what stands behind a mean over time and a linear layer")
        if isinstance(module, nn.Linear):
            return self._linear(path, module, value, shape)
        if isinstance(module, nn.Conv1d | nn.Conv2d):
            return self._conv(path, module, value, shape)
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            return self._norm(path, module, value)
        return self._neuron(path, module, value)

    def _on_time_mean(
        self, path: str, layer: nn.Linear, value: FollowedTensor, shape: tuple[int, ...]
    ) -> FollowedTensor | None:
        """Return logits of a head, if a linear layer is given a mean over time."""
        seen = time_mean(value, self.shapes[value.stream], self.steps, self.samples) if self.steps > 1 else None
        if seen is None or value.stream == LOGITS:
            return None
        (mean, over_pixels), taken = seen, self.shapes[value.stream]
        name, inside = value.stream, taken
        if over_pixels:
            inside = Shape(taken.channels, (1, 1))
            name = self._add(Mean((name,), f"{name}, mean"), inside)
        rows = whole_images(mean.numbers, inside, 1)
        if rows is None or rows.tolist() != list(range(self.samples)):
            raise UntraceableError(
                f"layer '{path}' is given a mean over time in another order than channels, rows, columns"
            )
        self._add(Head(path, (self._flat(name),), layer.out_features), Shape(layer.out_features, (1, 1)))
        return FollowedTensor(LOGITS, torch.arange(math.prod(shape)).view(1, *shape))

    def _flat(self, name: str) -> str:
        """Return a stream with all its numbers as channels."""
        shape = self.shapes[name]
        if shape.pixels == 1:
            return name
        return self._add(Flatten((name,), f"{name}, flat"), Shape(shape.numbers, (1, 1)))

    def _linear(self, path: str, layer: nn.Linear, value: FollowedTensor, shape: tuple[int, ...]) -> FollowedTensor:
        taken, name, outputs = self.shapes[value.stream], value.stream, layer.out_features
        images = whole_images(value.numbers, taken, 1)
        if images is not None:
            name, places, pixels = self._flat(name), images, torch.zeros_like(images)
            given = Shape(outputs, (1, 1))
        elif (found := whole_pixels(value.numbers, taken)) is not None:
            (places, pixels), given = found, Shape(outputs, taken.size)
        else:
            raise UntraceableError(f"layer '{path}' is given numbers in another order than channels, rows, columns")
        self._once(path, places * given.pixels + pixels)
        gives = self._add(LayerOperation(path, None, (name,), _stream(path), outputs), given)
        index = places[:, None] * given.numbers + torch.arange(outputs) * given.pixels + pixels[:, None]
        return FollowedTensor(gives, index.view(1, *shape))

    def _conv(
        self, path: str, layer: nn.Conv1d | nn.Conv2d, value: FollowedTensor, shape: tuple[int, ...]
    ) -> FollowedTensor:
        taken, axes = self.shapes[value.stream], len(layer.kernel_size) + 1
        places = whole_images(value.numbers, taken, axes)
        if places is None or (axes == 3 and tuple(value.index.shape[-2:]) != taken.size):
            raise UntraceableError(f"layer '{path}' is given numbers in another order than channels, rows, columns")
        sides, strides, padding = _facts(path, layer)
        if axes == 2 and sides != (1, 1):
            raise UntraceableError(f"layer '{path}' convolves along one axis with a kernel of {layer.kernel_size[0]}")
        size = (int(shape[-2]), int(shape[-1])) if axes == 3 else taken.size
        given = Shape(layer.out_channels, size)
        depthwise = layer.groups == layer.in_channels == layer.out_channels and layer.groups > 1
        one = LayerOperation(
            path,
            None,
            (value.stream,),
            _stream(path),
            layer.out_channels,
            square(sides),
            square(strides),
            depthwise=depthwise,
            padded=padding != (0, 0) or sides == (1, 1),
            groups=1 if depthwise else layer.groups,
        )
        self._once(path, places)
        return FollowedTensor(self._add(one, given), images_of(places, given).view(1, *shape))

    def _norm(self, path: str, norm: nn.Module, value: FollowedTensor) -> FollowedTensor:
        taken, axis = self.shapes[value.stream], 2 if getattr(norm, "step_mode", "s") == "m" else 1
        channels = value.numbers // taken.pixels % taken.channels
        due = torch.arange(taken.channels).view(-1, *[1] * (channels.ndim - axis - 1))
        if channels.ndim <= axis or channels.shape[axis] != taken.channels or not bool((channels == due).all()):
            raise UntraceableError(f"norm '{path}' normalises something else than channels")
        before = self.operations.get(value.stream)
        if not isinstance(before, LayerOperation) or before.outer is not None:
            raise UntraceableError(f"norm '{path}' does not stand behind a layer")
        # Its own stream until all is seen: whoever else reads the layer, reads what it had before the norm.
        inner = before.norm is None
        one = replace(before, gives=_stream(path), **({"norm": path} if inner else {"outer": path}))
        return FollowedTensor(self._add(one, taken), value.index)

    def _neuron(self, path: str, node: nn.Module, value: FollowedTensor) -> FollowedTensor:
        taken, index = self.shapes[value.stream], value.numbers
        one = replace(said_neuron(path, node, value.stream), gives=_stream(path))
        per_step = self.samples * taken.numbers
        steps = (index // per_step).flatten(1) if index.ndim > 1 else index[:, None]
        many = getattr(node, "step_mode", "s") == "m"
        first = 0 if many else len(self.seen.get(path, ()))
        due = torch.arange(len(index))[:, None] if many else torch.full((1, 1), first)
        in_turn = bool((steps == due).all()) and len(index) == (self.steps if many else len(index))
        if not in_turn and one.rounds is None:
            raise UntraceableError(f"neurons '{path}' do not run once a step, one step after the other")
        ran = torch.arange(self.steps) if many else torch.tensor([first])
        ran = ran if in_turn else (index // per_step).unique()  # of integer neurons, no step depends on another
        given = torch.zeros(self.steps * per_step, dtype=torch.bool)
        given[index.flatten()] = True
        if not int(given.sum()) == index.numel() == len(ran) * per_step:
            raise UntraceableError(f"neurons '{path}' are given a part of '{value.stream}', or some of it twice")
        self._once(path, ran)
        return FollowedTensor(self._add(one, taken), value.index)

    def _once(self, path: str, places: Int64[Tensor, " n"]) -> None:
        """Note where a module ran, of neurons the steps alone; it runs everywhere, and nowhere twice."""
        seen = torch.cat([self.seen.get(path, places[:0].flatten()), places.flatten()])
        if len(seen.unique()) != len(seen):
            raise UntraceableError(f"'{path}' runs more than once in a time step")
        self.seen[path] = seen

    def function(
        self, name: str, value: FollowedTensor, args: tuple[Any, ...], named: Mapping[str, Any], shape: tuple[int, ...]
    ) -> FollowedTensor:
        """Return what a function of torch gives that averages, sums or pools."""
        if name in ("mean", "sum") and named.get("dtype") is None:
            axes = args[0] if args else named.get("dim", named.get("axis"))
            axes = tuple(range(value.index.ndim - 1)) if axes is None else axes
            axes = (axes,) if isinstance(axes, int) else tuple(axes)
            count = math.prod(value.index.shape[1:][axis] for axis in axes)
            keep = bool(args[1] if len(args) > 1 else named.get("keepdim", False))
            return value.summed(axes, 1 / count if name == "mean" else 1.0, keep=keep)
        if name in ("adaptive_avg_pool1d", "adaptive_avg_pool2d", "avg_pool1d", "avg_pool2d"):
            axes = (-1,) if name.endswith("1d") else (-2, -1)
            if any(side != 1 for side in shape[-len(axes) :]):
                raise UntraceableError(f"it averages parts of images (torch's {name})")
            whole = math.prod(value.index.shape[1:][axis] for axis in axes)
            sides = args[0] if args else named.get("kernel_size", named.get("output_size"))
            if name.startswith("avg") and math.prod(_several(sides, len(axes))) != whole:
                raise UntraceableError(f"it averages parts of images (torch's {name})")
            return value.summed(axes, 1 / whole, keep=True)
        if name in ("max_pool2d", "max_pool2d_with_indices"):
            return self._pool(value, args, named, shape)
        raise UntraceableError(f"torch's {name} has no operation here")

    def _pool(
        self, value: FollowedTensor, args: tuple[Any, ...], named: Mapping[str, Any], shape: tuple[int, ...]
    ) -> FollowedTensor:
        value = self.plain(value)
        keys = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
        said = dict(zip(keys, args, strict=False)) | dict(named)
        sides = _several(said["kernel_size"], 2)
        strides = _several(said["stride"], 2) if said.get("stride") not in (None, [], ()) else sides
        padding, dilation = (_several(said.get(key, usual), 2) for key, usual in (("padding", 0), ("dilation", 1)))
        taken = self.shapes[value.stream]
        places = whole_images(value.numbers, taken, 3)
        if places is None or tuple(value.index.shape[-2:]) != taken.size:
            raise UntraceableError(
                f"a max-pool is given '{value.stream}' in another order than channels, rows, columns"
            )
        same = all(len(set(pairs)) == 1 for pairs in (sides, strides, padding))
        one = Pool((value.stream,), "", strides[0], kernel=sides[0], padding=padding[0])
        fits = same and dilation == (1, 1) and padding[0] <= 1 and one.pooled(taken.size) == tuple(shape[-2:])
        if not fits:
            raise UntraceableError(
                f"a max-pool of '{value.stream}' is not of squares, padded by at most 1, without dilation"
            )
        how = "" if one.usual and one.stride == 2 else f" {one.kernel}x{one.kernel} by {one.stride}"
        how += ", padded" if one.padding and not one.usual else ""
        given = Shape(taken.channels, (int(shape[-2]), int(shape[-1])))
        gives = self._add(replace(one, gives=f"{value.stream}, pooled{how}"), given)
        return FollowedTensor(gives, images_of(places, given).view(1, *shape))

    def add(self, first: FollowedTensor, second: FollowedTensor) -> FollowedTensor:
        """Return a sum: of two streams a residual, of one more of its terms."""
        if first.stream == second.stream and first.factor == second.factor:
            return FollowedTensor(first.stream, torch.cat([first.index, second.index]), first.factor)
        first, second = self.plain(first), self.plain(second)
        shape = self.shapes[first.stream]
        if shape != self.shapes[second.stream] or not torch.equal(first.index, second.index):
            raise UntraceableError(f"'{first.stream}' and '{second.stream}', which are added, differ in shape")
        names = first.stream, second.stream
        return FollowedTensor(self._add(Add(names, self._named(" + ", names)), shape), first.index)

    def concat(self, parts: list[FollowedTensor], axis: int) -> FollowedTensor:
        """Return channels of several streams, one behind the other."""
        found, *others = [self.plain(one) for one in parts]
        for one in others:
            before, behind = self.shapes[found.stream], self.shapes[one.stream]
            names = found.stream, one.stream
            given = Shape(before.channels + behind.channels, before.size)
            sides = [(found.numbers, before, given, 0), (one.numbers, behind, given, before.channels)]
            index = torch.cat([_beside(*side) for side in sides], axis)
            channels = (index // given.pixels % given.channels).movedim(axis, 0).flatten(1)
            right = before.size == behind.size and len(channels) == given.channels
            if not right or not bool((channels == torch.arange(given.channels)[:, None]).all()):
                raise UntraceableError(
                    f"'{names[0]}' and '{names[1]}' are concatenated along something else than channels"
                )
            found = FollowedTensor(self._add(Concat(names, self._named(", ", names)), given), index[None])
        return found

    def _named(self, between: str, names: tuple[str, str]) -> str:
        """Return a name for what is made of two streams; long ones are numbered."""
        kind, word = (Add, "sum") if between == " + " else (Concat, "concatenation")
        there = [one.gives for one in self.operations.values() if isinstance(one, kind) and one.takes == names]
        name = f"({between.join(names)})" if kind is Concat else between.join(names)
        short = len(name) <= 60 and name not in self.operations
        return there[0] if there else name if short else f"{word} {len(self.operations) + 1}"


def _facts(path: str, layer: nn.Conv1d | nn.Conv2d) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """Return a convolution's kernel, stride and padding, along both sides of an image."""
    sides, strides = (_several(one[0] if len(one) == 1 else one, 2) for one in (layer.kernel_size, layer.stride))
    if isinstance(layer.padding, str):
        padding = (0, 0) if layer.padding == "valid" else tuple(side // 2 for side in sides)
    else:
        padding = _several(layer.padding[0] if len(layer.padding) == 1 else layer.padding, 2)
    if any(one != 1 for one in layer.dilation):
        raise UntraceableError(f"layer '{path}' has a dilation")
    if layer.padding_mode != "zeros" and padding != (0, 0):
        raise UntraceableError(f"layer '{path}' is padded by {layer.padding_mode}, not zeros")
    if any(side % 2 == 0 for side in sides):
        raise UntraceableError(
            f"layer '{path}' has a kernel of {' × '.join(map(str, sides))}, and kernels are odd here"
        )
    if padding not in ((0, 0), tuple(side // 2 for side in sides)):
        raise UntraceableError(f"layer '{path}' is padded by {padding}, and kernels are padded by half, or not at all")
    return sides, strides, padding  # pyright: ignore[reportReturnType]


def _stream(path: str) -> str:
    """Return the name of what a module gives: its path, but for those that have another meaning."""
    return f"{path} (module)" if path in (FRAMES, LOGITS) else path


def _several(sides: Any, count: int) -> tuple[int, ...]:
    """Return as many sides."""
    sides = (int(sides),) if isinstance(sides, int) else tuple(int(side) for side in sides)
    return sides * count if len(sides) == 1 else sides


def _beside(index: Int64[Tensor, "*shape"], taken: Shape, given: Shape, begin: int) -> Int64[Tensor, "*shape"]:
    """Return the places of a stream's numbers in one that has more channels, ``begin`` of them before."""
    return index // taken.numbers * given.numbers + begin * given.pixels + index % taken.numbers
