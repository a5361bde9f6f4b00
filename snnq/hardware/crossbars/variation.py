"""What ``finalize --vat`` and ``reuse train --noise`` are told: the noise of ``imc eval``, by its words."""

from __future__ import annotations

from dataclasses import dataclass

from snnq.base.errors import UsageError, nearest
from snnq.base.strict_json import Config
from snnq.hardware.crossbars.chosen import Arrays
from snnq.hardware.crossbars.settings import ImcSettings

NOISE, WHICH = ("write-noise", "read-noise", "on-off"), ("target", "cells", "dynamic")


@dataclass(frozen=True)
class Variation:
    """Arrays, and the noise of their cells."""

    arrays: Arrays
    noise: ImcSettings


def parse_variation(text: str, option: str = "--vat") -> Variation:
    """Return what ``write-noise=0.3,read-noise=0.1,target=trex-32nm`` means; raises UsageError, and MachineError."""
    words: dict[str, str] = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        if name not in (*NOISE, *WHICH) or not equals or name in words:
            known = (*NOISE, *WHICH)
            raise UsageError(f"{option} {part}: give WORD=VALUE once each, of {', '.join(known)}{nearest(name, known)}")
        words[name] = value
    given: Config = {name: words[name] for name in WHICH if name in words}
    try:
        numbers: Config = {name.replace("-", "_"): float(words[name]) for name in NOISE if name in words}
    except ValueError:
        raise UsageError(f"{option} {text}: {', '.join(NOISE)} are numbers") from None
    found = Variation(Arrays(**given), ImcSettings(**numbers))
    found.arrays.chip()
    if not (found.noise.write_noise or found.noise.read_noise):
        raise UsageError(f"{option} {text}: there is no noise to train with", "such as write-noise=0.3")
    return found
