"""The integer engine with an adapter: another head, and prompts beside the keys and values of its attentions.

A prefix is run as more tokens of K and V, with as many silent ones of Q: Kᵀ V then has P_kᵀ P_v in it, in every order
and over every chunk, and the kernels are the engine's own. In the order ``sums`` it is added to the sums.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from snnq.arithmetic.prompts import prefix
from snnq.base.errors import UsageError
from snnq.network.combining import Sum
from snnq.network.prefixes import Site
from snnq.network.stages import Fire, Mix, Potential, Step
from snnq.packed.adapter import Adapter, read_adapter, refuse_adapter
from snnq.packed.adapter_sites import adapter_sites
from snnq.packed.arrays import open_arrays
from snnq.runtime import changing, firing
from snnq.runtime.engine import Engine, Streams
from snnq.runtime.running import Running
from snnq.runtime.steps import Watch
from snnq.runtime.streams import BitPlanes, Numbers
from snnq.runtime.vectors import LANES

WHOLE_WEIGHTS = "its float weights are finetuned, and this engine runs packed codes"
Prefix = tuple[np.ndarray, np.ndarray]


class AdaptedEngine(Engine):
    """``Engine`` with an adapter: ``engine(frames)`` → logits of the adapter's classes, those of torch bit for bit.

    Where the query is the last features of a frozen pass, that is run first, and its time counted.
    """

    def __init__(self, path: str | Path, adapter: str | Path | Adapter, threads: int | None = None) -> None:
        """Read a packed folder and its adapter; raises as ``Engine``, and where the two do not fit."""
        found = adapter if isinstance(adapter, Adapter) else read_adapter(adapter)
        self.adapter, self.sites = found, sites_for(path, found)
        super().__init__(path, threads)
        self.taped = self.taped and not self.sites  # prompts are made between the loops
        self.heads = open_arrays(path).network.heads(*found.head)
        self.head = self.heads.after(self.wiring.graph.steps)
        self._by_layer = {one.layer: one for one in self.sites}
        self._by_mix = {one.mixes: one for one in self.sites}
        self._prefixes: dict[str, Prefix] = {}
        self._query: np.ndarray | None = None
        self._asking = False

    def __call__(self, frames: np.ndarray, watch: Watch | None = None) -> np.ndarray:
        """Return logits float32 (B, classes) of event counts (B, T, C, H, W); ``watch`` sees the last pass's spikes."""
        with self._alone:
            self._prefixes, self._query = {}, None
            if self.adapter.facts.query == "features":
                self._asking = True
                try:
                    self._query = self.advance(frames, None)
                finally:
                    self._asking = False
            return super().__call__(frames, watch)

    def stream(self) -> Running:
        """Return a run that goes on, as ``Engine``; raise UsageError where prompts are chosen by all time steps."""
        if self.sites:
            raise UsageError(f"{self.adapter.path}: its prompts are chosen by all time steps, so there is no stream")
        return super().stream()

    def _run(self, one: Step, number: int, streams: Streams, frames: np.ndarray) -> None:
        if not self._asking and isinstance(one, Fire | Potential):
            self._choose(one, streams, len(frames))
        site = None if self._asking or isinstance(one, Fire | Potential) else self._by_mix.get(_mixed(one))
        if site is not None and isinstance(one, Mix):
            self._mix(one, site, streams, len(frames))
            return
        super()._run(one, number, streams, frames)
        if site is not None and isinstance(one, Sum):
            sums = streams[one.gives]
            assert isinstance(sums, Numbers)
            keys, values = self._prefixes[site.module]
            sums.values[:, :, : sums.channels] += (keys & values).sum(1, dtype=sums.values.dtype)[:, None]

    def _choose(self, one: Fire | Potential, streams: Streams, samples: int) -> None:
        """Make the prompts of the attentions whose keys a step gives."""
        members = one.stages if isinstance(one, Fire) else (one,)
        for site in (self._by_layer[member.layer] for member in members if member.layer in self._by_layer):
            read = streams[site.reads]
            sums = changing.totals(self.steps, read, samples) if self._query is None else self._query
            self._prefixes[site.module] = prefix(self.adapter.pools[site.module], sums)

    def _mix(self, one: Mix, site: Site, streams: Streams, samples: int) -> None:
        keys, values = self._prefixes[site.module]
        given = [streams[name] for name in one.takes]
        more = (np.zeros_like(keys), keys, values)
        longer = [_longer(stream, rows, samples) for stream, rows in zip(given, more, strict=True)]
        found = firing.mix(self.steps, one.mixes, one.fires.neuron, self.compared[one.fires.neuron], longer, samples)
        first = given[0]
        assert isinstance(first, BitPlanes)
        planes = found.planes.reshape(1, samples, -1, *found.planes.shape[2:])[:, :, : first.pixels]
        streams[one.gives] = first._replace(planes=np.ascontiguousarray(planes).reshape(1, -1, *planes.shape[3:]))
        self.steps.show(one.fires.neuron, streams[one.gives].planes[0])  # pyright: ignore[reportAttributeAccessIssue]


def sites_for(path: str | Path, adapter: Adapter) -> tuple[Site, ...]:
    """Return where an adapter's prompts stand; raises PackedError for one that no engine of whole numbers runs."""
    if adapter.facts.method == "full":
        raise refuse_adapter(adapter, WHOLE_WEIGHTS)
    return adapter_sites(path, adapter)


def _mixed(one: Step) -> str:
    return one.mixes.gives if isinstance(one, Mix) else one.gives  # pyright: ignore[reportAttributeAccessIssue]


def _longer(stream: BitPlanes | Numbers, rows: np.ndarray, samples: int) -> BitPlanes:
    """Return a stream of spikes with ``rows`` bool (samples, rows, C) behind each sample's tokens, at every step."""
    assert isinstance(stream, BitPlanes)
    steps, words = stream.spikes.shape[1:]
    own = stream.spikes.reshape(samples, stream.pixels, steps, words)
    bits = np.zeros((*rows.shape[:2], words * LANES), bool)
    bits[..., : rows.shape[-1]] = rows
    packed = np.packbits(bits, axis=-1, bitorder="little").view("<u8").astype(np.uint64)
    more = np.broadcast_to(packed[:, :, None], (*rows.shape[:2], steps, words))
    spikes = np.concatenate((own, more), 1).reshape(-1, steps, words)
    return BitPlanes(spikes[None], 1, stream.pixels + rows.shape[1], stream.channels)
