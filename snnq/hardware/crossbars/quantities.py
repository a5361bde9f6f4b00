"""What a plan takes on analog arrays, as quantities that a budget may limit: ``--budget imc-energy=50%``.

They are priced where a cost table is on a model's ``arrays`` (``snnq.cost.array_facts``); the constants are those of
the target that the table names (``imc_target``), never the table's own. Layers of float32 are counted as the target's
``float_bits``: a share is one of that. Attentions, neurons and membranes belong to no layer: they stand beside. Time is
no such quantity: all columns are read at once, so that it is the same under every plan.
"""

from __future__ import annotations

from functools import cache

from snnq.cost.array_facts import ArrayFacts
from snnq.cost.quantities import DisplayUnit, Quantity, declare
from snnq.cost.table import CostTable
from snnq.hardware.crossbars.mapped import Mapped, map_model
from snnq.hardware.crossbars.target import ArrayTarget, read_target
from snnq.network.layers import Layer

_WHOSE = "on analog arrays, float32 as 8 bits"
IMC_ENERGY = Quantity(
    key="imc_energy_pj",
    name="imc-energy",
    unit="pJ",
    title="Energy per inference on analog arrays",
    meaning="reads, conversions, buffers and wires of arrays, and writes of cells, per inference and sample",
    scales=(DisplayUnit("nJ", 1e3, 1e6), DisplayUnit("µJ", 1e6)),
    limits={"imc-energy-pj": 1, "imc-energy-nj": 1e3, "imc-energy-uj": 1e6},
    decimals=1,
    example="50%",
    needs="arrays",
    model=_WHOSE,
    per="per inference and sample",
)
IMC_AREA = Quantity(
    key="imc_area_um2",
    name="imc-area",
    unit="µm²",
    title="Area of analog arrays",
    meaning="arrays with their converters, tiles, and a membrane for every neuron",
    scales=(DisplayUnit("mm²", 1e6),),
    limits={"imc-area-um2": 1, "imc-area-mm2": 1e6},
    decimals=3,
    model=_WHOSE,
    example="50%",
    needs="arrays",
)


@cache
def _target(name: str) -> ArrayTarget:
    return read_target(name)


def imc_costs(layer: Layer, scheme: str, table: CostTable) -> dict[str, float]:
    """Return a layer's energy in pJ and area in µm² on arrays; nothing where the table is on none."""
    if table.arrays is None:
        return {}
    alone = table.arrays.model_copy(update={"attentions": (), "neurons": ()})
    return _amounts(map_model(alone, [layer], {layer.name: scheme}, target=_target(alone.target)))


def imc_costs_beside(table: CostTable, quantised: bool) -> dict[str, float]:
    """Return what attentions, neurons and membranes take, which belong to no layer, by the same keys."""
    facts: ArrayFacts | None = table.arrays
    return {} if facts is None else _amounts(map_model(facts, [], {}, target=_target(facts.target)))


def _amounts(found: Mapped) -> dict[str, float]:
    return {IMC_ENERGY.key: found.total_pj, IMC_AREA.key: found.total_um2}


declare(imc_costs, IMC_ENERGY, IMC_AREA, beside=imc_costs_beside)
