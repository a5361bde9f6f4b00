"""What stands in a plan.json. ``PlanInput`` is what is read from it; the costs are computed from that, always."""

from __future__ import annotations

import json
import math
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    PositiveInt,
    SerializerFunctionWrapHandler,
    WithJsonSchema,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from snnq.base.errors import UsageError
from snnq.base.paired import Difference
from snnq.base.strict_json import Json
from snnq.base.validation import Many, Record, refuse_unknown
from snnq.cost.activity import FloatActivity
from snnq.cost.array_facts import ArrayFacts
from snnq.cost.quantities import Amount, declared
from snnq.hardware.crossbars import quantities as _on_arrays  # noqa: F401 (declares its quantities)
from snnq.network.layers import KINDS, Layer
from snnq.schemes.scheme import RATE_SIGN, scheme, scheme_names

SCHEMA_VERSION = 1


def check_scheme(name: str) -> str:
    """Return a scheme's name; raises ValueError naming the nearest one."""
    try:
        return scheme(name).name
    except UsageError as problem:
        raise ValueError(problem.message) from None


class _SchemeSchema:
    """The names that there are when a schema is asked for."""

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        rated = {"pattern": rf"^.+{RATE_SIGN}[0-9.]+$"}
        return {"type": "string", "anyOf": [{"enum": list(scheme_names())}, rated], "title": "Scheme"}


SchemeName = Annotated[str, AfterValidator(check_scheme), _SchemeSchema()]
# Whole numbers stay whole; a format of parts of a bit has fractions.
Bits = Annotated[int | float, WithJsonSchema({"type": "number"})]
Probability = Annotated[float, Field(ge=0, le=1)]
# Beyond this float64 does not count any more, and no model comes near it.
MOST = 2**53
Count = Annotated[int, Field(gt=0, le=MOST)]


class ModelInfo(Record):
    """Which model the plan is for: its architecture, upstream layout and configuration, and its float checkpoint.

    ``weights``: which of several sets in the checkpoint (``last``, ``ema`` or a key); absent where it holds one.
    """

    architecture: str
    layout: str
    config: Json
    checkpoint: str | None = None
    sha256: str | None = None
    weights: str | None = None

    @model_serializer(mode="wrap")
    def _written(self, written: SerializerFunctionWrapHandler) -> Json:
        return {key: value for key, value in written(self).items() if key != "weights" or value is not None}

    @field_validator("config")
    @classmethod
    def _plain(cls, config: Json) -> Json:
        # Tuples become lists, so that a plan is the same before it is written and after it is read.
        return json.loads(json.dumps(config))


class DataInfo(Record):
    """Which data the search saw: its spec, the sha256 of its content and options, and its classes."""

    spec: str
    sha256: str
    classes: Many[str]


class RunInfo(Record):
    """Where the search's run folder lies, from the plan's file (``/`` between names), and the run's fingerprint."""

    path: str
    fingerprint: str


class SearchInfo(Record):
    """How the schemes were found. ``budget`` maps a quantity of ``Totals`` to its limit (``{"avg_bits": 2.2}``).

    ``options`` are the words after ``snnq search CKPT`` that make this search again, data and cost table apart.
    The validation accuracy (0 … 1) and loss (nats) are before finetuning, with the weights the search ended with, on
    ``samples`` of the data of ``data_sha256``. They are of the layers' ``searched`` schemes: a plan that is read with
    others, or for other data, has none.
    """

    method: str
    seed: int
    epochs: int = Field(ge=0)
    trade_off: float | None = None
    budget: dict[str, float] | None = None
    space: Many[SchemeName]
    options: Many[str] = ()
    fingerprint: str | None = None
    validation_accuracy: float | None = None
    validation_loss: float | None = None
    samples: PositiveInt | None = None
    data_sha256: str | None = None
    run: RunInfo | None = None


class CostTableInfo(Record):
    """Which cost table the energies are from; ``source`` is the path of a user's own table."""

    name: str
    sha256: str
    source: str | None = None


class LayerInput(Record):
    """A layer of the model and the scheme chosen for it; ``input_bits`` stand where its activations are quantised.

    ``searched`` and ``probabilities`` are records: which scheme the search chose, and what it thought of each.
    """

    name: str = Field(min_length=1)
    group: Literal["tokenizer", "attention", "mlp", "ann", "snn", "fusion", "head"]
    kind: Literal["linear", "conv1d", "conv2d"]
    shape: Many[PositiveInt]
    macs: Count
    multiplications: Count
    input: Literal["spikes", "ternary", "multispikes", "integers", "counts", "reals", "activations"]
    input_bits: Annotated[int, Field(ge=2, le=8)] | None = None
    scheme: SchemeName
    searched: SchemeName | None = None
    probabilities: dict[SchemeName, Probability] | None = None

    @model_serializer(mode="wrap")
    def _written(self, written: SerializerFunctionWrapHandler) -> Json:
        return {key: value for key, value in written(self).items() if key != "input_bits" or value is not None}

    @model_validator(mode="after")
    def _shape_fits_kind(self) -> LayerInput:
        if len(self.shape) != KINDS[self.kind]:
            found, due = len(self.shape), KINDS[self.kind]
            raise ValueError(f"shape {list(self.shape)} has {found} dimensions, a {self.kind} weight has {due}")
        if math.prod(self.shape) > MOST:
            raise ValueError(
                f"shape {list(self.shape)} has {math.prod(self.shape)} weights, at most {MOST} are counted"
            )
        return self

    def layer(self) -> Layer:
        """Return this entry as a ``Layer`` of the layer table."""
        return Layer(
            self.name,
            self.group,
            self.kind,
            self.shape,
            self.macs,
            self.multiplications,
            self.input,
            self.input_bits,
        )


