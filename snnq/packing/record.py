"""report.json of a packed folder: one record that finalize and ptq fill, written, read back and checked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails

from snnq.base.errors import PackedError
from snnq.base.files import read_regular
from snnq.base.paired import PerSample
from snnq.base.strict_json import Json
from snnq.base.validation import Many
from snnq.cost.activity import Activity
from snnq.packed.config import MAX_JSON_BYTES, REPORT_FILE, check_size
from snnq.packed.safefile import REPACK
from snnq.plan.records import Probability, SchemeName

RESULTS_VERSION = 1
_MAKE = "make one: snnq finalize --plan plan.json"


class _Measured(BaseModel):
    """A part of report.json: the named keys, strictly. Others, as every setting of a run, are kept as they are."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, allow_inf_nan=False)

    def named(self) -> Json:
        """Return the named keys alone."""
        return {key: getattr(self, key) for key in type(self).model_fields}


class SplitScores(_Measured):
    """Accuracies (0 … 1) and losses of a model; a loss that was not finite is None.

    Where samples are clips, accuracies are per clip, and those ``per_video`` of the videos that these are of.
    """

    validation: Probability
    validation_loss: float | None
    test: Probability
    test_loss: float | None
    validation_each: PerSample | None = None
    test_each: PerSample | None = None
    validation_per_video: Probability | None = None
    test_per_video: Probability | None = None


class Measured(_Measured):
    """The accuracies of the float and the packed model, and on what.

    Where ``labels`` are the float model's own answers, for want of others, an accuracy is agreement with that model:
    the data are generated, and ``split`` says how.
    """

    data: str
    simulated: bool
    labels: Literal["given", "float model"] = "given"
    split: str = "not recorded"
    validation_samples: PositiveInt
    test_samples: PositiveInt
    validation_videos: PositiveInt | None = None
    test_videos: PositiveInt | None = None
    float_model: SplitScores = Field(alias="float")
    plan: SplitScores

    @property
    def what(self) -> str:
        """What its numbers are, as a title."""
        return "Accuracy" if self.labels == "given" else "Agreement with the float model, no accuracy"

    def summary(self) -> Json:
        """Return plain data without what was kept of each sample, to be printed."""
        plain = self.model_dump(mode="json", by_alias=True)
        for model in ("float", "plan"):
            plain[model] = {key: one for key, one in plain[model].items() if not key.endswith("_each")}
        return plain


class Epoch(_Measured):
    """An epoch of finetuning."""

    epoch: PositiveInt
    loss: float | None
    accuracy: Probability
    validation_accuracy: Probability
    validation_loss: float | None


class Finetuned(_Measured):
    """How the packed model was finetuned; ``start``: the packed folder that it began with, by its file's sha256."""

    epochs: PositiveInt
    batch_size: PositiveInt
    seed: int
    distillation: Probability
    augment: str = ""
    vat: str = ""
    start: str | None = None
    start_sha256: str | None = None
    best_epoch: int
    batchnorm_reestimated: bool
    history: Many[Epoch]


class LayerOfBlock(_Measured):
    """A layer of a block: the share of its weights not rounded to the nearest level, and its factors' quantiles."""

    flipped: Probability
    factors: Many[float]


class QuantizedBlock(_Measured):
    """A block: how far it was from the float model's, rounded to nearest on its grids, and how far it is now."""

    block: str
    loss_nearest: float | None
    loss: float | None
    layers: dict[str, LayerOfBlock]


class Reconstructed(_Measured):
    """How a model was packed without finetuning."""

    method: str
    samples: PositiveInt
    batch_size: PositiveInt
    seed: int
    start: str
    target: str
    norms: str
    rounds: PositiveInt
    steps: PositiveInt
    batchnorm: str
    batchnorm_reestimated: bool
    divergence: float | None
    blocks: Many[QuantizedBlock]


class SearchedEpoch(_Measured):
    """An epoch of the search: every layer's shares of the candidates in ``space``, or the ``rates`` of its codes."""

    epoch: PositiveInt
    bits: float
    decided: NonNegativeInt = 0
    space: Many[SchemeName] = ()
    probabilities: dict[str, Many[Probability]] = {}
    rates: dict[str, NonNegativeFloat] = {}

    @model_validator(mode="after")
    def _one_share_a_candidate(self) -> SearchedEpoch:
        for name, shares in self.probabilities.items():
            if len(shares) != len(self.space):
                raise ValueError(f"layer '{name}' has {len(shares)} probabilities for {len(self.space)} candidates")
        return self


