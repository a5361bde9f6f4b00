"""The command that makes calibration data where the real data are missing."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from snnq.base.progress import Progress, shown
from snnq.commands.calling import command
from snnq.commands.settings import CalibrateWords, resolved
from snnq.commands.words import Force, GivenCheckpoint, OneDevice, Run, Sizes, Typed, Words

if TYPE_CHECKING:
    from snnq.calibrating.run import Calibrated


@command
def calibrate(
    checkpoint: GivenCheckpoint,
    *,
    asked: CalibrateWords,
    classes: Annotated[
        str | Path | Sequence[str] | None,
        typer.Option(metavar="FILE|NAMES", help="Class names, one a line or cat,dog, in the order of the outputs."),
        Typed(str | None),
    ] = None,
    rates: Annotated[
        Path | None, typer.Option(help="For --filter rates: a card of snnq inspect --rates, or a packed folder.")
    ] = None,
    fonts: Annotated[
        Path | None, typer.Option(help="Fonts of glyphs; by default those that matplotlib brings.")
    ] = None,
    prompts: Annotated[Path | None, typer.Option(help="Prompts of diffusers, one a line, each with {class}.")] = None,
    few_shot: Annotated[
        str | None,
        typer.Option(metavar="SPEC", help="Real data, of whose training split a few samples steer the generator."),
    ] = None,
    out: Annotated[Path, typer.Option(help="The new set.")] = Path("calib"),
    run: Run = None,
    compute: OneDevice,
    sizes: Sizes,
    force: Force = False,
    progress: Progress = shown,
    words: Words,
) -> "Calibrated":
    """Make a set of frames for a float checkpoint without its data: generated, filtered by the model, kept with scores.

    Any command takes it as --data calib:DIR; it has no labels.
    """
    from snnq.calibrating.given import class_names, read_rates
    from snnq.calibrating.run import calibrate as run_calibrate

    settings = asked.settings()
    return run_calibrate(
        checkpoint,
        classes=class_names(classes),
        out=out,
        settings=settings,
        rates=None if rates is None else read_rates(rates),
        fonts=fonts,
        prompts=prompts,
        few_shot=few_shot,
        run=run,
        compute=compute.compute(),
        force=force,
        progress=progress,
        words=resolved(words, settings),
        **sizes.given(),
    )
