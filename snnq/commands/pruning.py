"""The commands that take weights, channels and spikes out of a float checkpoint, and the one that counts spikes."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from snnq.base.progress import Progress, shown
from snnq.commands.calling import command
from snnq.commands.settings import PruneWords, SilenceWords, of_run
from snnq.commands.words import Data, Force, GivenCheckpoint, Machines, ModelSizes, OneDevice, Run, Typed, Words

if TYPE_CHECKING:
    from snnq.assessing.silence import Profile
    from snnq.pruning.run import Pruned
    from snnq.pruning.silencing import Silenced


@command
def prune(
    checkpoint: GivenCheckpoint,
    *,
    data: Data = None,
    asked: PruneWords,
    out: Annotated[Path, typer.Option(help="The new checkpoint.")] = Path("pruned.safetensors"),
    run: Run = None,
    compute: Machines,
    sizes: ModelSizes,
    force: Force = False,
    progress: Progress = shown,
    words: Words,
) -> "Pruned":
    """Prune a float checkpoint by magnitude and finetune what is left; search, ptq and finalize keep the zeros.

    The first layer and the head stay whole.
    """
    from snnq.pruning.run import prune as run_prune

    common = of_run(asked.settings(), words, compute, data=data, out=out, run=run, force=force, progress=progress)
    return run_prune(checkpoint, **common, **sizes.given())


@command
def mask_silent(
    checkpoint: GivenCheckpoint,
    *,
    data: Data = None,
    asked: SilenceWords,
    out: Annotated[Path, typer.Option(help="The new checkpoint.")] = Path("silenced.safetensors"),
    run: Run = None,
    compute: Machines,
    sizes: ModelSizes,
    force: Force = False,
    progress: Progress = shown,
    words: Words,
) -> "Silenced":
    """Make neurons that fire once in all steps of a sample silent, and finetune; it changes what the model computes.

    All neurons but the first ones are silenced, and the model says by how much it changed.
    """
    from snnq.pruning.silencing import mask_silent as run_mask_silent

    common = of_run(asked.settings(), words, compute, data=data, out=out, run=run, force=force, progress=progress)
    return run_mask_silent(checkpoint, **common, **sizes.given())


@command
def profile(
    path: Annotated[
        str | Path, typer.Argument(metavar="PATH", help="A packed folder or a float checkpoint."), Typed(str)
    ] = Path("packed"),
    *,
    data: Data = None,
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "validation",
    samples: Annotated[int, typer.Option(min=1, help="Samples to run, spread evenly over the split.")] = 64,
    compute: OneDevice,
    sizes: ModelSizes,
    progress: Progress = shown,
) -> "Profile":
    """Run a model on real inputs; show how dense the spikes behind each layer are, and how many neurons are silent."""
    from snnq.assessing.silence import profile as run_profile

    return run_profile(
        path,
        data=data,
        split=split,
        samples=samples,
        compute=compute.compute(),
        progress=progress,
        **sizes.given(),
    )
