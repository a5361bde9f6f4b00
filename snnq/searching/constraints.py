"""What each layer may become: spaces, locks, exclusions and ties by layer pattern, and what they leave of a search.

Patterns name layers as ``q``, ``attn.*``, ``tokenizer`` or ``block.0.*`` do.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import numpy as np

from snnq.base.errors import UsageError, nearest
from snnq.base.parsing import check_once
from snnq.network.layers import Layer
from snnq.schemes.holding import has_zero
from snnq.schemes.names import FLOAT32
from snnq.schemes.scheme import scheme

if TYPE_CHECKING:
    from jaxtyping import Bool, Int


def layer_names(layer: Layer) -> list[str]:
    """Return everything a layer answers to: its group, every dotted ending of its name, and group.ending.

    ``block.0.attn.q`` answers to ``attention``, ``q``, ``attn.q``, …, ``attention.q`` and so on.
    """
    parts = layer.name.split(".")
    endings = [".".join(parts[i:]) for i in range(len(parts))]
    return [*endings, layer.group, *(f"{layer.group}.{ending}" for ending in endings)]


def matching(pattern: str, layers: Sequence[Layer], option: str) -> list[int]:
    """Return the positions of the layers that a pattern (with ``*``, ``?`` and ``[…]``) names, at least one.

    Raises UsageError naming the nearest layer if there is none.
    """
    found = [i for i, layer in enumerate(layers) if any(fnmatchcase(name, pattern) for name in layer_names(layer))]
    if not found:
        known = dict.fromkeys(name for layer in layers for name in layer_names(layer))
        raise UsageError(
            f"{option}: no layer is called '{pattern}'{nearest(pattern, known)}", "snnq inspect CKPT lists the layers"
        )
    return found


@dataclass(frozen=True)
class Constraints:
    """A user's constraints, by layer pattern (``patterns``).

    ``spaces``: (pattern, schemes) instead of the search's own space, the later one wins. ``locks``: (pattern, scheme).
    ``excludes``: patterns of layers that stay in float32. ``ties``: tuples of patterns whose layers take one scheme.
    """

    spaces: tuple[tuple[str, tuple[str, ...]], ...] = ()
    locks: tuple[tuple[str, str], ...] = ()
    excludes: tuple[str, ...] = ()
    ties: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class Choices:
    """What is left to choose: ``names`` (K) of all candidates, ``allowed`` (L, K) and ``group`` (L).

    Layers with the same number in ``group`` take the same scheme; the numbers count up from 0 in layer order.
    """

    layers: tuple[Layer, ...]
    names: tuple[str, ...]
    allowed: Bool[np.ndarray, "L K"]
    group: tuple[int, ...]

    @property
    def groups(self) -> int:
        """How many independent choices there are."""
        return max(self.group) + 1

    @property
    def sizes(self) -> Int[np.ndarray, " L"]:
        """How many layers each layer takes its scheme with, itself included, (L,)."""
        return np.bincount(self.group)[list(self.group)]

    def members(self, group: int) -> list[int]:
        """Return the positions of a group's layers."""
        return [i for i, own in enumerate(self.group) if own == group]

    def schemes(self, chosen: Sequence[int]) -> dict[str, str]:
        """Return the scheme of every layer by its name, from the position in ``names`` chosen for each layer."""
        return {layer.name: self.names[k] for layer, k in zip(self.layers, chosen, strict=True)}

    def positions(self, scheme: str) -> list[int] | None:
        """Return the choice of one scheme for all layers, or None where a layer may not take it."""
        if scheme not in self.names:
            return None
        k = self.names.index(scheme)
        return [k] * len(self.layers) if self.allowed[:, k].all() else None


