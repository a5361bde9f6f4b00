"""The commands that put a model on analog arrays: how it lies there, and what that costs."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from snnq.base.progress import Progress, shown
from snnq.commands.calling import command
from snnq.commands.words import Data, Folder, Force, ModelSizes, OwnModel, Split, Threads, Typed, Words, register

if TYPE_CHECKING:
    from snnq.assessing.imc import ImcMap, ImcReport
    from snnq.assessing.imc_records import ImcEval
    from snnq.hardware.crossbars.chosen import Arrays
    from snnq.hardware.crossbars.settings import ImcSettings

_Path = Annotated[
    str | Path, typer.Argument(metavar="PATH", help="A packed folder, a plan.json or a float checkpoint."), Typed(str)
]


@dataclass(frozen=True)
class ArrayWords:
    """Which arrays; what is left out is the target's own."""

    target: Annotated[
        str | Path, typer.Option(metavar="TARGET", help="spikesim-65nm, trex-32nm or a .toml file."), Typed(str)
    ] = "spikesim-65nm"
    cells: Annotated[str | None, typer.Option(help="Memory cells of the weights: rram, fefet, pcm or sram.")] = None
    dynamic: Annotated[
        str, typer.Option(help="Cells that attention writes at every step: nvm (as the weights'), sram, …")
    ] = "nvm"
    xbar: Annotated[int | None, typer.Option(help="Rows and columns of an array.")] = None
    cell_bits: Annotated[int | None, typer.Option(help="Bits of a cell.")] = None
    adc_bits: Annotated[int | None, typer.Option(help="Bits of a converter.")] = None

    def arrays(self) -> "Arrays":
        """Return them as the rooms below take them."""
        from snnq.hardware.crossbars.chosen import Arrays

        return Arrays(**vars(self))


@dataclass(frozen=True)
class NoiseWords:
    """What converters, cells and mitigation do."""

    adc_range: Annotated[
        str, typer.Option(help="A converter's step: granular (one level), max (clips no sum), or calibrated.")
    ] = "granular"
    on_off: Annotated[float | None, typer.Option(help="Largest by least conductance; by default the cells'.")] = None
    write_noise: Annotated[float, typer.Option(help="γσ of a written cell, drawn for every chip or write.")] = 0.0
    read_noise: Annotated[float, typer.Option(help="σ of a cell's conductance, drawn at every read.")] = 0.0
    drift: Annotated[
        str | None, typer.Option(metavar="NU,SECONDS[,SPREAD]", help="Conductances after some time: (t / 1 s)^-NU.")
    ] = None
    chips: Annotated[int, typer.Option(help="Chips that are drawn.")] = 10
    mitigate: Annotated[
        str,
        typer.Option(
            help="none, bn-stats (no labels), bn-finetune (for each chip), clip (attention's counts), percentile (its "
            "control), vat or vat+clip (a folder of finalize --vat)."
        ),
    ] = "none"
    alpha: Annotated[float | None, typer.Option(help="Of clip, in least conductances; chosen by default.")] = None
    beta: Annotated[float | None, typer.Option(help="Of clip, of the largest value; chosen by default.")] = None
    calibration_samples: Annotated[int, typer.Option(help="Training samples for calibrated, bn-… and clip.")] = 64
    epochs: Annotated[int, typer.Option(help="Passes over them of bn-finetune.")] = 5
    seed: Annotated[int, typer.Option(help="The same seed gives the same chips.")] = 0

    def settings(self) -> "ImcSettings":
        """Return the settings that the words mean; raises UsageError."""
        from snnq.hardware.crossbars.settings import ImcSettings, parse_drift

        words: Words = vars(self) | {"drift": parse_drift(self.drift)}
        return ImcSettings(**words)


@command
def imc_map(path: _Path = Path("packed"), *, on: ArrayWords, sizes: ModelSizes) -> "ImcMap":
    """Lay a model on analog arrays: rows, columns, slices, arrays, tiles, conversions and writes of every layer.

    Counts follow from the model's structure: no data is looked at.
    """
    from snnq.assessing.imc import imc_map as run_map

    return run_map(path, on.arrays(), **sizes.given())


@command
def imc_report(
    path: _Path = Path("packed"),
    *,
    on: ArrayWords,
    membrane_bits: Annotated[int | None, typer.Option(help="Bits of a neuron's potential.")] = None,
    sizes: ModelSizes,
) -> "ImcReport":
    """Count what a model takes on analog arrays: energy, time and area by component, and how they grow with T.

    Counts follow from the model's structure: no data is looked at.
    """
    from snnq.assessing.imc import imc_report as run_report

    return run_report(path, on.arrays(), membrane_bits=membrane_bits, **sizes.given())


@command
def imc_eval(
    folder: Folder = Path("packed"),
    *,
    on: ArrayWords,
    noise: NoiseWords,
    data: Data = None,
    split: Split = "test",
    samples: Annotated[
        int | None, typer.Option(min=1, help="Samples, spread evenly over the split; all by default.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Samples at a time.")] = 16,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="JSON; a run that was cut off goes on with it.")
    ] = None,
    model: OwnModel = None,
    threads: Threads = None,
    force: Force = False,
    progress: Progress = shown,
) -> "ImcEval":
    """Run a packed folder on chips of analog arrays: partial sums, converters, noise of cells, what helps against it.

    First a chip without noise must give the digital model's logits, bit for bit where it runs in whole numbers.
    """
    from snnq.assessing.imc_eval import imc_eval as run_eval
    from snnq.training.devices import Compute

    register(model)
    return run_eval(
        folder,
        on.arrays(),
        noise.settings(),
        data=data,
        split=split,
        samples=samples,
        batch_size=batch_size,
        out=out,
        force=force,
        compute=Compute(device="cpu", threads=threads),
        progress=progress,
    )
