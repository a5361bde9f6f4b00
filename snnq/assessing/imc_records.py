"""What ``snnq imc eval`` found, as plain data."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from snnq.base.strict_json import Json


@dataclass(frozen=True)
class ChipScore:
    """Accuracy (0 … 1) and mean cross-entropy (nats) of one chip."""

    chip: int
    accuracy: float
    loss: float


@dataclass(frozen=True)
class OperandNoise:
    """What arrays did to one operand's sums, the mean over chips.

    ``clipped``: the share of conversions beyond the converter's largest number, 0 … 1; ``snr_db``: of the sums, on the
    first batch of each chip, 10 · log10 of signal by noise; None where nothing was lost. ``step``: of its converters,
    in levels. ``slices``: cells a number, and ``slices_before`` what it was without clipping.
    """

    name: str
    step: int
    conversions: float
    clipped: float
    snr_db: float | None
    slices: int
    slices_before: int
    alpha: float | None = None
    beta: float | None = None


@dataclass(frozen=True)
class ImcEval:
    """Accuracies of a packed model on chips of analog arrays, beside the same model without arrays.

    ``mean`` and ``sd`` (of a sample) are over ``chips``. ``alone``: accuracy with the worst operand alone on arrays, by
    its name, on chip 0. ``settings`` are those of the arrays and the noise. ``digital_layers`` run on no array.
    """

    folder: str
    data: str
    simulated: bool
    split: str
    samples: int
    arithmetic: str
    digital_accuracy: float
    digital_loss: float
    chips: tuple[ChipScore, ...]
    operands: tuple[OperandNoise, ...]
    worst: str | None
    alone: float | None
    digital_layers: tuple[str, ...]
    settings: Mapping[str, object]

    @property
    def mean(self) -> float:
        """The mean accuracy over the chips."""
        return statistics.fmean(one.accuracy for one in self.chips)

    @property
    def sd(self) -> float | None:
        """The standard deviation of a sample of chips; None of one chip."""
        return statistics.stdev(one.accuracy for one in self.chips) if len(self.chips) > 1 else None

    def to_dict(self) -> Json:
        """Return plain data, ready for JSON."""
        return {**asdict(self), "mean": self.mean, "sd": self.sd}


def averaged(found: Sequence[Sequence[OperandNoise]]) -> tuple[OperandNoise, ...]:
    """Return the means over chips of what was found of each operand."""
    means = []
    for same in zip(*found, strict=True):
        known = [one.snr_db for one in same if one.snr_db is not None]
        means.append(
            OperandNoise(
                **asdict(same[0])
                | {
                    "conversions": statistics.fmean(one.conversions for one in same),
                    "clipped": statistics.fmean(one.clipped for one in same),
                    "snr_db": statistics.fmean(known) if known else None,
                }
            )
        )
    return tuple(means)
