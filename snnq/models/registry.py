"""The architectures by name, a row each.

Other people's join them by ``register_architecture``, users' own models by ``register_model``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from snnq.base.errors import UsageError, nearest
from snnq.base.strict_json import Config
from snnq.models.architecture import Architecture
from snnq.models.custom import Builder, CustomSizes, adopt, build_custom, find_builder, named_file
from snnq.models.metaformer.facts import METAFORMERS
from snnq.models.plain import make_plain
from snnq.models.respike.facts import RESPIKES
from snnq.models.sdt.facts import SDTS
from snnq.models.spikformer.facts import SPIKFORMERS
from snnq.models.spikingformer.facts import SPIKINGFORMERS
from snnq.models.staged.facts import MAXFORMERS, QKFORMERS
from snnq.network.products import Products

if TYPE_CHECKING:
    from torch import nn

_ROWS = (*SPIKFORMERS, *SDTS, *QKFORMERS, *MAXFORMERS, *SPIKINGFORMERS, *METAFORMERS, *RESPIKES)
ARCHITECTURES: dict[str, Architecture] = {one.name: one for one in _ROWS}
OWN: dict[str, Architecture] = {}  # users' own models, by the name of their builder
_FILES: dict[str, tuple[str, str] | None] = {}  # the file that each of them stood in


def register_architecture(record: Architecture) -> Architecture:
    """Make an architecture known by its name, as those written here are; return it.

    Raises ``UsageError`` for a name that another one has, or that is a builder's (``package.module:builder``).
    """
    if ":" in record.name or ARCHITECTURES.get(record.name, record) != record:
        raise UsageError(f"architecture '{record.name}': the name is taken", "give the record another name")
    ARCHITECTURES[record.name] = record
    return record


def register_model(builder: str | Builder) -> Architecture:
    """Make a user's own model known, by the function that builds it; return it as an architecture.

    ``builder`` is the function, or its name: ``package.module:builder`` or ``path/to/file.py:builder``; a name's module
    is imported, so its code runs, again where the name means another file by now. Only models that were registered are
    built from a plan or a packed folder, whatever name stands in it. Raises ``UsageError`` where there is no such
    function.
    """
    name = builder if isinstance(builder, str) else f"{builder.__module__}:{builder.__qualname__}"
    file = named_file(name) if isinstance(builder, str) else None
    if not isinstance(builder, str) or name not in OWN or _FILES.get(name) != file:
        made_by = find_builder(builder) if isinstance(builder, str) else builder

        def make(sizes: CustomSizes) -> nn.Module:
            model = build_custom(name, made_by, sizes.arguments)
            make_plain(model)
            return adopt(model, sizes)

        OWN[name] = Architecture(name, name, CustomSizes.from_dict, make, CustomSizes.wired_from, builder=made_by)
        _FILES[name] = file
    return OWN[name]


def described(name: str) -> Architecture:
    """Return the architecture called ``name``; of somebody's own model all but its code, which is not run.

    Its graph stands in its config. Raises ``UsageError`` naming the nearest one, and where such a model is built.
    """
    if not unregistered(name):
        return architecture(name)
    return Architecture(name, name, CustomSizes.from_dict, lambda _: architecture(name), CustomSizes.wired_from)  # pyright: ignore


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


def build(name: str, config: Config) -> nn.Module:
    """Return a new model; config keys left out take the architecture's published sizes.

    Raises ``UsageError`` for an unknown architecture or key, or sizes that contradict each other.
    """
    return architecture(name).build(config)


def attention_table(name: str, config: Config) -> tuple[Products, ...]:
    """Return the products of every attention of the architecture ``name``, in the order they run.

    Empty for a user's own model, whose attention is not known here. Raises ``UsageError`` for sizes that no model can
    have.
    """
    one = ARCHITECTURES.get(name)
    return () if one is None else one.products(config)
