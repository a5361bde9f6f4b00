"""Which modules are spiking neurons, what they put out, and whether the event model has a price for their updates.

Four streams leave a neuron: ``spikes`` 0 and 1; ``ternary`` ones −1, 0 and 1; ``multispikes``, whole numbers, several
spikes (or, below zero, spikes that are taken away) in one time step; and ``reals``. The class says which, and what a
neuron is seen to put out decides where it says another: a surrogate with ``spiking=False`` gives reals.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

from snnq.base.errors import UsageError

if TYPE_CHECKING:
    from jaxtyping import Float32
    from torch import Generator, Tensor, nn

STREAMS = ("spikes", "ternary", "multispikes", "reals")
# SpikingJelly's neurons by what they put out.
CLASSES: dict[str, tuple[str, ...]] = {
    "spikes": (
        *("IFNode", "LIFNode", "ParametricLIFNode", "KLIFNode", "SimpleIFNode", "SimpleLIFNode", "HalfThresholdIFNode"),
        *("ActivationAwareIFNode", "OTTTLIFNode", "SLTTLIFNode", "PSN", "MaskedPSN", "SlidingPSN", "GatedLIFNode"),
        *("QIFNode", "EIFNode", "IzhikevichNode", "RAFNode", "ComplementaryLIFNode", "CUBALIFNode", "MPBNLIFNode"),
        *("ILCIFNode", "ILCLIFNode", "ILCCUBALIFNode", "NoisyCUBALIFNode", "NoisyILCCUBALIFNode"),
    ),
    "ternary": ("TernaryIFNode", "TernaryLIFNode", "STBIFNode"),
    "multispikes": ("ILIFNode",),
    "reals": (
        *("NonSpikingIFNode", "NonSpikingLIFNode", "NoisyNonSpikingIFNode", "DSRIFNode", "DSRLIFNode"),
        *("FewSpikeNode", "HGNode", "OutlierAwareThresholdNode"),
    ),
}
# Of snnq's own.
OURS: dict[str, str] = {"IntegerSpikes": "multispikes"}
# An update of these is a charge (with a leak, or not), a comparison and a reset: what cost tables price as a neuron's.
PRICED = (
    *("IFNode", "LIFNode", "ParametricLIFNode", "SimpleIFNode", "SimpleLIFNode", "HalfThresholdIFNode"),
    *("ActivationAwareIFNode", "OTTTLIFNode", "SLTTLIFNode", "ILIFNode", "TernaryIFNode", "TernaryLIFNode"),
    *("IntegerLIF", "IntegerCounts", "IntegerSpikes"),
)
_KIND = {name: kind for kind, names in CLASSES.items() for name in names} | OURS


@cache
def neuron_classes() -> tuple[type, ...]:
    """Return every neuron class of SpikingJelly; not all of them have one base class."""
    from spikingjelly.activation_based import neuron
    from torch import nn

    return tuple(one for one in vars(neuron).values() if isinstance(one, type) and issubclass(one, nn.Module))


def is_neuron(module: nn.Module) -> bool:
    """Return whether a module is a neuron of SpikingJelly, or of a class derived from one."""
    return isinstance(module, neuron_classes())


def substeps(model: nn.Module) -> int:
    """Return D, the most spikes that a neuron of a model puts out in one time step; 1 where none says another."""
    nodes = [module for module in model.modules() if is_neuron(module)]
    limits = [getattr(getattr(node, "surrogate_function", None), "max_spike_count", 1) for node in nodes]
    return max((1, *limits, *(getattr(node, "substeps", 1) for node in nodes)))


def unpriced(model: nn.Module) -> Iterator[tuple[str, str]]:
    """Yield path and class of the neurons whose updates the event model has no price for."""
    for name, module in model.named_modules():
        if is_neuron(module) and type(module).__name__ not in PRICED:
            yield name, type(module).__name__


def stream_of(values: Tensor) -> str:
    """Return which of the streams these values can be of; zeros alone are spikes."""
    if not bool((values == values.round()).all()):
        return "reals"
    if bool(((values == 0) | (values == 1)).all()):
        return "spikes"
    return "ternary" if float(values.abs().max()) <= 1 else "multispikes"


def stream(name: str, module: nn.Module, given: Tensor, output: Tensor) -> str:
    """Return what the neurons at path ``name`` put out: what their class says, unless more is seen in ``output``.

    Neurons of a class that is not known, such as one's own, are asked with random currents of the shape of ``given``.
    Raises UsageError where those make none of them fire.
    """
    known, seen = _KIND.get(type(module).__name__), stream_of(output)
    if known is None:
        seen = max(seen, _answer(name, module, given), key=STREAMS.index)
    return max(known or seen, seen, key=STREAMS.index)


def _answer(name: str, module: nn.Module, given: Tensor) -> str:
    import torch

    draw = torch.Generator().manual_seed(0)
    for size in (1.0, 10.0, 100.0):
        currents = (torch.randn(given.shape, generator=draw) * size).to(given)
        try:
            found = module.forward(currents)
        except (RuntimeError, TypeError, ValueError):
            break
        if isinstance(found, torch.Tensor) and bool((found != 0).any()):
            return stream_of(found)
    raise UsageError(
        f"neurons '{name}' are {type(module).__name__}, whose output is not known here, and random currents up to some "
        "100 do not make them fire",
        f"known are SpikingJelly's {', '.join(_KIND)}, and classes of one's own that fire",
    )


def drawn(kind: str, shape: tuple[int, ...], generator: Generator) -> Float32[Tensor, "*shape"]:
    """Return random values of a stream, float32: multispikes are 0 … 3."""
    import torch

    if kind == "reals":
        return torch.rand(shape, generator=generator) + 0.25
    low, high = {"spikes": (0, 2), "ternary": (-1, 2), "multispikes": (0, 4)}[kind]
    return torch.randint(low, high, shape, generator=generator).float()
