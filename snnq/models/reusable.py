"""Attentions whose spikes can be made of another one's: what ``snnq reuse`` edits (``snnq.structure.reused``)."""

from __future__ import annotations

from copy import deepcopy
from typing import ClassVar

import torch
from torch import Tensor, nn

from snnq.models.neurons import fire
from snnq.network.operations import THRESHOLD


class Passed:
    """Spikes on their way from one attention to the next one that runs."""

    def __init__(self) -> None:
        self.spikes: Tensor | None = None

    def take(self) -> Tensor:
        """Return the spikes, once: what stayed would hold a graph of gradients, and could not be copied."""
        found, self.spikes = self.spikes, None
        if found is None:
            raise RuntimeError("an attention runs before the one whose spikes it reuses")
        return found


class Reusable(nn.Module):
    """An attention whose spikes can be made of those of an attention before it, in place of its own products.

    ``attend`` returns its spikes, ``finish`` what becomes of spikes and input; ``OWN`` are the children that nothing
    but ``attend`` runs. After ``reuse_spikes_of(other)`` it has none of these, but layer, norm and neuron of its own:

        spikes = LIF(norm(W · spikes of the other)),   W (C, C)
    """

    OWN: ClassVar[tuple[str, ...]] = ()
    PROJECTION: ClassVar[str] = "proj"
    channels_last: bool = False
    takes: Passed | None = None
    passes: Passed | None = None

    def attend(self, x: Tensor) -> Tensor:
        """Return the spikes of this attention."""
        raise NotImplementedError

    def finish(self, spikes: Tensor, x: Tensor) -> Tensor:
        """Return what goes on from spikes and the input."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Return what goes on from the spikes."""
        spikes = self.attend(x) if self.takes is None else self._transformed(self.takes.take())
        if self.passes is not None:
            self.passes.spikes = spikes
        return self.finish(spikes, x)

    def reuse_spikes_of(self, other: Reusable) -> None:
        """Take the spikes of an attention that runs before this one, from now on.

        Before any training a spike passes: the layer is the identity, and the norm's variance lets one spike of input
        make one of output. Raises ``ValueError`` where the other's spikes do not fit, or go to another one already.
        """
        if self.takes is not None:
            raise ValueError("it reuses spikes already")
        if self.passes is not None:  # along a chain, the first comes first
            raise ValueError("its own spikes are reused already")
        if other.passes is not None:
            raise ValueError("its spikes are passed on already")
        projection: nn.Module = self.get_submodule(self.PROJECTION)
        weight, theirs = projection.get_parameter("weight"), other.get_submodule(other.PROJECTION)
        if type(theirs) is not type(projection) or theirs.get_parameter("weight").shape[1] != weight.shape[1]:
            raise ValueError("their projections are of different kinds or widths")
        kept = {name: child for name, child in self.named_children() if name not in self.OWN}
        made = self._transformation(projection, weight)
        for name, _ in list(self.named_children()):
            delattr(self, name)
        for name, child in (made | kept).items():
            self.add_module(name, child)
        self.takes = other.passes = Passed()

    def _transformation(self, projection: nn.Module, weight: Tensor) -> dict[str, nn.Module]:
        """Return layer, norm and neuron, as the projection's kind has them."""
        channels, place = weight.shape[1], {"device": weight.device, "dtype": weight.dtype}
        if isinstance(projection, nn.Linear):
            layer: nn.Module = nn.Linear(channels, channels, bias=False, **place)
        else:
            layer = type(projection)(channels, channels, 1, bias=False, **place)  # pyright: ignore
        norm: nn.Module = type(self.get_submodule("proj_bn"))(channels, **place)  # pyright: ignore
        node = deepcopy(self.get_submodule("attn_lif"))
        setattr(node, "v_threshold", THRESHOLD)  # noqa: B010 (a number, which pyright takes for a module)
        with torch.no_grad():
            identity = torch.eye(channels, **place)
            layer.get_parameter("weight").copy_(identity.view(layer.get_parameter("weight").shape))
            # A current of 1 becomes 4, twice what a neuron at rest with a leak of ½ needs.
            norm.get_buffer("running_var").fill_(1 / 16)
        names = [self.PROJECTION.replace("proj", "reuse"), "reuse_bn", "reuse_lif"]
        return {name: one.train(self.training) for name, one in zip(names, (layer, norm, node), strict=True)}

    def _transformed(self, spikes: Tensor) -> Tensor:
        parts = (self.get_submodule(one) for one in (self.PROJECTION.replace("proj", "reuse"), "reuse_bn", "reuse_lif"))
        return fire(spikes, *parts, channels_last=self.channels_last)
