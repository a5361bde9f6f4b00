"""Where an attention takes more keys and values than its tokens give: the sites of prompts.

A prefix of n keys and values, spikes, stands beside the N tokens at every step. In the orders ``scores`` and ``keys``
it adds P_kᵀ P_v, a matrix of rank n at most, to Kᵀ V; in the order ``sums`` it adds Σ P_k ⊙ P_v to the sum of K ⊙ V
(behind its max-pool, where there is one). ``gates`` have no values, so nothing can be prefixed there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from snnq.base.errors import UsageError
from snnq.network.combining import Multiply, Pool, Sum
from snnq.network.graph import Graph, Operation
from snnq.network.operations import Attention, LayerOperation, Neuron
from snnq.network.products import Products
from snnq.network.streams import FRAMES

# Prompts stand in the first five of the paper's twelve blocks.
PROMPTED, OF = 5, 12


@dataclass(frozen=True)
class Site:
    """An attention whose keys and values may have a prefix of ``channels`` features in ``heads``.

    ``reads`` is the stream, whole numbers, that the keys' ``layer`` sees: the block's own input as its layers have it,
    and the query is its mean over ``tokens`` and steps. ``mixes``: the stream of the operation that takes the prefix,
    an ``Attention`` or, of the order ``sums``, a ``Sum``.
    """

    module: str
    layer: str
    reads: str
    mixes: str
    order: Literal["products", "sums"]
    heads: int
    channels: int
    tokens: int


def sites(graph: Graph, products: Sequence[Products]) -> tuple[Site, ...]:
    """Return the sites of a graph in the order they run; ``products`` are those of its attentions."""
    return tuple(_sites(graph, products))


def _sites(graph: Graph, products: Sequence[Products]) -> Iterator[Site]:
    made = {one.gives: one for one in graph.operations}
    by_name = {one.name: one for one in products}
    for one in graph.operations:
        keys, values = _mixed(one, made)
        if keys is None or values is None:
            continue
        layer, other = _layer_of(keys, made), _layer_of(values, made)
        module = next((name for name in by_name if layer and layer.layer.startswith(f"{name}.")), None)
        if layer is None or other is None or module is None or other.outputs != layer.outputs:
            continue
        if layer.takes[0] == FRAMES:
            continue
        order = "products" if isinstance(one, Attention) else "sums"
        read = graph.streams[keys]
        yield Site(
            module,
            layer.layer,
            layer.takes[0],
            one.gives,
            order,
            by_name[module].heads,
            layer.outputs,
            read.pixels,
        )


def _mixed(one: Operation, made: dict[str, Operation]) -> tuple[str | None, str | None]:
    """Return the streams of keys and values that an operation mixes over tokens; None where it does no such thing."""
    if isinstance(one, Attention):
        return one.takes[1], one.takes[2]
    if isinstance(one, Sum) and one.over == "tokens":
        before = made.get(one.takes[0])
        before = made.get(before.takes[0]) if isinstance(before, Pool) else before
        if isinstance(before, Multiply):
            return before.takes
    return None, None


def _layer_of(stream: str, made: dict[str, Operation]) -> LayerOperation | None:
    """Return the layer that a stream of spikes comes from, through neurons and pooling."""
    one = made.get(stream)
    while isinstance(one, Pool | Neuron):
        one = made.get(one.takes[0])
    return one if isinstance(one, LayerOperation) else None


def usual_blocks(found: Sequence[Site]) -> tuple[int, ...]:
    """Return the first ⌈5/12 · n⌉ of n sites, as OS-Prompt has prompts in five of twelve blocks."""
    return tuple(range(-(-PROMPTED * len(found) // OF)))


def chosen_sites(found: Sequence[Site], blocks: str | None, where: str) -> tuple[Site, ...]:
    """Return the sites that ``blocks`` names: ``0``, ``0-1``, ``0,2``; the usual ones if None. Raises UsageError."""
    if not found:
        raise UsageError(
            f"{where}: none of its attentions multiplies keys and values over tokens, so none takes a prompt",
            "an adapter of the head alone: --method head",
        )
    numbers = usual_blocks(found) if blocks is None else _parsed(blocks)
    beyond = [number for number in numbers if number >= len(found)]
    if beyond or not numbers:
        names = ", ".join(f"{number} ({one.module})" for number, one in enumerate(found))
        raise UsageError(f"--blocks {blocks}: there is {names}")
    return tuple(found[number] for number in numbers)


def _parsed(text: str) -> tuple[int, ...]:
    numbers: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdigit() or (dash and not last.isdigit()) or len(first) > 4 or len(last) > 4:
            raise UsageError(f"--blocks {text}: numbers of blocks are wanted, such as 0, 0-1 or 0,2")
        numbers |= set(range(int(first), int(last if dash else first) + 1))
    return tuple(sorted(numbers))
