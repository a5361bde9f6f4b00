"""An architecture is one record of facts: what the rooms above ask of it, so that none of them knows it by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Generic, Literal

from snnq.base.errors import UsageError
from snnq.base.strict_json import Config, Json
from snnq.models.custom import Builder, CustomSizes
from snnq.models.sizes import Sizes, TransformerSizes
from snnq.models.upstream import ASKED, NO_UPSTREAM, S, SpikingJellyClass, Upstream
from snnq.network.graph import Graph
from snnq.network.products import Order, Products
from snnq.network.wiring import FloatWiring, Wiring, float_wiring, wire
from snnq.structure.edits import STRUCTURE, apply_edits, edits_of, floating_because, mixing, redrawn

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Grafted:
    """A model with STAtten's attention on the same weights: its ``config``, and ``renamed`` (our names, then, now)."""

    architecture: str
    config: Config
    renamed: tuple[str, str] | None = None


def lazily(module: str, name: str) -> Callable[[Sizes], nn.Module]:
    """Return what builds a model of its sizes: the class ``name`` of ``snnq.models.<module>``, imported when called."""
    return lambda sizes: getattr(import_module(f"snnq.models.{module}"), name)(sizes)


def block_products(
    sizes: TransformerSizes,
    order: Order,
    scaled: Literal["operand", "end"] | None,
    scale: float | None,
    chunk: int | None = None,
) -> tuple[Products, ...]:
    """Return the products of a model whose blocks all have the same attention, ``block.<index>.attn``."""
    heads, tokens, names = sizes.last_heads, sizes.tokens, [f"block.{index}.attn" for index in range(sizes.depth)]
    per_head = (heads, tokens, sizes.dim // heads)
    return tuple(Products(name, order, *per_head, sizes.steps, chunk or 1, scale, scaled) for name in names)


@dataclass(frozen=True)
class Architecture(Generic[S]):
    """One architecture: everything that follows from its name.

    ``layout`` is what its configs call themselves, ``config_of`` reads such a config (frozen sizes; what is left out
    is the published size) and ``make`` builds the model from them: an ``nn.Module`` with ``.config``, frames
    (B, T, C, H, W) → logits (B, classes), neurons at rest before and after; an attribute ``groups`` says which group a
    layer is in (``network.layers``). Both raise ``UsageError`` for sizes that no model can have.

    ``graph_of`` returns the operations of the forward pass (``network.drawing``); whole numbers follow from it. Where
    there is none, it returns half a sentence after "because", why packed weights run in floating point; norms are named
    as ``float_wiring`` says, then, or it returns a ``FloatWiring``. ``products_of`` returns the products of every
    attention in the order they run, none where it is not known; the module of each is a ``SpikingAttention``. ``graft``
    takes a config, a chunk and a scale (None: the usual) and returns the model with STAtten's attention. ``builder`` is
    the function that builds a user's own model.
    """

    name: str
    layout: str
    config_of: Callable[[Config], S]
    make: Callable[[S], nn.Module]
    graph_of: Callable[[S], Graph | FloatWiring | str]
    products_of: Callable[[S], tuple[Products, ...]] = lambda sizes: ()
    upstream: Upstream = NO_UPSTREAM
    spikingjelly: SpikingJellyClass[S] | None = None
    graft: Callable[[Config, int, float | None], Grafted] | None = None
    builder: Builder | None = None

    @property
    def fields(self) -> tuple[str, ...]:
        """The keys that a whole config has."""
        return tuple(self.default_config()) if self.builder is None else CustomSizes.NEEDED

    def config(self, values: Config) -> S:
        """Return the sizes that ``values`` say; those left out are the published ones; raises ``UsageError``."""
        found = values.get("layout", self.layout)
        if found != self.layout:
            raise UsageError(f"architecture {self.name}: its config says layout '{found}', it must be '{self.layout}'")
        sizes = {name: value for name, value in values.items() if name != STRUCTURE}
        return self.config_of({**sizes, "layout": self.layout})

    def default_config(self) -> Json:
        """Return the published sizes."""
        return self.config({}).to_dict()

    def build(self, values: Config) -> nn.Module:
        """Return a new model, edited as ``values`` say; raises ``UsageError`` for sizes that contradict each other."""
        return apply_edits(self.make(self.config(values)), edits_of(values))

    def wiring(self, values: Config) -> Wiring | FloatWiring:
        """Return what follows each layer; a ``FloatWiring`` where packed weights do not run in whole numbers."""
        sizes, edits = self.config(values), edits_of(values)
        own = self.graph_of(sizes)
        found = own if isinstance(own, str) else floating_because(edits) or own
        if isinstance(found, Graph):
            return wire(redrawn(found, edits))
        return float_wiring(self.build, values, found) if isinstance(found, str) else found

    def graph(self, values: Config) -> Graph | None:
        """Return the operations of a model; None where they are not known."""
        found = self.graph_of(self.config(values))
        return redrawn(found, edits_of(values)) if isinstance(found, Graph) else None

    def products(self, values: Config) -> tuple[Products, ...]:
        """Return the products of every attention of a model, edited as ``values`` say, in the order they run."""
        return mixing(self.products_of(self.config(values)), edits_of(values))

    def asked(self) -> tuple[str, ...]:
        """Return what upstream's keys do not show and its class has a choice of, as in ``ASKED``."""
        usual = self.config({})
        return tuple(one for one in ASKED if getattr(usual, one, None) is not None and one not in self.upstream.always)

    def trained(self, channels: int | None = None) -> tuple[tuple[str, Config], ...]:
        """Return the published models: the data each was trained on and what ``asked`` names of it.

        Those for ``channels`` input channels, where there are any. The data is "" where there is one model alone.
        """
        found = [one for one in self.upstream.trained if channels in (None, one[1])]
        if not found:
            usual = self.config({})
            return (("", {one: getattr(usual, one) for one in self.asked()}),)
        return tuple((data, sizes) for data, _, sizes in found)
