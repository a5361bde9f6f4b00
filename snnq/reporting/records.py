"""What a report says, as plain data. Everything shown anywhere is one of these numbers.

Storage in bits, energy in pJ per time step and sample, shares from 0 to 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import TYPE_CHECKING

from snnq.assessing.exit_records import Exits
from snnq.base.strict_json import Json
from snnq.hardware.records import Accelerated
from snnq.packing.record import Epoch
from snnq.reporting.array_summary import ArraySummary
from snnq.reporting.cost_records import (
    EventEnergy,
    FiringRow,
    FrontPoint,
    LayerRow,
    ModelRow,
    PartCosts,
    PlanRow,
    PlanTotals,
)

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

REPORT_SCHEMA = 1


def plain(record: DataclassInstance) -> Json:
    """Return a record as plain data, keys in the order of its fields; ``costs`` stand among them under their own."""
    found: Json = {}
    for one in fields(record):
        inner = _plain(getattr(record, one.name))
        found |= inner if one.name == "costs" and isinstance(inner, dict) else {one.name: inner}
    return found


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return plain(value)
    if isinstance(value, Epoch):
        return value.named()
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return type(value)(map(_plain, value)) if isinstance(value, list | tuple) else value


@dataclass(frozen=True)
class Accuracy:
    """Accuracies (0 … 1) and mean cross-entropies (nats; None: not finite) of a model on validation and test.

    Where samples are clips, those are per clip; ``per_video`` are of the videos, by the mean probabilities of its
    clips.
    """

    model: str
    what: str
    validation: float
    validation_loss: float | None
    test: float
    test_loss: float | None
    validation_per_video: float | None = None
    test_per_video: float | None = None


@dataclass(frozen=True)
class ClassRow:
    """A class of the data, and its index: its label, and the output of the model that stands for it."""

    name: str
    index: int


@dataclass(frozen=True)
class Paired:
    """This plan minus another model on the same samples, with 95 % intervals.

    Accuracies (−1 … 1): Tango's interval, ``accuracy_p`` of McNemar's exact test on the samples that only one gets
    right; losses (nats): a bootstrap, None where they were not kept.
    """

    name: str
    samples: int
    only_this: int
    only_other: int
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    accuracy_p: float
    loss: float | None
    loss_low: float | None
    loss_high: float | None


@dataclass(frozen=True)
class DiskPart:
    """Bits of one kind of content in model.safetensors."""

    kind: str
    bits: float


@dataclass(frozen=True)
class Disk:
    """model.safetensors: the bits of the weights by the plan and in the file, all the rest by kind, and its real size.

    ``ratio`` is the file's bits over weights_bits + overhead_bits: 1 means that all of the file is accounted for.
    """

    file: str
    plan_bits: float
    weights_bits: float
    overhead: tuple[DiskPart, ...]
    overhead_bits: float
    file_bytes: int
    ratio: float


@dataclass(frozen=True)
class SearchEpoch:
    """The search after an epoch: expected bits per weight, layers decided, and every layer's shares of ``space``.

    Where it trained rates, ``rates`` are the bits a weight of every such layer's codes, and there are no shares.
    """

    epoch: int
    bits: float
    decided: int
    probabilities: dict[str, tuple[float, ...]]
    rates: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Search:
    """The search by epoch; without a history ``epochs`` is empty and ``sentence`` says why."""

    sentence: str
    space: tuple[str, ...]
    epochs: tuple[SearchEpoch, ...]


@dataclass(frozen=True)
class BlockRow:
    """A block that was quantised without finetuning.

    Losses: squared error of its output and its neurons' currents over their variance, on the calibration samples, once
    rounded to nearest and once as packed. ``flipped``: share of weights that are not rounded to the nearest level.
    """

    block: str
    layers: int
    loss_nearest: float | None
    loss: float | None
    flipped: float


@dataclass(frozen=True)
class Histogram:
    """Counts of a layer's float and packed weights in equal bins from ``low`` to ``high``; shares of exact zeros."""

    layer: str
    low: float
    high: float
    before: tuple[int, ...]
    after: tuple[int, ...]
    zeros_before: float
    zeros_after: float


@dataclass(frozen=True)
class Level:
    """A value that a layer's number format offers, over its output channels, and the share of its weights there.

    ``value`` is the median of the channels, ``low`` and ``high`` are their 10th and 90th percentiles.
    """

    value: float
    low: float
    high: float
    share: float


@dataclass(frozen=True)
class Levels:
    """The levels of a quantised layer, ascending, and its number of output channels."""

    layer: str
    scheme: str
    channels: int
    levels: tuple[Level, ...]


@dataclass(frozen=True)
class AdapterRow:
    """A side file of the folder: what it learned, the metrics of it (0 … 1) by name, and what an inference takes.

    ``macs`` are multiply-accumulates a sample (``assessing.adapter_costs``).
    """

    path: str
    method: str
    adapter_bytes: int
    adapter_fraction: float
    learned: tuple[str, ...]
    tasks: tuple[int, ...]
    learned_from: str
    class_incremental: dict[str, float | None]
    task_incremental: dict[str, float | None]
    macs: dict[str, float]
    overlap: bool


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything that is known about a packed folder.

    ``attention_products`` are ``snnq.network.products.Products`` as plain data, with their energy by the paper's way of
    counting, which is no part of the paper's totals. ``simulation``: on machines, ``arrays``: on analog ones, and
    ``exits``: dynamic time steps, where these were asked for;
    ``adapter``: a side file of the folder, where one was named.
    """

    schema_version: int
    tool: str
    folder: str
    verdict: str
    energy_model: str
    formulas: tuple[str, ...]
    notes: tuple[str, ...]
    simulated: bool
    measured: str
    validation_samples: int
    test_samples: int
    classes: tuple[ClassRow, ...]
    accuracy: tuple[Accuracy, ...]
    tested: str
    paired: tuple[Paired, ...]
    totals: PlanTotals
    plans: tuple[PlanRow, ...]
    plan_weights: str | None
    comparison: str
    front: tuple[FrontPoint, ...]
    groups: tuple[PartCosts, ...]
    attention: tuple[PartCosts, ...]
    layers: tuple[LayerRow, ...]
    energies: tuple[ModelRow, ...]
    event_energy: EventEnergy
    dynamics: str
    firing: tuple[FiringRow, ...]
    attention_products: tuple[Json, ...]
    simulation: Accelerated | None = None
    exits: Exits | None = None
    arrays: ArraySummary | None = None
    adapter: AdapterRow | None = None
    disk: Disk
    search: Search
    best_epoch: int | None
    finetuning: tuple[Epoch, ...]
    blocks: tuple[BlockRow, ...]
    histograms: tuple[Histogram, ...]
    levels: tuple[Levels, ...]
    provenance: dict[str, str]
    commands: tuple[str, ...]

    def to_dict(self) -> Json:
        """Return the report as plain data, ready for JSON, keys in the order above."""
        return plain(self)
