"""The architectures by name. A new one is a file in this folder, a key map in ``checkpoints`` and a line here.

Users' own models join them by ``register_model``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from snnq.base.errors import UsageError, nearest
from snnq.models.config import LAYOUTS as SPIKFORMERS
from snnq.models.config import SpikformerConfig, spikformer_wiring
from snnq.models.custom import Builder, CustomSizes, adopt, build_custom, find_builder
from snnq.models.plain import make_plain
from snnq.models.sdt_config import LAYOUTS as SDTS
from snnq.models.sdt_config import SDTConfig
from snnq.models.sizes import Sizes
from snnq.models.spikingformer_config import LAYOUTS as SPIKINGFORMERS
from snnq.models.spikingformer_config import SpikingformerConfig
from snnq.models.staged_config import MAXFORMERS, QKFORMERS, StagedConfig
from snnq.network.wiring import FloatWiring, Wiring, float_wiring

if TYPE_CHECKING:
    from torch import nn

_CHUNKED = "its attention mixes several time steps at once, and whole numbers run step by step"
_CUSTOM = "it is a model of your own, and the integer engine knows only the wiring of Spikformers"
_POOLED = "it max-pools what its norms put out, real numbers, before a neuron makes spikes of it"
_MEMBRANE = "its residuals are membrane potentials, real numbers that are added between a layer and its neuron"


@dataclass(frozen=True)
class Architecture:
    """One architecture: its sizes and its model, from JSON-ready values, and what follows each of its layers.

    ``layout`` is the layout its configs name, ``config_of`` reads such a config, ``made_by`` names the class of the
    model (or is the builder of a user's own), ``floating`` says why packed weights run in floating point (None: in
    whole numbers; see ``wiring``).
    """

    name: str
    layout: str
    config_of: Callable[[Mapping[str, Any]], Sizes]
    made_by: str | Builder
    floating: str | None = None

    @property
    def builder(self) -> Builder | None:
        """The function that builds a user's own model; None for an architecture that is written here."""
        return None if isinstance(self.made_by, str) else self.made_by

    @property
    def fields(self) -> tuple[str, ...]:
        """The keys that a whole config has."""
        return tuple(self.default_config()) if self.builder is None else CustomSizes.NEEDED

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
        if isinstance(self.made_by, str):
            module, _, made_by = self.made_by.partition(":")
            return getattr(import_module(f"snnq.models.{module}"), made_by)(self.config(values))
        config: Any = self.config(values)
        model = build_custom(self.name, self.made_by, config.arguments)
        make_plain(model)
        return adopt(model, config)

    def wiring(self, values: Mapping[str, Any]) -> Wiring | FloatWiring:
        """Return what follows each layer; a ``FloatWiring`` where packed weights do not run in whole numbers."""
        config = self.config(values)
        if self.builder is not None:
            return FloatWiring({}, self.floating or "")
        if isinstance(config, SpikformerConfig) and self.floating is None and config.chunk is None:
            return spikformer_wiring(config)
        return float_wiring(self.build, values, self.floating or _CHUNKED)


_ALL = (
    *(
        Architecture(f"spikformer-{name}", name, SpikformerConfig.from_dict, "spikformer:Spikformer", reason)
        for name, reason in zip(SPIKFORMERS, (None, None, None, _POOLED), strict=True)
    ),
    *(Architecture(name, name, SDTConfig.from_dict, "sdt:SpikeDrivenTransformer", _MEMBRANE) for name in SDTS),
    *(Architecture(name, name, StagedConfig.from_dict, "qkformer:QKFormer", _POOLED) for name in QKFORMERS),
    *(Architecture(name, name, StagedConfig.from_dict, "maxformer:MaxFormer", _MEMBRANE) for name in MAXFORMERS),
    *(
        Architecture(name, name, SpikingformerConfig.from_dict, "spikingformer:Spikingformer", _MEMBRANE)
        for name in SPIKINGFORMERS
    ),
)
ARCHITECTURES: dict[str, Architecture] = {one.name: one for one in _ALL}
OWN: dict[str, Architecture] = {}  # users' own models, by the name of their builder


def register_model(builder: str | Builder) -> Architecture:
    """Make a user's own model known, by the function that builds it; return it as an architecture.

    ``builder`` is the function, or its name: ``package.module:builder`` or ``path/to/file.py:builder``; a name's module
    is imported, so its code runs. Only models that were registered are built from a plan or a packed folder, whatever
    name stands in it. Raises ``UsageError`` where there is no such function.
    """
    name = builder if isinstance(builder, str) else f"{builder.__module__}:{builder.__qualname__}"
    if not isinstance(builder, str) or name not in OWN:
        made_by = find_builder(builder) if isinstance(builder, str) else builder
        OWN[name] = Architecture(name, name, CustomSizes.from_dict, made_by, _CUSTOM)
    return OWN[name]


def unregistered(name: str) -> bool:
    """Return whether ``name`` is of somebody's own model that nobody has said to run."""
    return ":" in name and name not in OWN


def architecture(name: str) -> Architecture:
    """Return the architecture called ``name``; raises ``UsageError`` naming the nearest one."""
    if unregistered(name):
        raise UsageError(
            f"architecture '{name}' is somebody's own model: its code is run only where you say so",
            f"if you trust it, add --model {name}, or call snnq.register_model('{name}') in Python",
        )
    known = OWN | ARCHITECTURES
    if name not in known:
        raise UsageError(
            f"architecture: found '{name}', allowed are {', '.join(ARCHITECTURES)}{nearest(name, ARCHITECTURES)}"
        )
    return known[name]


def build(name: str, config: Mapping[str, Any]) -> nn.Module:
    """Return a new model; config keys left out take the architecture's published sizes.

    Raises ``UsageError`` for an unknown architecture or key, or sizes that contradict each other.
    """
    return architecture(name).build(config)
