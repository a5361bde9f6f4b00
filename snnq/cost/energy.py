"""The paper's cost model of one layer under one number format (docs/method.md §3).

    E(layer, scheme) = N_mul · e_op(scheme) + N_mem · e_dram_per_bit,   N_mem = weights · bits

It ignores that spikes are sparse and counts one time step; it is what the search weighs against accuracy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from snnq.base.strict_json import Json
from snnq.cost.table import CostTable
from snnq.network.layers import Layer
from snnq.network.products import Products
from snnq.schemes.format import INTEGER_OPERATION
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


def layer_energy(layer: Layer, scheme_name: str, table: CostTable) -> LayerEnergy:
    """Return the energy of a layer in pJ: N_mul · e_op and weights · bits · e_dram_per_bit (docs/method.md §3)."""
    return LayerEnergy(
        compute_pj=layer.multiplications * table.operation_pj(scheme(scheme_name).format.operation),
        memory_pj=storage_bits(layer, scheme_name) * table.weight_bit_pj,
    )


def paper_costs(layer: Layer, scheme_name: str, table: CostTable) -> dict[str, float]:
    """Return a layer's storage in bits and its energy in pJ, by the keys of ``snnq.cost.quantities``."""
    energy = layer_energy(layer, scheme_name, table).total_pj
    return {"storage_bits": storage_bits(layer, scheme_name), "energy_pj": energy}


def products_energy(products: Products, table: CostTable) -> LayerEnergy:
    """Return what the paper's way of counting gives for the products inside an attention, in pJ per time step.

    N_mul · e_op of whole numbers, nothing skipped, and the operand (and the Q that waits) written to local memory and
    read from it, ``local_bits`` each. The paper counts layers with weights only: this is no part of its totals.
    """
    return LayerEnergy(
        compute_pj=products.multiplications * table.operation_pj(INTEGER_OPERATION),
        memory_pj=2 * products.local_bits / products.steps * table.local_bit_pj,
    )


def products_record(products: Sequence[Products], table: CostTable) -> tuple[Json, ...]:
    """Return what attentions compute as plain data, with ``products_energy`` as ``paper_energy_pj``."""
    return tuple({**one.to_dict(), "paper_energy_pj": products_energy(one, table).total_pj} for one in products)