class Costed(Record):
    """A record with costs: those named here, and any other quantity's under its own keys (``snnq.cost.quantities``).

    Each is an attribute of its key. Costs are computed, never input, so that what is not declared is no mistake.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Amount] = Field(init=False)  # pyright: ignore[reportIncompatibleVariableOverride]

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, data: object) -> object:
        return data


class PlanLayer(LayerInput, Costed):
    """A layer with its costs: storage in bits and energy in pJ per time step and sample."""

    bits: Bits = Field(json_schema_extra={"readOnly": True})
    energy_pj: float = Field(json_schema_extra={"readOnly": True})

    @property
    def storage_bits(self) -> Bits:
        """The storage, under the name that it has everywhere else."""
        return self.bits


class Asked(Record):
    """What the search was asked for and, for every quantity with a budget, what the plan realises."""

    trade_off: float | None
    budget: dict[str, float] | None
    realised: dict[str, float] | None


class Totals(Costed):
    """Costs of the whole plan. Fractions are of the same model in float32; energies per time step and sample."""

    weights: int
    bits: Bits
    avg_bits: float
    storage_bits: Bits
    storage_fraction: float
    compression: float
    energy_pj: float
    energy_fraction: float
    asked: Asked


class GroupCost(Costed):
    """Costs of one group. Shares are of all layers', 0 … 1; ``*_float`` are those of the float32 plan."""

    weights: int
    storage_bits: Bits
    storage_share: float
    energy_pj: float
    energy_share: float
    avg_bits: float
    storage_share_float: float
    energy_share_float: float


class Baseline(Costed):
    """Another plan, costed as this one is: ``scheme`` in every layer, or ``schemes`` under a name of their own.

    Accuracy (0 … 1) and loss (nats) are those of the validation split, None unless measured. ``difference`` is this
    plan's minus the baseline's on the same samples, None unless both were measured.
    """

    scheme: str
    schemes: dict[str, SchemeName] | None = None
    avg_bits: float = 0.0
    storage_fraction: float = 0.0
    energy_fraction: float = 0.0
    validation_accuracy: Probability | None = None
    validation_loss: float | None = None
    difference: Difference | None = None

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, data: object) -> object:
        return refuse_unknown(
            data, dict.fromkeys((*cls.model_fields, *(key for one in declared() for key in one.ratios)))
        )

    @model_validator(mode="after")
    def _named_or_listed(self) -> Baseline:
        if self.schemes is None:
            check_scheme(self.scheme)
        return self


class PlanFacts(Record):
    """What a plan says beside its layers. Of the baselines only the measured accuracies are input.

    ``activity``: what the float model did, where its search priced events; absent elsewhere. ``arrays``: the model on
    analog arrays, likewise.
    """

    schema_version: Literal[1]
    tool: str
    model: ModelInfo
    data: DataInfo | None = None
    search: SearchInfo | None = None
    cost_table: CostTableInfo
    baselines: Many[Baseline] = ()
    activity: FloatActivity | None = None
    arrays: ArrayFacts | None = None


class PlanInput(PlanFacts):
    """What is read from a plan.json."""

    layers: Many[LayerInput]

    @field_validator("layers")
    @classmethod
    def _some_and_unique(cls, layers: tuple[LayerInput, ...]) -> tuple[LayerInput, ...]:
        if not layers:
            raise ValueError("a plan needs at least one layer")
        seen: set[str] = set()
        for layer in layers:
            if layer.name in seen:
                raise ValueError(f"two layers have the name '{layer.name}'")
            seen.add(layer.name)
        return layers

    @model_validator(mode="after")
    def _baselines_are_of_these_layers(self) -> PlanInput:
        names = {layer.name for layer in self.layers}
        for baseline in self.baselines:
            if baseline.schemes is not None and baseline.schemes.keys() != names:
                name = sorted(baseline.schemes.keys() ^ names)[0]
                where = "not in the plan" if name in baseline.schemes else "missing there"
                raise ValueError(
                    f"baselines: the schemes of '{baseline.scheme}' are not for these layers: {name} is {where}"
                )
        return self
