"""The commands that put a model on analog arrays: how it lies there, and what that costs."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from snnq.commands.calling import command
from snnq.commands.words import Sizes, Typed

if TYPE_CHECKING:
    from snnq.assessing.imc import ImcMap, ImcReport
    from snnq.hardware.crossbars.chosen import Arrays

_Path = Annotated[
    str | Path, typer.Argument(metavar="PATH", help="A packed folder, a plan.json or a float checkpoint."), Typed(str)
]


@dataclass(frozen=True)
class OnArrays:
    """Which arrays; what is left out is the target's own."""

    target: Annotated[
        str | Path, typer.Option(metavar="TARGET", help="spikesim-65nm, trex-32nm or a .toml file."), Typed(str)
    ] = "spikesim-65nm"
    cells: Annotated[str | None, typer.Option(help="Memory cells of the weights: rram, fefet, pcm or sram.")] = None
    dynamic: Annotated[
        str, typer.Option(help="Cells that attention writes at every step: nvm (as the weights') or sram.")
    ] = "nvm"
    xbar: Annotated[int | None, typer.Option(help="Rows and columns of an array.")] = None
    cell_bits: Annotated[int | None, typer.Option(help="Bits of a cell.")] = None
    adc_bits: Annotated[int | None, typer.Option(help="Bits of a converter.")] = None

    def arrays(self) -> "Arrays":
        """Return them as the rooms below take them."""
        from snnq.hardware.crossbars.chosen import Arrays

        return Arrays(**vars(self))


@command
def imc_map(path: _Path = Path("packed"), *, on: OnArrays, sizes: Sizes) -> "ImcMap":
    """Lay a model on analog arrays: rows, columns, slices, arrays, tiles, conversions and writes of every layer.

    Counts follow from the model's structure: no data is looked at.
    """
    from snnq.assessing.imc import imc_map as run_map

    return run_map(path, on.arrays(), **sizes.given())


@command
def imc_report(
    path: _Path = Path("packed"),
    *,
    on: OnArrays,
    membrane_bits: Annotated[int | None, typer.Option(help="Bits of a neuron's potential.")] = None,
    sizes: Sizes,
) -> "ImcReport":
    """Count what a model takes on analog arrays: energy, time and area by component, and how they grow with T.

    Counts follow from the model's structure: no data is looked at.
    """
    from snnq.assessing.imc import imc_report as run_report

    return run_report(path, on.arrays(), membrane_bits=membrane_bits, **sizes.given())
