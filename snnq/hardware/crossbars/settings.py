"""What ``snnq imc eval`` is told of converters, cells and mitigation, checked before anything runs."""

from __future__ import annotations

import math
from dataclasses import dataclass

from snnq.base.errors import UsageError, nearest
from snnq.hardware.crossbars.analog import Cells

RANGES = ("granular", "max", "calibrated")
MITIGATIONS = ("none", "bn-stats", "bn-finetune", "vat", "clip", "vat+clip", "percentile")
LEAST_CALIBRATION = 8


@dataclass(frozen=True)
class ImcSettings:
    """Converters, cells, chips and mitigation.

    ``adc_range``: the step of a converter is one level (``granular``: larger sums are clipped), the least power of two
    that clips no possible sum (``max``), or at most a thousandth of those of calibration samples (``calibrated``).
    ``on_off``: None is the cells' own. ``write_noise`` is γσ, ``read_noise`` σ, ``drift`` (ν, seconds, spread of ν).
    ``alpha`` and ``beta`` of clipping are chosen on ``calibration_samples`` training samples where they are None;
    ``epochs``: passes over these in which ``bn-finetune`` learns. ``vat``: the folder must have been trained so.
    """

    adc_range: str = "granular"
    on_off: float | None = None
    write_noise: float = 0.0
    read_noise: float = 0.0
    drift: tuple[float, float, float] | None = None
    mitigate: str = "none"
    alpha: float | None = None
    beta: float | None = None
    chips: int = 10
    calibration_samples: int = 64
    epochs: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        for word, value, known in (
            ("--adc-range", self.adc_range, RANGES),
            ("--mitigate", self.mitigate, MITIGATIONS),
        ):
            if value not in known:
                raise UsageError(f"{word} {value}: there is {', '.join(known)}{nearest(value, known)}")
        for name in ("write_noise", "read_noise"):
            value = getattr(self, name)
            if not 0 <= value <= 100:
                raise UsageError(f"--{name.replace('_', '-')} {value:g}: it is 0 to 100")
        if self.on_off is not None and not 1 < self.on_off < math.inf:
            raise UsageError(f"--on-off {self.on_off:g}: it is a number above 1, the largest conductance by the least")
        if self.chips < 1 or self.calibration_samples < LEAST_CALIBRATION or self.epochs < 1:
            raise UsageError(
                f"--chips and --epochs are at least 1, --calibration-samples is at least {LEAST_CALIBRATION}"
            )
        self._check_clip()

    def _check_clip(self) -> None:
        if (self.alpha is not None or self.beta is not None) and not self.clips:
            raise UsageError("--alpha and --beta belong to clipping", "add --mitigate clip")
        if self.alpha is not None and self.alpha < 0:
            raise UsageError(f"--alpha {self.alpha:g}: it is at least 0, in least conductances")
        if self.beta is not None and not 0 < self.beta <= 1:
            raise UsageError(f"--beta {self.beta:g}: it is above 0 and at most 1, of the largest conductance")

    @property
    def clips(self) -> bool:
        """Whether attention's whole numbers are clipped by α and β."""
        return self.mitigate in ("clip", "vat+clip")

    @property
    def cuts(self) -> bool:
        """Whether attention's whole numbers are cut in any way."""
        return self.clips or self.mitigate == "percentile"

    def cells(self, on_off: float | None, *, drifts: bool) -> Cells:
        """Return what cells do, ``on_off`` being their own; those that are written anew do not drift."""
        ratio = self.on_off if self.on_off is not None else on_off
        return Cells(ratio, self.write_noise, self.read_noise, self.drift if drifts else None)


def parse_drift(text: str | None) -> tuple[float, float, float] | None:
    """Return ν, seconds and the spread of ν of ``NU,SECONDS[,SPREAD]``; raises UsageError."""
    if text is None:
        return None
    try:
        parts = [float(one) for one in text.split(",")]
    except ValueError:
        parts = []
    if len(parts) not in (2, 3) or not all(map(math.isfinite, parts)):
        raise UsageError(f"--drift {text}: give NU,SECONDS or NU,SECONDS,SPREAD, such as 0.05,86400")
    nu, seconds, spread = (*parts, 0.0)[:3]
    if nu < 0 or spread < 0 or seconds < 1:
        raise UsageError(
            f"--drift {text}: NU and SPREAD are at least 0, SECONDS at least 1, the time of the first read"
        )
    return nu, seconds, spread
