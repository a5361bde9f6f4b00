"""What the elements of each dataflow do for one layer, counted for all outputs at once in numpy.

With A the spikes (P planes, T steps, M rows, K inputs), B the weights (K, N), x the matches of a chunk of positions:

- ``parallel-inner-join`` (LoAS): an element makes one output at ``lanes`` steps at once. A chunk takes max(1, x)
  cycles: the corrections follow while the next chunk is joined. ``exposed_cycles`` are those if they could not: a
  chunk with matches then takes x and the slow prefix sum's cycles.
- ``inner-join`` (SparTen-SNN): the same for each step by itself, without corrections.
- ``outer-product`` (GoSPA-SNN): outputs are dealt to the elements, which get only the spikes that one of their weights
  waits for, queued: the most of any element, Σ over its outputs n of Σ_k a_k · [B_kn ≠ 0], a_k spikes of input k.
- ``gustavson`` (Gamma-SNN): an element merges the weight rows of one row of spikes at one step, a weight a cycle, at
  most ``radix`` of them at once; what more rows make in between is merged again. Rows go to whichever element is free:
  max(⌈work / elements⌉, longest row) cycles.

Elements of the inner joins take consecutive rows and are given one column of weights together, so that a column takes
as long as the slowest of them. Planes, and steps beyond ``lanes``, follow one another for every output. Sources: Yin et
al. 2024 (arXiv:2407.14073); Gondimalla et al. 2019; Deng et al. 2021; Zhang et al. 2021; scheduling is ours where they
are silent (docs/accelerators.md).
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from snnq.hardware.machine import Machine, MachineSizes
from snnq.hardware.operands import passes


@dataclass(frozen=True)
class DataflowCounts:
    """What a machine did. ``busy``: cycles of all its elements together; ``partial``: values merged a second time."""

    cycles: int = 0
    exposed_cycles: int = 0
    busy: int = 0
    laggy: int = 0
    accumulates: int = 0
    corrections: int = 0
    partial: int = 0

    def __add__(self, other: DataflowCounts) -> DataflowCounts:
        return DataflowCounts(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(self)))


def count(machine: Machine, planes: np.ndarray, mask: np.ndarray) -> DataflowCounts:
    """Return what a machine does for spikes (P, T, M, K) and a mask of weights (K, N), both bool."""
    return _DATAFLOWS[machine.dataflow](machine.array, planes, mask)


def _parallel_inner_join(array: MachineSizes, planes: np.ndarray, mask: np.ndarray) -> DataflowCounts:
    return _joined(array, passes(planes, array.lanes), mask, array.laggy_cycles or 0)


def _inner_join(array: MachineSizes, planes: np.ndarray, mask: np.ndarray) -> DataflowCounts:
    return _joined(array, passes(planes, 1), mask, 0)


def _joined(array: MachineSizes, together: list[np.ndarray], mask: np.ndarray, laggy_cycles: int) -> DataflowCounts:
    """Count inner joins of bits (L, M, K), each of several steps at once."""
    assert array.chunk is not None
    weights, columns = mask.astype(np.float32), mask.sum(1)
    rows, chunked = together[0].shape[1], range(0, len(mask), array.chunk)
    times: np.ndarray = np.zeros((rows, mask.shape[1]), np.float32)
    exposed = np.zeros_like(times)
    chunks_with = accumulates = corrections = 0
    for steps in together:
        some: np.ndarray = np.any(steps, axis=0)
        bits = some.astype(np.float32)
        for start in chunked:
            part = slice(start, start + array.chunk)
            found = bits[:, part] @ weights[part]
            times += np.maximum(found, 1)
            exposed += np.where(found > 0, found + laggy_cycles, 1)
            chunks_with += int(np.count_nonzero(found))
        words = some.sum(0)
        accumulates += int(words @ columns)
        if laggy_cycles:
            corrections += int((len(steps) * words - steps.sum((0, 1))) @ columns)
    cycles = _slowest(times, array.elements)
    return DataflowCounts(
        cycles=cycles,
        exposed_cycles=_slowest(exposed, array.elements) if laggy_cycles else cycles,
        busy=int(times.sum(dtype=np.float64)),
        laggy=laggy_cycles * chunks_with,
        accumulates=accumulates,
        corrections=corrections,
    )


def _slowest(times: np.ndarray, elements: int) -> int:
    """Return the sum over tiles of ``elements`` rows, and over columns, of the slowest row's time."""
    rows, columns = times.shape
    padded = np.zeros((-(-rows // elements) * elements, columns), times.dtype)
    padded[:rows] = times
    return int(padded.reshape(-1, elements, columns).max(1).sum(dtype=np.float64))


def _outer_product(array: MachineSizes, planes: np.ndarray, mask: np.ndarray) -> DataflowCounts:
    work = planes.sum((0, 1, 2)) @ mask  # by output
    dealt = np.zeros(-(-len(work) // array.elements) * array.elements, np.int64)
    dealt[: len(work)] = work
    cycles, total = int(dealt.reshape(-1, array.elements).sum(0).max()), int(work.sum())
    return DataflowCounts(cycles=cycles, exposed_cycles=cycles, busy=total, accumulates=total)


def _gustavson(array: MachineSizes, planes: np.ndarray, mask: np.ndarray) -> DataflowCounts:
    rows = planes.reshape(-1, planes.shape[-1])
    work = rows.astype(np.float64) @ mask.sum(1)  # exact: whole numbers
    again = _merged_again(rows, mask, array.radix or 2)
    total, partial = int(work.sum()), int(again.sum())
    cycles = max(-(-(total + partial) // array.elements), int((work + again).max(initial=0)))
    return DataflowCounts(
        cycles=cycles, exposed_cycles=cycles, busy=total + partial, accumulates=total, partial=partial
    )


def _merged_again(rows: np.ndarray, mask: np.ndarray, radix: int) -> np.ndarray:
    """Return for each row of spikes (R, K) how many values of fibres made in between are merged again.

    Its fibres are merged ``radix`` at a time, in order; so are the results, until one is left.
    """
    found = np.zeros(len(rows))
    many = np.flatnonzero(rows.sum(1) > radix)
    if not len(many):
        return found
    some, weights = rows[many], mask.astype(np.float32)
    ranks, size = np.cumsum(some, 1, dtype=np.int32) - 1, radix
    most = int(some.sum(1).max())
    while size < most:
        part, several = ranks // size, some.sum(1) > size
        for group in range(-(-most // size)):
            lengths = np.count_nonzero((some & (part == group)).astype(np.float32) @ weights, axis=1)
            found[many] += np.where(several, lengths, 0)
        size *= radix
    return found


_DATAFLOWS = {
    "parallel-inner-join": _parallel_inner_join,
    "inner-join": _inner_join,
    "outer-product": _outer_product,
    "gustavson": _gustavson,
}
