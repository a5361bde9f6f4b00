"""The commands that say what a packed folder takes on a machine that is simulated."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from snnq.base.progress import Progress, shown
from snnq.commands.calling import command
from snnq.commands.words import Data, Folder, OneDevice, OwnModel, Split, Typed, register

if TYPE_CHECKING:
    from snnq.hardware.records import Accelerated


@command
def accel(
    folder: Folder = Path("packed"),
    *,
    target: Annotated[
        str | Path | Sequence[str | Path],
        typer.Option(metavar="MACHINE", help="loas, sparten, gospa, gamma or a .toml file; several with commas."),
        Typed(str),
    ] = "loas",
    data: Data = None,
    split: Split = "validation",
    samples: Annotated[int, typer.Option(min=1, help="Samples to run, spread evenly over the split.")] = 8,
    prosperity: Annotated[
        Path | None,
        typer.Option(metavar="NAME", help="Write the first sample's network for Prosperity, too: NAME.json, NAME.pkl."),
    ] = None,
    model: OwnModel = None,
    compute: OneDevice,
    progress: Progress = shown,
) -> "Accelerated":
    """Simulate a packed folder on an accelerator that skips zeros: cycles, bytes and energy of every layer.

    Zeros are those of the packed weights, spikes those that real inputs cause; nothing is an expected density.
    """
    from snnq.assessing.accel import accel as run_accel

    register(model)
    return run_accel(
        folder,
        target=target,
        data=data,
        split=split,
        samples=samples,
        prosperity=prosperity,
        compute=compute.compute(),
        progress=progress,
    )
