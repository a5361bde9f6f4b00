"""A whole model on a target: every operand counted and priced, and what no array does. The one function of this room.

``map_model`` takes facts and layers, no file and no torch, so that an edited model, a plan and a packed folder are
mapped in the same way.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from snnq.base.errors import UsageError, nearest
from snnq.base.strict_json import Json
from snnq.cost.array_facts import ArrayFacts
from snnq.hardware.crossbars.counting import Operand
from snnq.hardware.crossbars.operands import (
    Unmapped,
    attention_operands,
    bounds,
    digital,
    layer_operand,
    nominal_bits,
    unmapped_layer,
)
from snnq.hardware.crossbars.pricing import Priced, membrane_area, neuron_energy, priced, summed
from snnq.hardware.crossbars.target import ArrayTarget, read_target
from snnq.network.layers import Layer
from snnq.schemes.names import FLOAT32

SAME, SRAM = "nvm", "sram"  # cells of attention's operands: those of the weights; cells without noise


@dataclass(frozen=True)
class Mapped:
    """A model on a target, per inference and sample of ``steps`` steps.

    ``layers`` and ``attentions``: what lies in cells; ``unmapped``: what does not. ``energy_pj`` and ``area_um2`` are
    the sums by component, neurons and membranes included. ``neurons``: how many there are, each with a membrane, which
    all segments of a clip use one after the other.
    """

    target: str
    node: str
    sha256: str
    cells: str
    dynamic: str
    adc_bits: int
    membrane_bits: int
    steps: int
    neurons: int
    layers: tuple[Priced, ...]
    attentions: tuple[Priced, ...]
    unmapped: tuple[Unmapped, ...]
    energy_pj: Mapping[str, float]
    area_um2: Mapping[str, float]
    float_layers: tuple[str, ...]
    notes: str
    uncounted: str

    @property
    def operands(self) -> tuple[Priced, ...]:
        """Everything that lies in cells."""
        return (*self.layers, *self.attentions)

    @property
    def latency_ns(self) -> float:
        """Time of an inference in ns: all operands one after the other."""
        return math.fsum(one.latency_ns for one in self.operands)

    @property
    def total_pj(self) -> float:
        """Energy of an inference in pJ, all components together."""
        return math.fsum(self.energy_pj.values())

    @property
    def total_um2(self) -> float:
        """Area of the chip in µm²."""
        return math.fsum(self.area_um2.values())

    @property
    def edap(self) -> float:
        """Energy · delay · area, in µJ · ms · mm²: compare it with its three factors beside it."""
        return self.total_pj * 1e-6 * self.latency_ns * 1e-6 * self.total_um2 * 1e-6

    def to_dict(self) -> Json:
        """Return plain data, ready for JSON."""
        totals = {"energy_pj": self.total_pj, "latency_ns": self.latency_ns, "area_um2": self.total_um2}
        return {**asdict(self), "totals": totals | {"edap_uj_ms_mm2": self.edap}}


def map_model(
    facts: ArrayFacts,
    layers: Sequence[Layer],
    schemes: Mapping[str, str],
    *,
    bits: Mapping[str, int] | None = None,
    adc_bits: int | None = None,
    membrane_bits: int | None = None,
    target: ArrayTarget | None = None,
) -> Mapped:
    """Return what a model takes on a target: counts, energy in pJ, time in ns and area in µm², per inference.

    ``facts`` say which target, cells and attentions (``snnq.assessing.arrays.array_facts`` makes them of a model);
    ``schemes`` the number format of each layer, ``bits`` those of its whole weights where they are known better than by
    the scheme. ``adc_bits`` and ``membrane_bits``: the target's own by default; ``target``: the one that was read.

    Raises MachineError for a target that there is not, UsageError for a device or a layer that is not known.
    """
    chip = target or read_target(facts.target)
    device, _ = chip.device(facts.cells)
    adc, membrane = adc_bits or chip.array.adc_bits, membrane_bits or chip.array.membrane_bits
    dynamic = device if facts.dynamic == SAME else facts.dynamic
    operands, unmapped = _lying(facts, layers, schemes, bits or {}, chip)
    found = [priced(operand, chip, device, adc) for operand in operands]
    products = [one.products() for one in facts.attentions]
    mixed = [priced(operand, chip, dynamic, adc) for one in products for operand in attention_operands(one)]
    neurons = sum(one.neurons for one in facts.neurons)
    energies = [one.energy_pj for one in (*found, *mixed)]
    areas = [one.area_um2 for one in (*found, *mixed)]
    return Mapped(
        target=chip.path or chip.name,
        node=chip.node,
        sha256=chip.sha256,
        cells=device,
        dynamic=facts.dynamic,
        adc_bits=adc,
        membrane_bits=membrane,
        steps=facts.steps,
        neurons=neurons,
        layers=tuple(found),
        attentions=tuple(mixed),
        unmapped=(*unmapped, *digital(products)),
        energy_pj=summed([*energies, neuron_energy(facts.updates, chip, membrane)]),
        area_um2=summed([*areas, membrane_area(neurons, chip, membrane)]),
        float_layers=tuple(one.name for one in operands if schemes[one.name] == FLOAT32),
        notes=chip.notes,
        uncounted=chip.uncounted,
    )


def _lying(
    facts: ArrayFacts, layers: Sequence[Layer], schemes: Mapping[str, str], bits: Mapping[str, int], chip: ArrayTarget
) -> tuple[list[Operand], list[Unmapped]]:
    """Return the layers that lie in cells, and those that do not."""
    known = bounds(facts.layers)
    found: list[Operand] = []
    unmapped: list[Unmapped] = []
    for layer in layers:
        if layer.name not in known:
            raise UsageError(f"layer '{layer.name}' is not known on the arrays{nearest(layer.name, known)}")
        width = bits.get(layer.name) or nominal_bits(schemes[layer.name], chip.array.float_bits)
        operand = layer_operand(layer, known[layer.name], width, facts)
        if operand is None:
            unmapped.append(unmapped_layer(layer, known[layer.name], facts))
        else:
            found.append(operand)
    return found, unmapped


def at_steps(facts: ArrayFacts, steps: int) -> ArrayFacts:
    """Return the facts of the same model run for another number of steps: whole chunks, and whole segments.

    Raises UsageError where they do not say what of it runs once a sample.
    """
    if steps == facts.steps:
        return facts
    if not facts.scales:
        raise UsageError(f"what the arrays take at {steps} steps is not known: it was counted at {facts.steps} alone")

    def grown(amount: int | None, once: int | None) -> int:
        assert amount is not None
        assert once is not None
        return once + (amount - once) * steps // facts.steps

    layers = [one.model_copy(update={"vectors": grown(one.vectors, one.once)}) for one in facts.layers]
    neurons = [one.model_copy(update={"updates": grown(one.updates, one.once)}) for one in facts.neurons]
    mixed = [
        one.model_copy(update={"steps": one.steps * steps // facts.steps, "chunk": min(one.chunk, steps)})
        for one in facts.attentions
    ]
    found = {"steps": steps, "layers": tuple(layers), "neurons": tuple(neurons), "attentions": tuple(mixed)}
    return facts.model_copy(update=found)


@dataclass(frozen=True)
class Line:
    """Amounts at several numbers of steps, and the straight line through them: ``slope``, ``intercept`` and R²."""

    steps: tuple[int, ...]
    amounts: tuple[float, ...]
    slope: float
    intercept: float
    r2: float


def line(steps: Sequence[int], amounts: Sequence[float]) -> Line:
    """Return the least-squares line of amounts over steps; R² is 1 where amounts do not vary."""
    n, mean_x, mean_y = len(steps), math.fsum(steps) / len(steps), math.fsum(amounts) / len(amounts)
    spread = math.fsum((x - mean_x) ** 2 for x in steps)
    slope = (
        math.fsum((x - mean_x) * (y - mean_y) for x, y in zip(steps, amounts, strict=True)) / spread if n > 1 else 0.0
    )
    intercept = mean_y - slope * mean_x
    left = math.fsum((y - slope * x - intercept) ** 2 for x, y in zip(steps, amounts, strict=True))
    whole = math.fsum((y - mean_y) ** 2 for y in amounts)
    return Line(tuple(steps), tuple(amounts), slope, intercept, 1 - left / whole if whole else 1.0)


def over_steps(mapped_at: Mapping[int, Mapped]) -> dict[str, Line]:
    """Return energy and latency against T: what the claim that both grow linearly is checked by."""
    steps = sorted(mapped_at)
    return {
        "energy_pj": line(steps, [mapped_at[one].total_pj for one in steps]),
        "latency_ns": line(steps, [mapped_at[one].latency_ns for one in steps]),
    }


def membrane_shares(found: Mapped, target: ArrayTarget, widths: Sequence[int]) -> dict[int, float]:
    """Return by bits of a potential which share of the chip's area the membranes are, 0 … 1."""
    others = found.total_um2 - found.area_um2["membrane"]
    shares = {}
    for bits in widths:
        own = membrane_area(found.neurons, target, bits)["membrane"]
        shares[bits] = own / (others + own) if others + own else 0.0
    return shares