def resolve(
    layers: Sequence[Layer], space: Sequence[str], constraints: Constraints, masked: Collection[str] = ()
) -> Choices:
    """Return the choices a search has on these layers; for ``masked`` ones schemes without a zero are left out.

    Raises UsageError for a pattern that names no layer, two locks on one layer, ties that leave no common scheme, and a
    masked layer for which none is left.
    """
    sets: list[tuple[str, ...]] = [tuple(space)] * len(layers)
    for pattern, schemes in constraints.spaces:
        for i in matching(pattern, layers, "--space"):
            sets[i] = schemes
    locked: dict[int, str] = {}
    locks = [("--lock", *lock) for lock in constraints.locks]
    locks += [("--exclude", pattern, FLOAT32) for pattern in constraints.excludes]
    for option, pattern, name in locks:
        for i in matching(pattern, layers, option):
            if locked.setdefault(i, name) != name:
                raise UsageError(f"{option}: {layers[i].name} is to be {name}, but is already locked to {locked[i]}")
            sets[i] = (name,)
    for i, layer in enumerate(layers):
        if layer.name in masked:
            sets[i] = _with_zero(layer.name, sets[i])
    names = tuple(dict.fromkeys(name for one in sets for name in one))
    allowed = np.array([[name in one for name in names] for one in sets])
    return Choices(tuple(layers), names, *_tie(layers, allowed, constraints.ties))


def _with_zero(layer: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return what a masked layer can take of these schemes: those with a level at zero."""
    left = tuple(name for name in names if has_zero(name))
    if not left:
        raise UsageError(
            f"layer {layer}: its weights are masked, and {', '.join(names)} has no level at zero",
            "give it another scheme, such as uniform-2 or ternary",
        )
    return left


def _tie(
    layers: Sequence[Layer], allowed: Bool[np.ndarray, "L K"], ties: Iterable[Sequence[str]]
) -> tuple[Bool[np.ndarray, "L K"], tuple[int, ...]]:
    """Return ``allowed`` narrowed to what tied layers have in common, and every layer's group."""
    group = list(range(len(layers)))
    for tie in ties:
        for members in tied_layers(tie, layers):
            joined = {group[i] for i in members}
            group = [min(joined) if own in joined else own for own in group]
    allowed = allowed.copy()
    for number in set(group):
        members = [i for i, own in enumerate(group) if own == number]
        allowed[members] = allowed[members].all(0)
        if not allowed[members[0]].any():
            named = ", ".join(layers[i].name for i in members)
            raise UsageError(f"--tie: no scheme is left for {named} together", "widen their --space or drop a --lock")
    order = {number: i for i, number in enumerate(dict.fromkeys(group))}
    return allowed, tuple(order[number] for number in group)


def tied_layers(tie: Sequence[str], layers: Sequence[Layer]) -> list[list[int]]:
    """Return the groups a tie makes.

    Bare names such as ``q,k,v`` tie the layers that share a parent module, block by block; anything else ties all
    layers that are named.
    """
    found = sorted({i for pattern in tie for i in matching(pattern, layers, "--tie")})
    if any(set(pattern) & set(".*?[") for pattern in tie) or len(tie) == 1:
        return [found]
    parents: dict[str, list[int]] = {}
    for i in found:
        parents.setdefault(layers[i].name.rpartition(".")[0], []).append(i)
    return list(parents.values())


def parse_space(texts: Sequence[str]) -> tuple[tuple[str, ...] | None, tuple[tuple[str, tuple[str, ...]], ...]]:
    """Read ``--space`` values, ``schemes`` or ``pattern=schemes``: the space of all layers (None), and exceptions."""
    space, spaces = None, []
    for text in texts:
        pattern, equals, schemes = text.rpartition("=")
        names = tuple(check_scheme_name(name.strip(), "--space") for name in schemes.split(","))
        if equals:
            spaces.append((pattern.strip(), names))
        elif space is not None:
            raise UsageError(f"--space {','.join(space)} and {text}: one for all layers is given twice")
        else:
            space = names
    check_once((pattern for pattern, _ in spaces), "--space")
    return space, tuple(spaces)


def parse_locks(texts: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Read ``--lock`` values, ``pattern=scheme``."""
    locks = []
    for text in texts:
        pattern, equals, scheme = text.rpartition("=")
        if not equals or not pattern.strip():
            raise UsageError(f"--lock {text}: give PATTERN=SCHEME, such as head=uniform-4")
        locks.append((pattern.strip(), check_scheme_name(scheme.strip(), "--lock")))
    check_once((pattern for pattern, _ in locks), "--lock")
    return tuple(locks)


def parse_lists(texts: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Read values that are lists of patterns separated by commas."""
    return tuple(tuple(part.strip() for part in text.split(",") if part.strip()) for text in texts)


def check_scheme_name(name: str, option: str) -> str:
    """Return a scheme's name; raises UsageError naming the option and the nearest scheme."""
    try:
        return scheme(name).name
    except UsageError as problem:
        raise UsageError(f"{option}: {problem.message}") from None
