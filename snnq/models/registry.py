"""The architectures by name. A new one is a file in this folder, a key map in ``checkpoints`` and a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from snnq.errors import UsageError, nearest
from snnq.models.config import LAYOUTS, SpikformerConfig, published
from snnq.models.wiring import Wiring, spikformer_wiring

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Architecture:
    """How to build one architecture, its published sizes, and what follows each of its layers."""

    name: str
    build: Callable[[Mapping[str, Any]], nn.Module]
    default_config: Callable[[], dict[str, Any]]
    wiring: Callable[[Mapping[str, Any]], Wiring]


def _build_spikformer(layout: str, config: Mapping[str, Any]) -> nn.Module:
    from snnq.models.spikformer import Spikformer

    found = config.get("layout", layout)
    if found != layout:
        raise UsageError(f"architecture spikformer-{layout}: its config says layout '{found}', it must be '{layout}'")
    return Spikformer(SpikformerConfig.from_dict({**config, "layout": layout}))


def _default_spikformer(layout: str) -> dict[str, Any]:
    return published(layout).to_dict()


def _spikformer_wiring(layout: str, config: Mapping[str, Any]) -> Wiring:
    return spikformer_wiring(SpikformerConfig.from_dict({**config, "layout": layout}))


ARCHITECTURES: dict[str, Architecture] = {
    f"spikformer-{layout}": Architecture(
        name=f"spikformer-{layout}",
        build=partial(_build_spikformer, layout),
        default_config=partial(_default_spikformer, layout),
        wiring=partial(_spikformer_wiring, layout),
    )
    for layout in LAYOUTS
}


def architecture(name: str) -> Architecture:
    """Return the architecture called ``name``; raises ``UsageError`` naming the nearest one."""
    if name not in ARCHITECTURES:
        raise UsageError(
            f"architecture: found '{name}', allowed are {', '.join(ARCHITECTURES)}{nearest(name, ARCHITECTURES)}"
        )
    return ARCHITECTURES[name]


def build(name: str, config: Mapping[str, Any]) -> nn.Module:
    """Return a new model; config keys left out take the architecture's published sizes.

    Raises ``UsageError`` for an unknown architecture or key, or sizes that contradict each other.
    """
    return architecture(name).build(config)
