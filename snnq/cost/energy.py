"""The paper's cost model of one layer under one number format (docs/method.md §3).

    E(layer, scheme) = N_mul · e_op(scheme) + N_mem · e_dram_per_bit,   N_mem = weights · bits

It ignores that spikes are sparse and counts one time step; it is what the search weighs against accuracy. Where a layer
is given activations of a network that does not spike, e_op is that of a scheme's whole numbers only if the activations
are whole numbers, too; real ones are multiplied as float32, whatever the weights are stored as.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from snnq.base.strict_json import Json
from snnq.cost.table import CostTable
from snnq.network.layers import BRANCHES, Layer
from snnq.network.products import Products
from snnq.schemes.format import INTEGER_OPERATION
from snnq.schemes.names import FLOAT32
from snnq.schemes.scheme import scheme


@dataclass(frozen=True)
class LayerEnergy:
    """Energy in pJ of a layer's arithmetic and of fetching its weights once, per time step and sample."""

    compute_pj: float
    memory_pj: float

    @property
    def total_pj(self) -> float:
        """Arithmetic and memory together, in pJ."""
        return self.compute_pj + self.memory_pj


def storage_bits(layer: Layer, scheme_name: str) -> float:
    """Return the storage of a layer's weights in bits, weights · bits for most formats."""
    return scheme(scheme_name).storage_bits(layer.shape)


def operation_of(layer: Layer, scheme_name: str) -> str:
    """Return which operation a layer's products are billed as."""
    real = layer.input == "activations" and layer.input_bits is None
    return scheme(FLOAT32 if real else scheme_name).format.operation


def layer_energy(layer: Layer, scheme_name: str, table: CostTable) -> LayerEnergy:
    """Return the energy of a layer in pJ: N_mul · e_op and weights · bits · e_dram_per_bit (docs/method.md §3)."""
    return LayerEnergy(
        compute_pj=layer.multiplications * table.operation_pj(operation_of(layer, scheme_name)),
        memory_pj=storage_bits(layer, scheme_name) * table.weight_bit_pj,
    )


def paper_costs(layer: Layer, scheme_name: str, table: CostTable) -> dict[str, float]:
    """Return a layer's storage in bits and its energy in pJ, by the keys of ``snnq.cost.quantities``."""
    energy = layer_energy(layer, scheme_name, table).total_pj
    return {"storage_bits": storage_bits(layer, scheme_name), "energy_pj": energy}


def branch_key(branch: str) -> str:
    """Return the key of the quantity that is the paper's energy of one branch of a hybrid network."""
    return f"{branch}_energy_pj"


def branch_costs(layer: Layer, scheme_name: str, table: CostTable) -> dict[str, float]:
    """Return a layer's energy in pJ under its branch's key, and zero under the others'; nothing of other networks.

    The head of a hybrid network, which is given activations, is of no branch.
    """
    if layer.group not in BRANCHES and layer.input != "activations":
        return {}
    own = layer_energy(layer, scheme_name, table).total_pj
    return {branch_key(branch): own if branch == layer.group else 0.0 for branch in BRANCHES}


def products_energy(products: Products, table: CostTable) -> LayerEnergy:
    """Return what the paper's way of counting gives for the products inside an attention, in pJ per time step.

    N_mul · e_op of whole numbers (of float32 with a softmax between), nothing skipped, and the operand (and the Q that
    waits) written to local memory and read from it, ``local_bits`` each. The paper counts layers with weights only:
    this is no part of its totals.
    """
    operation = scheme(FLOAT32).format.operation if products.order == "softmax" else INTEGER_OPERATION
    return LayerEnergy(
        compute_pj=products.multiplications * table.operation_pj(operation),
        memory_pj=2 * products.local_bits / products.steps * table.local_bit_pj,
    )


def products_record(products: Sequence[Products], table: CostTable) -> tuple[Json, ...]:
    """Return what attentions compute as plain data, with ``products_energy`` as ``paper_energy_pj``."""
    return tuple({**one.to_dict(), "paper_energy_pj": products_energy(one, table).total_pj} for one in products)
