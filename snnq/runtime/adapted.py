"""The integer engine with an adapter: another head, and prompts beside the keys and values of its attentions.

A prefix is run as more tokens of K and V, with as many silent ones of Q: Kᵀ V then has P_kᵀ P_v in it, in every order
and over every chunk, and the kernels are the engine's own. In the order ``sums`` it is added to the sums.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from snnq.arithmetic.prompts import Slots, prefix
from snnq.base.errors import UsageError
from snnq.network.combining import Sum
from snnq.network.prefixes import Site
from snnq.network.stages import Fire, Mix, Potential, Step
from snnq.packed.adapter import Adapter, read_adapter, refuse_adapter
from snnq.packed.adapter_sites import adapter_sites
from snnq.packed.arrays import open_arrays
from snnq.runtime import changing, firing
from snnq.runtime.engine import Engine, Streams
from snnq.runtime.running import NeuronMemory, Running
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
        self.heads = open_arrays(path).network.heads(*found.head)
        self.head = self.heads.after(self.wiring.graph.steps)
        self._by_layer = {one.layer: one for one in self.sites}
        self._by_mix = {one.mixes: one for one in self.sites}
        self._prefixes: dict[str, Prefix] = {}
        # What prompts are chosen by: of all samples, and of those that calls are made for, where they always lie.
        self._query: np.ndarray | None = None
        self._asked: np.ndarray | None = None
        self._rows, self._taken = dict[int, np.ndarray](), 0
        self._asking = False

    def __call__(self, frames: np.ndarray, watch: Watch | None = None) -> np.ndarray:
        """Return logits float32 (B, classes) of event counts (B, T, C, H, W); ``watch`` sees the last pass's spikes."""
        with self._alone:
            self._prefixes, self._query, self._asked, self._taken = {}, None, None, 0
            if self.adapter.facts.query == "features":
                self._asking = True
                try:
                    self._query = self._asked = self.advance(frames, None)
                finally:
                    self._asking = False
            return super().__call__(frames, watch)

    def _kept_by(self, frames: np.ndarray, memory: NeuronMemory | None) -> tuple[object, ...]:
        return *super()._kept_by(frames, memory), self._asking

    def _taped(self, frames: np.ndarray, memory: NeuronMemory | None) -> np.ndarray:
        if self._query is not None:
            count, first = len(frames), self._taken
            self._taken += count
            self._asked = self._rows.setdefault(count, np.empty((count, self._query.shape[1]), np.int64))
            np.copyto(self._asked, self._query[first : self._taken])
        return super()._taped(frames, memory)

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
            self.workers.run(_add_pairs, [(*self._prefixes[site.module], sums.values[:, :, : sums.channels])])

    def _choose(self, one: Fire | Potential, streams: Streams, samples: int) -> None:
        """Make the prompts of the attentions whose keys a step gives."""
        members = one.stages if isinstance(one, Fire) else (one,)
        for site in (self._by_layer[member.layer] for member in members if member.layer in self._by_layer):
            read = streams[site.reads]
            sums = changing.totals(self.steps, read, samples) if self._asked is None else self._asked
            slots = self.adapter.pools[site.module]
            keys, values = (np.empty((samples, slots.rows, slots.keys.shape[1]), bool) for _ in range(2))
            self.workers.run(_choose, [(slots, sums, keys, values)])
            self._prefixes[site.module] = keys, values

    def _mix(self, one: Mix, site: Site, streams: Streams, samples: int) -> None:
        keys, values = self._prefixes[site.module]
        given = [streams[name] for name in one.takes]
        more = (np.zeros_like(keys), keys, values)
        longer = [self._longer(stream, rows, samples) for stream, rows in zip(given, more, strict=True)]
        found = firing.mix(self.steps, one.mixes, one.fires.neuron, self.compared[one.fires.neuron], longer, samples)
        first = given[0]
        assert isinstance(first, BitPlanes)
        planes = found.planes.reshape(1, samples, -1, *found.planes.shape[2:])[:, :, : first.pixels]
        kept = np.empty(planes.shape, np.uint64)
        self.workers.run(np.copyto, [(kept, planes)])
        streams[one.gives] = first._replace(planes=kept.reshape(1, -1, *planes.shape[3:]))
        self.steps.show(one.fires.neuron, kept.reshape(-1, *planes.shape[3:]))

    def _longer(self, stream: BitPlanes | Numbers, rows: np.ndarray, samples: int) -> BitPlanes:
        """Return a stream of spikes with ``rows`` bool (samples, rows, C) behind each sample's tokens."""
        assert isinstance(stream, BitPlanes)
        steps, words = stream.spikes.shape[1:]
        own, tokens = stream.spikes.reshape(samples, stream.pixels, steps, words), stream.pixels + rows.shape[1]
        spikes = np.empty((samples, tokens, steps, words), np.uint64)
        self.workers.run(_lengthen, [(own, rows, spikes)])
        return BitPlanes(spikes.reshape(1, -1, steps, words), 1, tokens, stream.channels)


def sites_for(path: str | Path, adapter: Adapter) -> tuple[Site, ...]:
    """Return where an adapter's prompts stand; raises PackedError for one that no engine of whole numbers runs."""
    if adapter.facts.method == "full":
        raise refuse_adapter(adapter, WHOLE_WEIGHTS)
    return adapter_sites(path, adapter)


def _mixed(one: Step) -> str:
    return one.mixes.gives if isinstance(one, Mix) else one.gives  # pyright: ignore[reportAttributeAccessIssue]


def _choose(slots: Slots, sums: np.ndarray, keys: np.ndarray, values: np.ndarray) -> None:
    """Write the spikes that stand beside keys and values, bool (samples, rows, C) each."""
    keys[:], values[:] = prefix(slots, sums)


def _add_pairs(keys: np.ndarray, values: np.ndarray, sums: np.ndarray) -> None:
    """Add the pairs of a prefix's keys and values to sums (samples, steps, C)."""
    sums += (keys & values).sum(1, dtype=sums.dtype)[:, None]


def _lengthen(own: np.ndarray, rows: np.ndarray, spikes: np.ndarray) -> None:
    """Write spikes (samples, tokens, steps, words) and behind them, at every step, rows bool (samples, rows, C)."""
    bits = np.zeros((*rows.shape[:2], own.shape[-1] * LANES), bool)
    bits[..., : rows.shape[-1]] = rows
    packed = np.packbits(bits, axis=-1, bitorder="little").view("<u8").astype(np.uint64)
    spikes[:, : own.shape[1]] = own
    spikes[:, own.shape[1] :] = packed[:, :, None]
