"""The numpy reference with an adapter: prompts from Python's whole numbers, and a prefix as a rank update."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from snnq.arithmetic.prompts import QUERY_BITS, WEIGHT_BITS, Slots
from snnq.network.combining import Sum
from snnq.network.operations import Head
from snnq.network.prefixes import Site
from snnq.network.stages import Fire, Mix
from snnq.network.streams import FRAMES
from snnq.packed.adapter import Adapter, read_adapter
from snnq.runtime.adapted import sites_for
from snnq.runtime.reference import _RUN, Reference, Watch, attend


def slot_weights(slots: Slots, query: list[int]) -> list[int]:
    """Return a_m of one sample's sums, by the equations of ``arithmetic.prompts``."""
    shift = max(0, max(map(abs, query), default=0).bit_length() - QUERY_BITS)
    query = [one >> shift for one in query]
    found = []
    for m, key in enumerate(slots.keys.tolist()):
        attention = [1] * len(key) if slots.attention is None else slots.attention[m].tolist()
        attended = [q * a for q, a in zip(query, attention, strict=True)]
        dot = sum(q * k for q, k in zip(attended, key, strict=True))
        root = math.isqrt(sum(q * q for q in attended) * sum(k * k for k in key))
        found.append((dot << WEIGHT_BITS) // root if root else 0)
    return found


def sample_prefix(slots: Slots, query: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the spikes beside one sample's keys and values, int64 (rows, C) each."""
    found, prompts = slot_weights(slots, query), slots.prompts.astype(object)
    half = slots.prompts.shape[1] // 2
    if slots.top is None:
        rows = [sum(a * prompts[m] for m, a in enumerate(found))]
    else:
        rows = [prompts[m] for m in sorted(range(len(found)), key=lambda m: (-found[m], m))[: slots.top]]
    spikes = [np.asarray(one >= slots.threshold).astype(np.int64) for one in rows]
    return np.concatenate([one[:half] for one in spikes]), np.concatenate([one[half:] for one in spikes])


class AdaptedReference(Reference):
    """``Reference`` with an adapter, as slow and obvious; a frozen pass comes first where the query needs it."""

    def __init__(self, path: str | Path, adapter: str | Path | Adapter) -> None:
        """Read a packed folder and its adapter; raises as ``AdaptedEngine``."""
        super().__init__(path)
        found = adapter if isinstance(adapter, Adapter) else read_adapter(adapter)
        self.adapter, self.sites = found, sites_for(path, found)

    def __call__(self, frames: np.ndarray, watch: Watch | None = None) -> np.ndarray:
        """Return the logits of event counts (B, T, C, H, W); ``watch`` sees the last pass's spikes."""
        self._watch = None
        features = self._features(frames, None) if self.adapter.facts.query == "features" else None
        self._watch = watch
        head = self.arrays.network.head(*self.adapter.head)
        read = self._features(frames, features, prompted=True)
        return ((read @ head.weight.T + head.bias) * head.scale).astype(np.float32)

    def _features(self, frames: np.ndarray, query: np.ndarray | None, *, prompted: bool = False) -> np.ndarray:
        """Return the sums (B, n) that the head sees; ``query`` (B, n): of the last features, else of each block."""
        streams = {FRAMES: self.arrays.frames(frames).astype(np.int64)}
        sites = {one.mixes: one for one in self.sites} if prompted else {}
        for one in self.arrays.wiring.flow:
            given = [streams[name] for name in one.takes]
            if isinstance(one, Fire):
                streams |= {stage.gives: self._fire(stage, given[0]) for stage in one.stages}
                continue
            if isinstance(one, Head):
                return given[0].sum((1, 3, 4))
            site = sites.get(one.mixes.gives if isinstance(one, Mix) else one.gives)
            if site is None:
                streams[one.gives] = _RUN[type(one)](self, one, *given)
                continue
            keys, values = self._prefix(site, streams[site.reads].sum((1, 3, 4)) if query is None else query)
            if isinstance(one, Sum):
                streams[one.gives] = self._sum(one, given[0]) + (keys * values).sum(1)[:, None, :, None, None]
            elif isinstance(one, Mix):
                q, k, v = given
                mixed = attend(q, k, v, one.mixes.heads, one.mixes.chunk)
                streams[one.gives] = self._neuron(
                    one.fires, mixed + one.mixes.chunk * answered(given[0], keys, values, site)
                )
        raise AssertionError("a graph ends with a head")

    def _prefix(self, site: Site, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = [sample_prefix(self.adapter.pools[site.module], query.tolist()) for query in queries]
        return np.stack([keys for keys, _ in found]), np.stack([values for _, values in found])


def answered(q: np.ndarray, keys: np.ndarray, values: np.ndarray, site: Site) -> np.ndarray:
    """Return Q (P_kᵀ P_v) by head, (S, T, C, H, W) as q is; keys and values (S, rows, C)."""
    samples, steps, channels, height, width = q.shape
    by_head = (samples, -1, site.heads, channels // site.heads)
    update = np.einsum("srhd,srhe->shde", keys.reshape(by_head), values.reshape(by_head))
    split = q.reshape(samples, steps, site.heads, channels // site.heads, height * width)
    return np.einsum("sthdn,shde->sthen", split, update).reshape(q.shape)
