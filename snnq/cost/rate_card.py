"""A rate card: how often the neurons of a model fire at every step, a few hundred numbers that stand for real data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field, PositiveInt, model_validator

from snnq.base.errors import DataError
from snnq.base.files import read_text
from snnq.base.strict_json import strict_json
from snnq.base.validation import Many, Record, dotted, validate
from snnq.cost.activity import NeuronActivity

CARD_VERSION = 1
_MAKE = "make one where the real data are: snnq inspect CKPT --rates FILE"
Rate = Annotated[float, Field(ge=0, le=1)]


class NeuronRates(Record):
    """The share of the neurons behind one module path that fire, 0 … 1, at every step: the mean over samples."""

    name: str
    neurons: PositiveInt
    rates: Annotated[Many[Rate], Field(min_length=1)]


class RateCard(Record):
    """Firing rates of a float model, by its checkpoint's sha256, on ``samples`` samples of its data."""

    schema_version: PositiveInt = CARD_VERSION
    tool: str
    checkpoint_sha256: str | None
    data: str
    split: str
    samples: PositiveInt
    neurons: Annotated[Many[NeuronRates], Field(min_length=1)]

    @model_validator(mode="after")
    def _known_version(self) -> RateCard:
        if self.schema_version > CARD_VERSION:
            raise ValueError(f"schema_version {self.schema_version} is of a newer snnq; this one reads {CARD_VERSION}")
        if len({len(one.rates) for one in self.neurons}) != 1:
            raise ValueError("all neurons need rates of as many steps")
        return self

    @property
    def numbers(self) -> int:
        """How many rates it holds."""
        return sum(len(one.rates) for one in self.neurons)

    def means(self) -> Mapping[str, tuple[float, ...]]:
        """Return the rates at every step, by module path."""
        return {one.name: one.rates for one in self.neurons}


def rates_of(neurons: Sequence[NeuronActivity]) -> tuple[NeuronRates, ...]:
    """Return the rates of measured neurons."""
    return tuple(
        NeuronRates(name=one.name, neurons=one.neurons, rates=tuple(min(1.0, n / one.neurons) for n in one.spikes))
        for one in neurons
    )


def read_card(path: Path) -> RateCard:
    """Return the card in a file; raises DataError where it is none."""
    try:
        found = strict_json(read_text(path))
        if not isinstance(found, dict):
            raise ValueError("no JSON object")
    except (OSError, ValueError) as problem:
        raise DataError(f"{path}: no rate card ({getattr(problem, 'strerror', None) or problem})", _MAKE) from None
    return validate(RateCard, found, str(path), DataError, _MAKE, dotted)
