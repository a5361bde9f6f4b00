"""What search, finalize and ptq take of their settings: words with their types and help, and the record they make.

A command that has such a record among its parameters takes its words instead (``commands.calling``).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from snnq.commands.calling import one_list, plain, texts
from snnq.commands.words import (
    Budget,
    Exclude,
    FileBudget,
    Lock,
    Machines,
    OneDevice,
    Patterns,
    Space,
    Tie,
    TradeOff,
    Typed,
    Words,
)

if TYPE_CHECKING:
    from snnq.calibrating.settings import CalibrateSettings
    from snnq.finalizing.settings import FinalizeSettings
    from snnq.pruning.settings import PruneSettings, SilenceSettings
    from snnq.reconstructing.settings import PtqSettings
    from snnq.reusing.settings import ReuseSettings
    from snnq.searching.settings import SearchSettings

# Words of ptq that belong to reconstruction block by block.
BLOCKWISE = ("rounds", "steps_per_round", "target")


@dataclass(frozen=True)
class SearchWords:
    """Words of ``snnq search``."""

    method: Annotated[
        str,
        typer.Option(
            help="differentiable, paper (its plain form), rate (coded bits at one price), halving (short finetuning of "
            "candidates); sensitivity, hessian, drift and random train nothing."
        ),
    ] = "differentiable"
    budget: Budget = None
    trade_off: TradeOff = None
    space: Space = None
    lock: Lock = None
    exclude: Exclude = None
    tie: Tie = None
    epochs: Annotated[int | None, typer.Option(help="Passes over the training split.")] = None
    batch_size: Annotated[int | None, typer.Option(help="Samples a step.")] = None
    reconstruct: Annotated[
        int | None,
        typer.Option(
            help="With --method sensitivity: passes that fit a layer's levels to its outputs before it is scored."
        ),
    ] = None
    seed: Annotated[int, typer.Option(help="The same seed gives the same plan.")] = 0

    def settings(self) -> "SearchSettings":
        """Return the settings that the words mean; raises UsageError."""
        from snnq.searching.settings import parse_settings

        lists = {name: texts(getattr(self, name)) for name in ("trade_off", "lock", "exclude", "tie")}
        lists |= {"budget": texts(self.budget, dashes=True), "space": one_list(self.space)}
        return parse_settings(**vars(self) | lists)


@dataclass(frozen=True)
class FinalizeWords:
    """Words of ``snnq finalize``."""

    epochs: Annotated[int | None, typer.Option(help="Passes over the training split.")] = None
    batch_size: Annotated[int | None, typer.Option(help="Samples a step, in all processes together.")] = None
    distillation: Annotated[
        float | None, typer.Option(help="Weight of the float teacher in the loss, 0 (off) to 1.")
    ] = None
    augment: Annotated[
        str,
        typer.Option(help="Changes to the training frames, such as flip,snn-wide,mixup:alpha=0.5; none by default."),
    ] = ""
    vat: Annotated[
        str,
        typer.Option(
            help="Noise of analog arrays to train with, by the words of imc eval: write-noise=0.3,dynamic=sram."
        ),
    ] = ""
    rate: Annotated[
        float | None, typer.Option(help="Price of a coded bit a weight in the loss, such as 0.2; or give --budget.")
    ] = None
    budget: FileBudget = None
    hold_rates: Annotated[
        bool, typer.Option("--hold-rates", help="Every layer keeps the rate its scheme names; else their sum is kept.")
    ] = False
    seed: Annotated[int, typer.Option(help="The same seed gives the same packed bytes.")] = 0

    def settings(self) -> "FinalizeSettings":
        """Return the settings that the words mean; raises UsageError."""
        from snnq.finalizing.budget import parse_budget
        from snnq.finalizing.settings import FinalizeSettings

        limits = parse_budget(texts(self.budget, dashes=True))
        return FinalizeSettings(**given(vars(self) | {"budget": limits}))


@dataclass(frozen=True)
class PtqWords:
    """Words of ``snnq ptq``."""

    samples: Annotated[int | None, typer.Option(help="How many training samples; their labels are not used.")] = None
    batch_size: Annotated[int | None, typer.Option(help="Samples a step.")] = None
    rounds: Annotated[int | None, typer.Option(help="Rounds of progressive rounding, 10 or 20; tesseraq.")] = None
    steps_per_round: Annotated[int | None, typer.Option(help="Optimizer steps a round; adaround, tesseraq.")] = None
    start: Annotated[str | None, typer.Option(help="Grids that rounding starts from: rtn, clip or awq.")] = None
    target: Annotated[
        str | None, typer.Option(help="What a block must reproduce: output, current (before its neurons) or both.")
    ] = None
    norms: Annotated[
        str | None,
        typer.Option(
            help="A block's folded norms: kept, matched to the float model's moments, or that at every step (live)."
        ),
    ] = None
    batchnorm: Annotated[
        str | None, typer.Option(help="Estimate BN statistics anew: on, off, or auto (if the logits come nearer).")
    ] = None
    memory_mib: Annotated[int | None, typer.Option(help="For cached activations; the rest is recomputed.")] = None
    seed: Annotated[int, typer.Option(help="Draws the samples; the same seed gives the same packed bytes.")] = 0

    def settings(self, method: str) -> "PtqSettings":
        """Return the settings that the words mean; raises UsageError."""
        from snnq.base.errors import UsageError
        from snnq.reconstructing.settings import RECONSTRUCTING, PtqSettings

        named = next((name for name in BLOCKWISE if getattr(self, name)), None)
        if named is not None and method not in RECONSTRUCTING:
            option = f"--{named.replace('_', '-')}"
            raise UsageError(f"{option} belongs to reconstruction block by block", "add --method tesseraq")
        words = {"steps" if name == "steps_per_round" else name: value for name, value in vars(self).items()}
        return PtqSettings(method=method, **given(words))


_Distillation = Annotated[
    float | None, typer.Option(help="Weight of the checkpoint as teacher in the loss, 0 (off) to 1.")
]


@dataclass(frozen=True)
class PruneWords:
    """Words of ``snnq prune``."""

    sparsity: Annotated[
        float | None, typer.Option(help="Share of the weights that becomes zero, or of the channels that go: 0.9.")
    ] = None
    scope: Annotated[str, typer.Option(help="global: the smallest of all layers; layer: the same share of each.")] = (
        "global"
    )
    structure: Annotated[str, typer.Option(help="unstructured, channels, or N:M, such as 2:4.")] = "unstructured"
    rounds: Annotated[
        int | None, typer.Option(help="Rounds of pruning a little and finetuning; 0: one shot, nothing is finetuned.")
    ] = None
    rewind: Annotated[
        bool, typer.Option("--rewind/--no-rewind", help="Go back to the checkpoint's values after each round.")
    ] = True
    remove_dead: Annotated[
        bool, typer.Option("--remove-dead", help="Take out channels that cannot fire or that nothing reads.")
    ] = False
    epochs: Annotated[int | None, typer.Option(help="Passes over the training split in each round.")] = None
    batch_size: Annotated[int | None, typer.Option(help="Samples a step, in all processes together.")] = None
    distillation: _Distillation = None
    seed: Annotated[int, typer.Option(help="The same seed gives the same checkpoint.")] = 0

    def settings(self) -> "PruneSettings":
        """Return the settings that the words mean; raises UsageError."""
        from snnq.pruning.settings import PruneSettings
        from snnq.training.finetune import Finetune

        own = ("sparsity", "scope", "structure", "rounds", "rewind", "remove_dead")
        words = given(vars(self))
        finetune = Finetune(**{name: value for name, value in words.items() if name not in own})
        return PruneSettings(**{name: words[name] for name in own if name in words}, finetune=finetune)


@dataclass(frozen=True)
class SilenceWords:
    """Words of ``snnq mask-silent``."""

    most: Annotated[int, typer.Option(help="Neurons that fire so often or less in all steps of a sample.")] = 1
    epochs: Annotated[int | None, typer.Option(help="Passes over the training split: 0 to 5.")] = None
    batch_size: Annotated[int | None, typer.Option(help="Samples a step, in all processes together.")] = None
    distillation: _Distillation = None
    seed: Annotated[int, typer.Option(help="The same seed gives the same checkpoint.")] = 0

    def settings(self) -> "SilenceSettings":
        """Return the settings that the words mean; raises UsageError."""
        from snnq.pruning.settings import SilenceSettings
        from snnq.training.finetune import Finetune

        words = given(vars(self))
        return SilenceSettings(words.pop("most"), Finetune(**words))


@dataclass(frozen=True)
class CalibrateWords:
    """Words of ``snnq calibrate``."""

    generator: Annotated[
        str, typer.Option(help="glyphs, images:DIR (your own pictures), diffusers:MODEL, inversion or noise.")
    ] = "glyphs"
    samples: Annotated[int | None, typer.Option(help="How many are kept: three quarters of them for training.")] = None
    filter: Annotated[
        Patterns,
        typer.Option(help="energy, bn, rates, patch: what the float model drops, one after another."),
        Typed(str | None),
    ] = None
    oversample: Annotated[float | None, typer.Option(help="Candidates for each sample that filters keep.")] = None
    temperature: Annotated[float | None, typer.Option(help="Temperature α of the energy score.")] = None
    camera: Annotated[
        str | None,
        typer.Option(
            help="Simulated camera: n-mnist, fashion-mnist, digits, cifar10, cifar10-dvs; by default as trained."
        ),
    ] = None
    by: Annotated[
        str | None, typer.Option(help="How events are cut into frames, count or time; by default as trained.")
    ] = None
    shots: Annotated[int | None, typer.Option(help="Samples a class of --few-shot.")] = None
    rounds: Annotated[int | None, typer.Option(help="Optimizer steps a batch; inversion.")] = None
    batch_size: Annotated[int | None, typer.Option(help="Samples optimised together; inversion.")] = None
    guidance: Annotated[float | None, typer.Option(help="Guidance of prompts; diffusers.")] = None
    denoising: Annotated[int | None, typer.Option(help="Denoising steps a picture; diffusers.")] = None
    pixels: Annotated[int | None, typer.Option(help="Side of a picture; diffusers, by default the model's.")] = None
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 0

    def settings(self) -> "CalibrateSettings":
        """Return the settings that the words mean; raises UsageError."""
        from snnq.calibrating.settings import CalibrateSettings

        words = given(vars(self))
        filters = ",".join(texts(words.pop("filter", None)))
        return CalibrateSettings(**words, filters=tuple(part.strip() for part in filters.split(",") if part.strip()))


@dataclass(frozen=True)
class ReuseWords:
    """Words of ``snnq reuse train``."""

    partial: Annotated[
        float, typer.Option(help="Share of the training samples on which each pattern is trained first.")
    ] = 0.2
    noise: Annotated[
        str, typer.Option(help="Noise of the arrays to train with, by the words of imc eval: write-noise=0.1.")
    ] = "off"
    epochs: Annotated[int | None, typer.Option(help="Passes over the training split, or its share.")] = None
    batch_size: Annotated[int | None, typer.Option(help="Samples a step, in all processes together.")] = None
    distillation: _Distillation = None
    seed: Annotated[int, typer.Option(help="The same seed gives the same checkpoint.")] = 0

    def settings(self) -> "ReuseSettings":
        """Return the settings that the words mean; raises UsageError."""
        from snnq.reusing.settings import ReuseSettings
        from snnq.training.finetune import Finetune

        words = given(vars(self))
        own = {name: words.pop(name) for name in ("partial", "noise")}
        return ReuseSettings(**own, finetune=Finetune(**words))


def given(words: Words) -> Words:
    """Return the words that were given: those left out take the settings' own defaults."""
    return {name: value for name, value in words.items() if value is not None}


def of_run(
    settings: object,
    words: Words,
    compute: Machines | OneDevice,
    unless: tuple[str, ...] = (),
    **same: object,
) -> Words:
    """Return what every command that runs hands down: its settings, its words, what it computes on, and the ``same``.

    ``unless``: words that keep no default of the settings (``resolved``).
    """
    return {"settings": settings, "words": resolved(words, settings, unless), "compute": compute.compute(), **same}


def resolved(words: Words, settings: object, unless: tuple[str, ...] = ()) -> Words:
    """Return a run's words with the defaults that ``settings`` filled in, but for those that may not be typed."""
    finetune = getattr(settings, "finetune", None)  # settings of their own, whose words stand beside the others
    missing: set[str] = {word for word, value in words["words"].items() if value is None} - {"steps", *unless}
    names = {word: "steps" if word == "steps_per_round" else word for word in missing}
    found = {word: getattr(settings, name, getattr(finetune, name, None)) for word, name in names.items()}
    return words | {"words": words["words"] | {word: plain(one) for word, one in found.items()}}
