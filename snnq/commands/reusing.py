"""The commands that let attentions reuse the spikes of the attention before them: a plan, and training by it."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from snnq.base.progress import Progress, shown
from snnq.commands.calling import command
from snnq.commands.imc import ArrayWords
from snnq.commands.settings import ReuseWords, of_run
from snnq.commands.words import Data, Force, GivenCheckpoint, Machines, ModelSizes, Run, Typed, Words

if TYPE_CHECKING:
    from snnq.reusing.planning import ReuseRequest
    from snnq.reusing.records import ReusePlan
    from snnq.reusing.run import Reused

_PLAN = Path("reuse.json")


@dataclass(frozen=True)
class ReuseTarget(ArrayWords):
    """What is planned for, and what is wanted of it."""

    target: Annotated[
        str | Path,
        typer.Option(
            metavar="TARGET", help="trex-32nm, spikesim-65nm, a .toml file of arrays, event (energy) or engine (time)."
        ),
        Typed(str),
    ] = "trex-32nm"
    delay: Annotated[float | None, typer.Option(help="Share of the model's delay that is left, such as 0.6.")] = None
    energy: Annotated[float | None, typer.Option(help="Share of its energy that is left.")] = None
    area: Annotated[float | None, typer.Option(help="Share of its area that is left.")] = None
    blocks: Annotated[int | None, typer.Option(help="How many blocks reuse, whatever that gains.")] = None

    def asked(self) -> "ReuseRequest":
        """Return it as the rooms below take it; raises UsageError."""
        from snnq.hardware.crossbars.chosen import Arrays
        from snnq.reusing.planning import ReuseRequest

        words = dict(vars(self))
        limits = {name: words.pop(name) for name in ("delay", "energy", "area", "blocks")}
        return ReuseRequest(Arrays(**words), **limits)


@command
def reuse_plan(
    checkpoint: GivenCheckpoint,
    *,
    data: Data = None,
    on: ReuseTarget,
    out: Annotated[Path, typer.Option(help="The plan.")] = _PLAN,
    threads: Annotated[int, typer.Option(min=1, help="Threads of --target engine.")] = 1,
    sizes: ModelSizes,
    force: Force = False,
    progress: Progress = shown,
) -> "ReusePlan":
    """Find the fewest blocks whose attention must reuse the one before to keep a delay, and their patterns."""
    from snnq.reusing.planning import reuse_plan as run_plan

    found = run_plan(checkpoint, on.asked(), data=data, threads=threads, progress=progress, **sizes.given())
    found.write(out, force=force)
    return found


@command
def reuse_train(
    checkpoint: GivenCheckpoint,
    *,
    plan: Annotated[Path, typer.Option(help="The plan of snnq reuse plan.")] = _PLAN,
    data: Data = None,
    asked: ReuseWords,
    out: Annotated[Path, typer.Option(help="The new checkpoint.")] = Path("reused.safetensors"),
    run: Run = None,
    compute: Machines,
    sizes: ModelSizes,
    force: Force = False,
    progress: Progress = shown,
    words: Words,
) -> "Reused":
    """Train every pattern of a plan on a share of the data, and the best one in full, with the float model as teacher.

    The new checkpoint is smaller; search, ptq and finalize take it as any other.
    """
    from snnq.reusing.run import reuse_train as run_train

    common = of_run(asked.settings(), words, compute, data=data, out=out, run=run, force=force, progress=progress)
    return run_train(checkpoint, plan, **common, **sizes.given())
