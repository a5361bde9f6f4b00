"""The architectures by name. A new one is a file in this folder, a key map in ``checkpoints`` and a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from snnq.errors import UsageError, nearest
from snnq.models.config import LAYOUTS as SPIKFORMERS
from snnq.models.config import SpikformerConfig
from snnq.models.sdt_config import LAYOUTS as SDTS
from snnq.models.sdt_config import SDTConfig
from snnq.models.sizes import Sizes
from snnq.models.spikingformer_config import LAYOUTS as SPIKINGFORMERS
from snnq.models.spikingformer_config import SpikingformerConfig
from snnq.models.wiring import FloatWiring, Wiring, float_wiring, spikformer_wiring

if TYPE_CHECKING:
    from torch import nn

_CHUNKED = "its attention mixes several time steps at once, and whole numbers run step by step"
_POOLED = "it max-pools what its norms put out, real numbers, before a neuron makes spikes of it"
_MEMBRANE = "its residuals are membrane potentials, real numbers that are added between a layer and its neuron"


@dataclass(frozen=True)
class Architecture:
    """One architecture: its sizes and its model, from JSON-ready values, and what follows each of its layers.

    ``layout`` is the layout its configs name, ``config_of`` reads such a config, ``made_by`` names the class of the
    model, ``floating`` says why packed weights run in floating point (None: in whole numbers; see ``wiring``).
    """

    name: str
    layout: str
    config_of: Callable[[Mapping[str, Any]], Sizes]
    made_by: str
    floating: str | None = None

    def config(self, values: Mapping[str, Any]) -> Sizes:
        """Return the sizes that ``values`` say; those left out are the published ones; raises ``UsageError``."""
        found = values.get("layout", self.layout)
        if found != self.layout:
            raise UsageError(f"architecture {self.name}: its config says layout '{found}', it must be '{self.layout}'")
        return self.config_of({**values, "layout": self.layout})

    def default_config(self) -> dict[str, Any]:
        """Return the published sizes."""
        return self.config({}).to_dict()

    def build(self, values: Mapping[str, Any]) -> nn.Module:
        """Return a new model; raises ``UsageError`` for sizes that contradict each other."""
        module, _, made_by = self.made_by.partition(":")
        return getattr(import_module(f"snnq.models.{module}"), made_by)(self.config(values))

    def wiring(self, values: Mapping[str, Any]) -> Wiring | FloatWiring:
        """Return what follows each layer; a ``FloatWiring`` where packed weights do not run in whole numbers."""
        config = self.config(values)
        if isinstance(config, SpikformerConfig) and self.floating is None and config.chunk is None:
            return spikformer_wiring(config)
        return float_wiring(self.build, values, self.floating or _CHUNKED)


_ALL = (
    *(
        Architecture(f"spikformer-{name}", name, SpikformerConfig.from_dict, "spikformer:Spikformer", reason)
        for name, reason in zip(SPIKFORMERS, (None, None, None, _POOLED), strict=True)
    ),
    *(Architecture(name, name, SDTConfig.from_dict, "sdt:SpikeDrivenTransformer", _MEMBRANE) for name in SDTS),
    *(
        Architecture(name, name, SpikingformerConfig.from_dict, "spikingformer:Spikingformer", _MEMBRANE)
        for name in SPIKINGFORMERS
    ),
)
ARCHITECTURES: dict[str, Architecture] = {one.name: one for one in _ALL}


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
