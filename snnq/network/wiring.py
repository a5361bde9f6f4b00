"""Which norm and which neuron follow each layer, how streams run between them, and how large their whole numbers are.

Plain facts of an architecture, without torch: the integer arithmetic of packed weights and the integer runtime are
built from them. Where that arithmetic does not apply, ``FloatWiring`` says why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from snnq.base.errors import UsageError
from snnq.base.strict_json import Config

if TYPE_CHECKING:
    from torch import nn

# Larger event counts in one pixel and step count as this many: it bounds the first layer's sums.
COUNT_LIMIT = 4095
FRAMES = "frames"  # the stream that the first operation takes
THRESHOLD, ATTENTION_THRESHOLD = 1.0, 0.5


@dataclass(frozen=True)
class Stage:
    """A layer → batch normalisation → LIF neuron of ``threshold``, by module paths.

    ``bound`` is the largest whole number in the layer's input; none is negative.
    """

    layer: str
    norm: str
    neuron: str
    bound: int
    threshold: float = THRESHOLD


@dataclass(frozen=True)
class Mixing:
    """A spiking self-attention of ``heads``: its module, and the neuron that (Q Kᵀ) V · scale goes to."""

    module: str
    neuron: str
    scale: float
    heads: int
    threshold: float = ATTENTION_THRESHOLD


@dataclass(frozen=True)
class Fire:
    """Stages that see the same stream: the spikes of each become a stream of their own, of the names ``gives``.

    Their layers are linear, or convolutions that keep the size: 1×1, or 3×3 padded by 1.
    """

    stages: tuple[Stage, ...]
    takes: str
    gives: tuple[str, ...] = ("spikes",)


@dataclass(frozen=True)
class Pool:
    """A max-pool of a stream of spikes: 3×3, stride 2, padding 1."""

    stream: str


@dataclass(frozen=True)
class Mix:
    """An attention of the spikes q, k and v, which it uses up; those of the neurons behind it become ``gives``."""

    mixing: Mixing
    takes: tuple[str, str, str]
    gives: str = "spikes"


@dataclass(frozen=True)
class Add:
    """A residual: spikes, used up then, are added to a stream, whose numbers reach one more."""

    stream: str
    spikes: str


Operation = Fire | Pool | Mix | Add


@dataclass(frozen=True)
class Wiring:
    """All operations in the order they run, and the head on the mean of ``summands`` whole numbers of ``stream``.

    Operations work on named streams; the first takes ``FRAMES``, event counts. ``bound`` is the largest of the numbers
    that the head sees, and no stream's numbers are larger. ``engines`` are those of ``snnq eval`` that packed weights
    run on; ``in_c``: the C source has this flow, too. Raises ``UsageError`` for a flow whose streams do not fit.
    """

    flow: tuple[Operation, ...]
    stream: str
    head: str
    summands: int
    bound: int
    in_c: bool = False
    arithmetic: ClassVar[str] = "integer"
    engines: ClassVar[tuple[str, ...]] = ("torch", "integer")

    def __post_init__(self) -> None:
        bounds = {FRAMES: COUNT_LIMIT}
        for one in self.flow:
            if isinstance(one, Fire):
                for stage in one.stages:
                    _check_stream(bounds, one.takes, stage.bound, f"layer {stage.layer}")
                bounds |= dict.fromkeys(one.gives, 1)
            elif isinstance(one, Pool):
                _check_stream(bounds, one.stream, 1, "a max-pool")
            elif isinstance(one, Mix):
                for name in one.takes:
                    _check_stream(bounds, name, 1, f"attention {one.mixing.module}")
                    del bounds[name]
                bounds[one.gives] = 1
            else:
                _check_stream(bounds, one.spikes, 1, "a residual")
                _check_stream(bounds, one.stream, self.bound - 1, "a residual")
                bounds[one.stream] += 1
                del bounds[one.spikes]
        _check_stream(bounds, self.stream, self.bound, f"head {self.head}")

    @property
    def stages(self) -> tuple[Stage, ...]:
        """All stages in the order they run."""
        return tuple(stage for one in self.flow if isinstance(one, Fire) for stage in one.stages)

    @property
    def mixings(self) -> tuple[Mixing, ...]:
        """All attentions in the order they run."""
        return tuple(one.mixing for one in self.flow if isinstance(one, Mix))

    @property
    def where(self) -> str:
        """Half a sentence: where packed weights run."""
        return f"in whole numbers, on torch and the integer engine{' and in C' if self.in_c else ''}"

    @property
    def norms(self) -> dict[str, str]:
        """The batch normalisation behind each layer; the head has none."""
        return {stage.layer: stage.norm for stage in self.stages}


def _check_stream(bounds: Mapping[str, int], name: str, bound: int, reader: str) -> None:
    """Raise UsageError unless a stream is there whose numbers are at most ``bound``, as its reader takes them."""
    if bounds.get(name, bound + 1) > bound:
        found = f"its numbers reach {bounds[name]}" if name in bounds else "nothing gives it"
        raise UsageError(f"wiring: {reader} takes stream '{name}' of numbers up to {bound}, but {found}")


@dataclass(frozen=True)
class FloatWiring:
    """The batch normalisation behind each layer, where packed weights are run in floating point, and ``reason`` why.

    ``reason`` is half a sentence: it follows "because".
    """

    norms: dict[str, str]
    reason: str
    arithmetic: ClassVar[str] = "float"
    engines: ClassVar[tuple[str, ...]] = ("torch",)

    @property
    def where(self) -> str:
        """Half a sentence: where packed weights run, and why not elsewhere."""
        return f"in floating point, on torch alone, because {self.reason}"


def float_wiring(build: Callable[[Config], nn.Module], config: Config, reason: str) -> FloatWiring:
    """Return the norms of an architecture whose layers name them.

    ``proj1_conv`` has ``proj1_bn`` and ``proj_conv1`` has ``proj_bn1``; where there is none of that name, ``q`` has
    ``q_bn`` and ``conv5`` has ``conv5_bn``; the head has none. Raises ``UsageError`` for sizes that no model can have.
    """
    import torch
    from torch import nn

    with torch.device("meta"):
        model = build(config)
    modules = dict(model.named_modules())
    layers = [name for name, module in modules.items() if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d)]
    norms = {name: _norm_of(name, modules) for name in layers}
    for name, module in modules.items():  # the last core of a decomposed layer stands where the layer stood
        if last := getattr(module, "last", None):
            norms[f"{name}.{last}"] = _norm_of(name, modules)
    return FloatWiring({layer: norm for layer, norm in norms.items() if norm in modules}, reason)


def _norm_of(layer: str, modules: Mapping[str, object]) -> str:
    parent, _, name = layer.rpartition(".")
    replaced = f"{parent}.{name.replace('conv', 'bn')}"
    return replaced if replaced != layer and replaced in modules else f"{layer}_bn"
