"""Architectures of a test's own, of a Spikformer's sizes: a module, its graph, and a place in the registry."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from torch import nn

import snnq
from snnq.models.architecture import Architecture
from snnq.models.registry import ARCHITECTURES
from snnq.models.spikformer.sizes import SpikformerConfig
from snnq.network.graph import Graph

Drawn = Architecture[SpikformerConfig]


def drawn_architecture(
    name: str, model: Callable[[SpikformerConfig], nn.Module], graph: Callable[[SpikformerConfig], Graph]
) -> Drawn:
    """Return an architecture that is built by one function and drawn by another."""

    def sizes(values: object) -> SpikformerConfig:
        assert isinstance(values, dict)
        return SpikformerConfig.published("cifar10dvs", **{k: v for k, v in values.items() if k != "layout"})

    return Architecture(name, "cifar10dvs", sizes, model, graph)


@contextmanager
def registered(architectures: Sequence[Drawn]) -> Iterator[None]:
    """Have architectures in the registry for a while."""
    for one in architectures:
        snnq.register_architecture(one)
    yield
    for one in architectures:
        del ARCHITECTURES[one.name]
