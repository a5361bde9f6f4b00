"""Every knob of making calibration data, with the values that are taken where none is given."""

from __future__ import annotations

from dataclasses import dataclass

from snnq.base.errors import UsageError, nearest
from snnq.base.parsing import check_seed

# Those that take a folder or a model take it behind a colon.
GENERATORS = {"glyphs": False, "images": True, "diffusers": True, "inversion": False, "noise": False}
# Generators that draw what the classes are called, and so must be told.
NAMING = ("glyphs", "diffusers")
FILTERS = ("energy", "bn", "rates", "patch")
CAMERAS = ("n-mnist", "fashion-mnist", "digits", "cifar10", "cifar10-dvs")
CUTS = ("count", "time")


@dataclass(frozen=True)
class CalibrateSettings:
    """What is generated, and what of it is kept.

    ``samples`` are kept of ``oversample`` times as many candidates where there are ``filters``, which drop equal shares
    one after another, in the order given. ``temperature``: that of the energy score. ``camera`` is the simulated
    one that pictures are shown to, and ``by`` how its events are cut into frames; by default as the checkpoint's own
    data, where it names them. ``shots`` real samples a class steer the generator. Inversion: ``rounds`` Adam steps of
    ``rate`` a batch of ``batch_size``, ``class_weight`` times the cross-entropy to the class added to the norms'
    distances. Diffusers: ``guidance`` and ``denoising`` steps, pictures of ``pixels``.
    """

    generator: str = "glyphs"
    samples: int = 1024
    filters: tuple[str, ...] = ()
    oversample: float = 2.0
    temperature: float = 1.0
    seed: int = 0
    camera: str | None = None
    by: str | None = None
    shots: int = 1
    rounds: int = 200
    rate: float = 0.05
    batch_size: int = 32
    class_weight: float = 0.1
    guidance: float = 3.5
    denoising: int = 30
    pixels: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in GENERATORS:
            raise UsageError(f"--generator {self.generator}: there is {_listed()}{nearest(self.kind, GENERATORS)}")
        if bool(self.source) != GENERATORS[self.kind]:
            raise UsageError(f"--generator {self.generator}: there is {_listed()}")
        _check_words("filter", self.filters, FILTERS)
        if len(set(self.filters)) != len(self.filters):
            raise UsageError(f"--filter {','.join(self.filters)}: each may be named once")
        _check_words("camera", () if self.camera is None else (self.camera,), CAMERAS)
        _check_words("by", () if self.by is None else (self.by,), CUTS)
        for name, least in (("samples", 8), ("shots", 1), ("rounds", 1), ("batch_size", 2), ("denoising", 1)):
            if getattr(self, name) < least:
                raise UsageError(f"--{name.replace('_', '-')} {getattr(self, name)}: at least {least} is needed")
        for name in ("temperature", "rate"):
            if not 0 < getattr(self, name) < float("inf"):
                raise UsageError(f"--{name} {getattr(self, name)}: a positive number is needed")
        if not 1 <= self.oversample <= 1000 or (self.filters and self.oversample == 1):
            raise UsageError(
                f"--oversample {self.oversample:g}: candidates for each sample, above 1 where there are filters", "2"
            )
        check_seed(self.seed)

    @property
    def kind(self) -> str:
        """The generator's name."""
        return self.generator.partition(":")[0]

    @property
    def source(self) -> str:
        """What stands behind the generator's colon."""
        return self.generator.partition(":")[2]

    @property
    def candidates(self) -> int:
        """How many candidates are made."""
        return round(self.samples * self.oversample) if self.filters else self.samples


def _listed() -> str:
    what = {"images": "DIR", "diffusers": "MODEL"}
    return ", ".join(f"{name}:{what[name]}" if taken else name for name, taken in GENERATORS.items())


def _check_words(name: str, words: tuple[str, ...], allowed: tuple[str, ...]) -> None:
    for word in words:
        if word not in allowed:
            raise UsageError(f"--{name} {word}: there is {', '.join(allowed)}{nearest(word, allowed)}")
