"""The command that makes calibration data where the real data are missing."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from snnq.base.progress import Progress, shown
from snnq.commands.calling import command
from snnq.commands.settings import CalibrateWords, of_run
from snnq.commands.words import Force, GivenCheckpoint, ModelSizes, OneDevice, Run, Typed, Words

if TYPE_CHECKING:
    from snnq.calibrating.run import Calibrated

_Classes = Annotated[
    str | Path | Sequence[str] | None,
    typer.Option(metavar="FILE|NAMES", help="Class names, one a line or cat,dog, in the order of the outputs."),
    Typed(str | None),
]
_Rates = Annotated[
    Path | None, typer.Option(help="For --filter rates: a card of snnq inspect --rates, or a packed folder.")
]
_Fonts = Annotated[Path | None, typer.Option(help="Fonts of glyphs; by default those that matplotlib brings.")]
_Templates = Annotated[Path | None, typer.Option(help="Templates for diffusers, one a line, each with {class}.")]
_FewShot = Annotated[
    str | None,
    typer.Option(metavar="SPEC", help="Real data, of whose training split a few samples steer the generator."),
]


@command
def calibrate(
    checkpoint: GivenCheckpoint,
    *,
    asked: CalibrateWords,
    classes: _Classes = None,
    rates: _Rates = None,
    fonts: _Fonts = None,
    prompts: _Templates = None,
    few_shot: _FewShot = None,
    out: Annotated[Path, typer.Option(help="The new set.")] = Path("calib"),
    run: Run = None,
    compute: OneDevice,
    sizes: ModelSizes,
    force: Force = False,
    progress: Progress = shown,
    words: Words,
) -> "Calibrated":
    """Make a set of frames for a float checkpoint without its data: generated, filtered by the model, kept with scores.

    Any command takes it as --data calib:DIR; it has no labels.
    """
    from snnq.calibrating.given import class_names, read_rates
    from snnq.calibrating.run import calibrate as run_calibrate

    common = of_run(asked.settings(), words, compute, out=out, run=run, force=force, progress=progress)
    read = {"classes": class_names(classes), "rates": None if rates is None else read_rates(rates)}
    sources = {"fonts": fonts, "templates": prompts, "few_shot": few_shot}
    return run_calibrate(checkpoint, **read, **sources, **common, **sizes.given())
