"""A structure: the named edits that make a model another one than its architecture and sizes build.

It is part of the model's config, as ``"structure": [{"edit": "name", …parameters}, …]``, and so stands in a
checkpoint's metadata, in a plan's ``model`` and in a packed folder's config.json; a model without edits has no such
key. ``models.Architecture.build`` applies it, so that no place that rebuilds a model can leave it out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from snnq.base.errors import UsageError, nearest
from snnq.base.strict_json import Config, Json

if TYPE_CHECKING:
    from torch import nn

    from snnq.network.graph import Graph
    from snnq.network.products import Products

STRUCTURE = "structure"
Edits = tuple[Json, ...]


@dataclass(frozen=True)
class Edit:
    """A named way to make another model of one.

    ``apply(model, **parameters)`` returns the edited model, which may be the same one. It edits values where there are
    any, and runs on the meta device, where there are none; what it returns depends on shapes and parameters alone, so
    that the edited weights fit a model that is built and edited anew. Parameters are JSON-ready; it raises
    ``UsageError`` for those that do not fit the model. ``describe(**parameters)`` says in words what it did.
    ``floating`` is half a sentence after "because": why packed weights of an edited model run in floating point; None
    where every layer has the norm, the neuron and the range of input that it had. ``values_only``: nothing but values
    of weights is another, so that whoever writes out whole models need not know of the edit. ``redrawn(graph,
    **parameters)`` returns the graph of the edited model, and ``mixing(products, **parameters)`` the products of its
    attentions; None where operations stay as they are.
    """

    name: str
    apply: Callable[..., nn.Module]
    describe: Callable[..., str]
    floating: str | None = None
    values_only: bool = False
    redrawn: Callable[..., Graph] | None = None
    mixing: Callable[..., tuple[Products, ...]] | None = None


def _lazily(module: str, name: str) -> Callable[..., Any]:
    """Return a function of ``snnq.structure.<module>`` that is imported when it is called."""
    return lambda *given, **named: getattr(import_module(f"snnq.structure.{module}"), name)(*given, **named)


_SILENCED = "neurons that fire too seldom are silenced after all of their steps, and whole numbers run step by step"
EDITS: dict[str, Edit] = {
    "activations": Edit(
        "activations",
        _lazily("activations", "quantised"),
        _lazily("activations", "described"),
        redrawn=_lazily("activations", "redrawn"),
    ),
    "factored": Edit(
        "factored",
        _lazily("factored", "factored"),
        _lazily("factored", "described"),
        redrawn=_lazily("drawn_cores", "redrawn"),
    ),
    "masked": Edit("masked", _lazily("masked", "masked"), _lazily("masked", "described"), values_only=True),
    "narrowed": Edit("narrowed", _lazily("narrowed", "narrowed"), _lazily("narrowed", "described")),
    "reused": Edit(
        "reused",
        _lazily("reused", "reused"),
        _lazily("reused", "described"),
        redrawn=_lazily("reused", "redrawn"),
        mixing=_lazily("reused", "still_mixing"),
    ),
    "silenced": Edit("silenced", _lazily("silenced", "silenced"), _lazily("silenced", "described"), _SILENCED),
}


def register_edit(edit: Edit) -> Edit:
    """Make an edit known by its name; return it. Raises ``UsageError`` for a name that another one has."""
    if EDITS.get(edit.name, edit) != edit:
        raise UsageError(f"edit '{edit.name}': the name is taken", "give the edit another name")
    EDITS[edit.name] = edit
    return edit


def edits_of(config: Config) -> Edits:
    """Return the structure in a model's config; raises ``UsageError`` where it is no list of known edits."""
    found = config.get(STRUCTURE, ())
    if not isinstance(found, list | tuple) or not all(isinstance(one, Mapping) and "edit" in one for one in found):
        raise UsageError(f'{STRUCTURE}: found {found!r}, it must be a list of {{"edit": name, …}}')
    for one in found:
        _known(one)
    return tuple(dict(one) for one in found)


def apply_edits(model: nn.Module, edits: Iterable[Config]) -> nn.Module:
    """Return a model after further edits, with all that were made of it in its attribute ``structure``.

    Raises ``UsageError`` for an edit that is not known and for parameters that do not fit it or the model.
    """
    for one in edits:
        edit, before = _known(one), getattr(model, STRUCTURE, ())
        try:
            model = edit.apply(model, **_parameters(one))
        except UsageError:
            raise
        except Exception as problem:  # whatever it raises for parameters that a file made up
            said = f"{type(problem).__name__}: {problem}"
            raise UsageError(f"{STRUCTURE}: the edit '{edit.name}' cannot be made of this model ({said})") from problem
        model.structure = (*before, dict(one))  # pyright: ignore[reportArgumentType]
    return model


def renamed(edits: Iterable[Config], then: str, now: str) -> Edits:
    """Return the edits for a model whose modules' paths have ``now`` where they had ``then``."""

    def of(value: Any) -> Any:
        if isinstance(value, str):
            return value.replace(then, now)
        if isinstance(value, Mapping):
            return {of(key): of(one) for key, one in value.items()}
        return [of(one) for one in value] if isinstance(value, list | tuple) else value

    return tuple({**of(dict(one)), "edit": one["edit"]} for one in edits)


def structure_key(model: nn.Module) -> Json:
    """Return what a config says of a model's edits: nothing where there are none."""
    made = getattr(model, STRUCTURE, ())
    return {STRUCTURE: [dict(one) for one in made]} if made else {}


def described(edits: Iterable[Config]) -> str:
    """Return the edits in words, in the order they were made."""
    return "; ".join(_known(one).describe(**_parameters(one)) for one in edits)


def values_only(edits: Iterable[Config]) -> bool:
    """Return whether nothing but values of weights is another after the edits."""
    return all(_known(one).values_only for one in edits)


def floating_because(edits: Iterable[Config]) -> str | None:
    """Return the first edit's reason why packed weights run in floating point; None where there is none."""
    return next((reason for one in edits if (reason := _known(one).floating)), None)


def redrawn(graph: Graph, edits: Iterable[Config]) -> Graph:
    """Return the graph of a model after its edits, of the graph that its sizes have."""
    for one in edits:
        if (edit := _known(one)).redrawn is not None:
            graph = edit.redrawn(graph, **_parameters(one))
    return graph


def mixing(products: tuple[Products, ...], edits: Iterable[Config]) -> tuple[Products, ...]:
    """Return the products of a model's attentions after its edits."""
    for one in edits:
        if (edit := _known(one)).mixing is not None:
            products = edit.mixing(products, **_parameters(one))
    return products


def _known(one: Config) -> Edit:
    name = str(one["edit"])
    if name not in EDITS:
        raise UsageError(
            f"{STRUCTURE}: the edit '{name}' is not known here{nearest(name, EDITS)}",
            "if it is your own, call snnq.register_edit first",
        )
    return EDITS[name]


def _parameters(one: Config) -> Json:
    return {name: value for name, value in one.items() if name != "edit"}
