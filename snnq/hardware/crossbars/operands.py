"""Which matrices of a model lie in cells: its weights, and what its attentions multiply with.

A layer that is given real numbers is none of them: bits are read one by one, and a real number has none. The products
inside an attention are of spikes with spikes; one of the two lies in cells, written anew (docs/in-memory.md):

- ``scores``, (Q Kᵀ) V: Kᵀ and V, of spikes, written at every step; Q is read bit by bit, and so are the scores.
- ``keys``, Q (Kᵀ V): the counts Kᵀ V, which digital counters make, written at every chunk; Q is read.
- ``sums`` and ``gates`` multiply no matrices: they stay digital.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from snnq.cost.array_facts import ArrayFacts, LayerBound
from snnq.hardware.crossbars.counting import Operand
from snnq.network.layers import Layer
from snnq.network.products import NOTATION, Products
from snnq.schemes.format import Stored
from snnq.schemes.scheme import scheme

_REALS = "real numbers, which have no bits to be read one by one"


@dataclass(frozen=True)
class Unmapped:
    """What no array does: a ``name``, ``why``, and how many products (or additions) it takes in an inference."""

    name: str
    why: str
    operations: int


@cache
def nominal_bits(name: str, float_bits: int) -> int:
    """Return the bits that a scheme's weights take as whole numbers, without their sign.

    They are those of the largest level at unit scale; of float32, ``float_bits``. A packed layer whose zero-points lie
    outside its levels has more.
    """
    one = scheme(name)
    if one.is_float:
        return float_bits
    params = {key: np.full((1, 1), value, np.float32) for key, value in one.format.parameters.items()}
    whole = one.whole(Stored(one.valid_codes[None].astype(np.uint8), params), 1)
    return max(1, int(np.abs(whole.values).max()).bit_length())


def input_vectors(layer: Layer, bound: LayerBound, facts: ArrayFacts) -> int:
    """Return the input vectors of a layer in an inference."""
    if bound.vectors is not None:
        return bound.vectors
    if layer.group == "head":
        return layer.macs // layer.weights
    found = layer.macs * facts.steps // layer.weights  # too many by some, where products of a step were rounded up
    all_runs = found - found % max(1, facts.runs)
    return all_runs if -(-all_runs * layer.weights // facts.steps) == layer.macs else found


def layer_operand(layer: Layer, bound: LayerBound, bits: int, facts: ArrayFacts) -> Operand | None:
    """Return a layer's weight in cells, whose numbers have so many ``bits``; None where it is given real numbers."""
    if bound.largest is None:
        return None
    outputs, vectors = layer.shape[0] // bound.groups, input_vectors(layer, bound, facts)
    # What runs at some of the steps alone is as one step of them all.
    every = layer.group != "head" if bound.once is None else bound.once == 0
    steps = facts.runs if every and vectors % facts.runs == 0 else 1
    return Operand(
        name=layer.name,
        inputs=math.prod(layer.shape[1:]),
        outputs=outputs,
        groups=bound.groups,
        bits=bits,
        planes=bound.largest.bit_length() * (2 if bound.signed else 1),
        positions=vectors // steps,
        steps=steps,
    )


def attention_operands(one: Products) -> tuple[Operand, ...]:
    """Return what an attention writes into cells; none where it multiplies no matrices."""
    chunks, tokens, width = one.steps // one.chunk, one.tokens * one.chunk, one.width
    spike_bits = one.substeps.bit_length()
    facts = {"groups": one.heads, "positions": tokens, "steps": chunks, "signed": False, "writes": chunks}
    if one.order == "scores":
        return (
            Operand(f"{one.name}: Kᵀ", width, tokens, spike_bits, spike_bits, **facts),
            Operand(f"{one.name}: V", tokens, width * one.value_ratio, spike_bits, one.operand_bits, **facts),
        )
    if one.order == "keys":
        outputs = width * one.value_ratio
        return (Operand(f"{one.name}: KᵀV", width, outputs, one.operand_bits, spike_bits, **facts),)
    return ()


def digital(products: Sequence[Products]) -> Iterator[Unmapped]:
    """Yield what of the attentions no array does: counts of Kᵀ V, and orders without matrices."""
    for one in products:
        if one.order == "keys":
            counts = one.steps * one.heads * one.tokens * one.width**2 * one.value_ratio
            yield Unmapped(
                f"{one.name}: KᵀV", "spikes are counted by digital counters before the counts are written", counts
            )
        elif one.order == "softmax":
            yield Unmapped(one.name, f"{NOTATION[one.order]} multiplies {_REALS}", one.steps * one.multiplications)
        elif one.order != "scores":
            yield Unmapped(one.name, f"{NOTATION[one.order]} multiplies no matrices", one.steps * one.multiplications)


def unmapped_layer(layer: Layer, bound: LayerBound, facts: ArrayFacts) -> Unmapped:
    """Return what is said of a layer that no array runs."""
    return Unmapped(layer.name, f"it is given {_REALS}", input_vectors(layer, bound, facts) * layer.weights)


def bounds(layers: Sequence[LayerBound]) -> Mapping[str, LayerBound]:
    """Return what layers can be given, by name."""
    return {one.name: one for one in layers}