class FrontPlan(_Measured):
    """A plan on the search's front, as the search wrote it into its run folder."""

    avg_bits: float
    storage_fraction: float
    energy_fraction: float
    predicted_loss: float | None
    validation_loss: float | None
    validation_accuracy: Probability | None


class WeightCounts(_Measured):
    """Histograms of a layer's weights, as ``packing.results`` makes them."""

    low: float
    high: float
    before: Annotated[Many[NonNegativeInt], Field(min_length=1)]
    after: Annotated[Many[NonNegativeInt], Field(min_length=1)]
    zeros_before: Probability
    zeros_after: Probability

    @model_validator(mode="after")
    def _same_bins(self) -> WeightCounts:
        if len(self.before) != len(self.after) or not self.low < self.high:
            raise ValueError("both histograms need the same bins, from low up to high")
        return self


class Measurements(_Measured):
    """What the packed model did on real inputs, and the float model where it was measured too."""

    plan: Activity
    float_model: Activity | None = Field(alias="float", default=None)


class FloatDistance(_Measured):
    """How far whole numbers are from floating point on the same packed weights, over ``samples`` of validation.

    ``logits``: the mean absolute difference of logits by their standard deviation in floating point. ``same``: the
    share of samples with the same answer. ``spikes``: those that one of both has alone, by the number in floating
    point; None where nothing fires, and in earlier versions' folders. Potentials and pixels are rounded to parts of
    2^-f, thresholds to whole numbers, and a spike that turns over for it turns others over behind it.
    """

    samples: PositiveInt
    logits: NonNegativeFloat | None
    same: Probability
    spikes: NonNegativeFloat | None = None


class Results(_Measured):
    """A report.json: how a folder was made and what was measured of it."""

    schema_version: PositiveInt = RESULTS_VERSION
    tool: str
    machine: dict[str, str] | None = None
    fingerprint: str | None = None
    accuracy: Measured
    finalize: Finetuned | None = None
    ptq: Reconstructed | None = None
    search: Many[SearchedEpoch] | None
    front: Many[FrontPlan] | None = None
    weights: dict[str, WeightCounts]
    activity: Measurements | None = None
    float_distance: FloatDistance | None = None

    @model_validator(mode="after")
    def _known_version(self) -> Results:
        if self.schema_version > RESULTS_VERSION:
            raise ValueError(
                f"schema_version {self.schema_version} is of a newer snnq; this one reads {RESULTS_VERSION}"
            )
        return self

    @model_validator(mode="after")
    def _made_in_one_way(self) -> Results:
        if (self.finalize is None) == (self.ptq is None):
            raise ValueError("it needs one of 'finalize' and 'ptq': how the model was made")
        return self

    @model_validator(mode="after")
    def _one_space(self) -> Results:
        if len({one.space for one in self.search or ()}) > 1:
            raise ValueError("the epochs of the search are over different candidates")
        return self

    def to_dict(self) -> Json:
        """Return plain data, ready for JSON; of finalize and ptq the one that made the folder."""
        plain, leave_out = self.model_dump(mode="json", by_alias=True), ("finalize", "ptq", "float_distance")
        return {key: value for key, value in plain.items() if value is not None or key not in leave_out}

    def made(self) -> Json:
        """Return how the folder was made: every setting, the history, what was chosen."""
        how = self.finalize or self.ptq
        return how.model_dump(mode="json") if how else {}


def read_results(folder: Path) -> Results:
    """Return report.json of a packed folder; raises PackedError naming the file and the first bad key."""
    path = folder / REPORT_FILE
    if not folder.is_dir():
        raise PackedError(f"{folder}: there is no such packed folder", _MAKE)
    check_size(path)
    try:
        return Results.model_validate_json(read_regular(path, MAX_JSON_BYTES))
    except OSError as problem:
        raise PackedError(f"{path}: cannot be read ({problem.strerror})", REPACK) from None
    except ValidationError as problem:
        raise PackedError(f"{path}: {_sentence(problem.errors()[0])}", REPACK) from None


def _sentence(problem: ErrorDetails) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    said = "this key is missing" if problem["type"] == "missing" else problem["msg"].removeprefix("Value error, ")
    return f"{where}: {said}" if where else said
