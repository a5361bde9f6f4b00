"""Prompts beside the keys and values of a torch model's attentions, put there by hooks; gradients pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from snnq.network.prefixes import Site

# What stands beside keys and values, (B, rows, C) each, for an attention and its query's sums (B, C).
Give = Callable[[Site, Tensor], tuple[Tensor, Tensor]]


class Prompting:
    """A model whose attentions at ``sites`` are given prompts while ``give`` is set; ``queries`` are those last seen.

    ``steps``: T. Queries are sums over tokens and steps, (B, C), of what a site's layer of keys sees. They are noted
    whether or not prompts are given.
    """

    def __init__(self, model: nn.Module, sites: Sequence[Site], steps: int) -> None:
        self.model, self.sites, self.steps = model, tuple(sites), steps
        self.give: Give | None = None
        self.queries: dict[str, Tensor] = {}
        self._prefix: dict[str, tuple[Tensor, Tensor]] = {}
        self._undo: list[Callable[[], None]] = []
        for site in sites:
            self._attach(site)

    def detach(self) -> None:
        """Take everything away again."""
        for undo in reversed(self._undo):
            undo()
        self._undo = []

    def _attach(self, site: Site) -> None:
        layer, attention = self.model.get_submodule(site.layer), self.model.get_submodule(site.module)
        # The module may be inside what the integer form put around it: then that is what is called.
        self._undo.append(layer.register_forward_pre_hook(partial(self._see, site), prepend=True).remove)
        name = "shared" if site.order == "sums" else "mix"
        own, before = name in vars(attention), getattr(attention, name)
        changed = self._summed if site.order == "sums" else self._mixed
        vars(attention)[name] = partial(changed, site, before)
        self._undo.append(lambda: vars(attention).__setitem__(name, before) if own else vars(attention).pop(name, None))

    def _see(self, site: Site, layer: nn.Module, given: tuple[Tensor, ...]) -> None:
        """Note the query, and make what is to stand beside keys and values; input (T·B, C, …) or (T·B, N, C)."""
        x = given[0].unflatten(0, (self.steps, -1))
        last = isinstance(layer, nn.Linear) or isinstance(getattr(layer, "layer", None), nn.Linear)
        tokens = x if last else x.flatten(3).transpose(2, 3)  # (T, B, N, C)
        query = self.queries[site.module] = tokens.sum((0, 2))
        self._prefix.pop(site.module, None)
        if self.give is not None:
            self._prefix[site.module] = self.give(site, query)

    def _heads(self, site: Site, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return the prefix as (T, B, heads, rows, d), the same at every step."""
        keys, values = (
            part.to(like.dtype).unflatten(-1, (site.heads, -1)).transpose(1, 2).expand(len(like), -1, -1, -1, -1)
            for part in self._prefix[site.module]
        )
        return keys, values

    def _mixed(self, site: Site, mix: Callable[..., Tensor], q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Return ``mix`` of more keys and values; as many silent queries keep every order of products as it is."""
        if site.module not in self._prefix:
            return mix(q, k, v)
        keys, values = self._heads(site, k)
        rows = torch.zeros_like(keys)
        found = mix(*(torch.cat(pair, -2) for pair in ((q, rows), (k, keys), (v, values))))
        # Potentials by head (T, B, heads, N, d), or spikes (T, B, C, N).
        return found[..., : q.shape[-2], :] if found.ndim == q.ndim else found[..., : q.shape[-2]]

    def _summed(self, site: Site, shared: Callable[..., Tensor], k: Tensor, v: Tensor) -> Tensor:
        """Return K ⊙ V with the rows P_k ⊙ P_v behind it."""
        found = shared(k, v)
        if site.module not in self._prefix:
            return found
        keys, values = self._heads(site, k)
        return torch.cat((found, keys * values), -2)


class Features:
    """What a model's head sees, (B, n) means, noted at every pass."""

    def __init__(self, head: nn.Module) -> None:
        self.last: Tensor | None = None
        self._handle = head.register_forward_pre_hook(self._see)

    def _see(self, head: nn.Module, given: tuple[Tensor, ...]) -> None:
        self.last = given[0]

    def take(self) -> Tensor:
        """Return those of the last pass."""
        assert self.last is not None, "a pass ends with the head"
        return self.last

    def detach(self) -> None:
        """Note no more."""
        self._handle.remove()
