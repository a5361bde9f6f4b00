"""The commands that let a packed folder, whose bytes stay what they are, learn other classes beside it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from snnq.base.progress import Progress, shown
from snnq.commands.calling import command
from snnq.commands.settings import given, resolved
from snnq.commands.words import Data, Engine, Folder, Force, OneDevice, OwnModel, Run, Typed, Words, register

if TYPE_CHECKING:
    from snnq.adapting.evaluating import AdaptEvaluation
    from snnq.adapting.listing import Listing
    from snnq.adapting.run import Fitted
    from snnq.adapting.settings import AdaptSettings


@dataclass(frozen=True)
class AdaptWords:
    """Words of ``snnq adapt fit``."""

    tasks: Annotated[
        str,
        typer.Option(
            metavar="TASKS",
            help="classes:2 (so many a task), joint (all at once), or a JSON file: lists of class names.",
        ),
    ] = "classes:2"
    method: Annotated[
        str,
        typer.Option(
            help="head, lda (a head without gradients), prompts too (l2p, coda, os, os++), or full: all weights."
        ),
    ] = "os"
    pool: Annotated[int | None, typer.Option(help="Slots of prompts at each attention, shared out over tasks.")] = None
    length: Annotated[int | None, typer.Option(help="Rows of a prompt: half are keys, half are values.")] = None
    blocks: Annotated[
        str | None, typer.Option(help="Attentions with prompts: 0, 0-1 or 0,2; the first 5/12 of them by default.")
    ] = None
    top: Annotated[int | None, typer.Option(help="Slots that l2p selects.")] = None
    regulariser: Annotated[
        str | None, typer.Option(help="What os++ draws to the float checkpoint: scores (paper) or embeddings (code).")
    ] = None
    strength: Annotated[float | None, typer.Option(help="λ: how much os++'s regulariser weighs in the loss.")] = None
    order: Annotated[int, typer.Option(help="0: classes in the order of the data; n: the n-th drawn order.")] = 0
    epochs: Annotated[int | None, typer.Option(help="Passes over the training samples of each task.")] = None
    batch_size: Annotated[int | None, typer.Option(help="Samples a step.")] = None
    learning_rate: Annotated[float | None, typer.Option(help="Of Adam, at the start of each task.")] = None
    seed: Annotated[int, typer.Option(help="The same seed gives the same adapter.")] = 0

    def settings(self) -> "AdaptSettings":
        """Return the settings that the words mean; raises UsageError."""
        from snnq.adapting.settings import AdaptSettings

        return AdaptSettings(**given(vars(self)))


@command
def adapt_fit(
    folder: Folder = Path("packed"),
    *,
    data: Data = None,
    asked: AdaptWords,
    out: Annotated[Path, typer.Option(help="The adapter.")] = Path("adapter.safetensors"),
    run: Run = None,
    model: OwnModel = None,
    compute: OneDevice,
    force: Force = False,
    progress: Progress = shown,
    words: Words,
) -> "Fitted":
    """Learn other classes, task by task, beside a packed folder whose codes stay frozen; write a small side file."""
    from snnq.adapting.run import adapt_fit as run_fit

    register(model)
    settings = asked.settings()
    return run_fit(
        folder,
        data=data,
        settings=settings,
        out=out,
        run=run,
        compute=compute.compute(),
        force=force,
        progress=progress,
        words=resolved(words, settings),
    )


@command
def adapt_eval(
    folder: Folder,
    adapters: Annotated[
        str | Path | Sequence[str | Path],
        typer.Argument(metavar="ADAPTER ...", help="Side files of it, such as those of several class orders."),
        Typed(list[Path]),
    ],
    *,
    data: Data = None,
    engine: Engine = "torch",
    batch_size: Annotated[int, typer.Option(min=1, help="Samples at a time.")] = 32,
    measure: Annotated[
        int, typer.Option(min=0, help="Test samples whose synaptic operations and times are measured; 0: none.")
    ] = 8,
    model: OwnModel = None,
    compute: OneDevice,
    progress: Progress = shown,
) -> "AdaptEvaluation":
    """Evaluate adapters of a packed folder: what they know of every task, what was forgotten, and what it costs."""
    from snnq.adapting.evaluating import adapt_eval as run_eval

    register(model)
    return run_eval(
        folder,
        [adapters] if isinstance(adapters, str | Path) else list(adapters),
        data=data,
        engine=engine,
        batch_size=batch_size,
        measure=measure,
        compute=compute.compute(),
        progress=progress,
    )


@command
def adapt_list(
    place: Annotated[
        str | Path, typer.Argument(metavar="[PLACE]", help="A folder with adapters in it, or one of them."), Typed(Path)
    ] = Path(),
    *,
    packed: Annotated[Path | None, typer.Option(help="The packed folder that they should be of.")] = None,
) -> "Listing":
    """List adapters: method, classes, size, what they know, and whether they are of a packed folder."""
    from snnq.adapting.listing import adapt_list as run_list

    return run_list(place, packed=packed)
