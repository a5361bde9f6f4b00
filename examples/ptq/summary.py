"""The tables of README.md from ptq.csv: points from the float model, by plan and arm.

python examples/ptq/summary.py ptq/ptq.csv
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from arms import FINETUNED

OVERVIEW = ("awq", "awq-matched", "quantease-matched", "tesseraq-live", *FINETUNED)


def main(file: Annotated[Path, typer.Argument(help="What run.py wrote.")] = Path("ptq/ptq.csv")) -> None:
    """Print markdown: a table a plan, mean ± standard deviation over its cells, and one of all plans, means alone.

    A cell is a float model and calibration seed.
    """
    frame = pd.read_csv(file)
    for plan, rows in frame.groupby("plan", sort=False):
        floats = rows.drop_duplicates("model")
        typer.echo(
            f"\n{plan}: {floats.avg_bits.mean():.2f} bits; float {_each(floats.float_validation)} % on validation, "
            f"{_each(floats.float_test)} % on test\n"
        )
        typer.echo("| arm | models × seeds | validation − float | test − float | gap recovered, % | seconds |")
        typer.echo("| --- | ---: | ---: | ---: | ---: | ---: |")
        for arm, cells in rows.groupby("arm", sort=False):
            typer.echo(
                f"| `{arm}` | {cells.model.nunique()} × {cells.seed.nunique()} | "
                f"{_spread(cells.validation - cells.float_validation)} | {_spread(cells.test - cells.float_test)} | "
                f"{_spread(cells.recovered_validation, 0)} | {cells.seconds.mean():.0f} |"
            )

    typer.echo(
        f"\n| plan | bits |{''.join(f' `{arm}` |' for arm in OVERVIEW)}\n| --- | ---: |{' ---: |' * len(OVERVIEW)}"
    )
    for plan, rows in frame.groupby("plan", sort=False):
        cells = [_both(rows.loc[rows.arm == arm]) for arm in OVERVIEW]
        typer.echo(f"| `{plan}` | {rows.avg_bits.mean():.2f} | {' | '.join(cells)} |")


def _both(cells: pd.DataFrame) -> str:
    if cells.empty:
        return ""
    found = ((cells[split] - cells[f"float_{split}"]).mean() for split in ("validation", "test"))
    return " / ".join(f"{100 * one:.2f}" for one in found)


def _each(values: pd.Series) -> str:
    return " and ".join(f"{100 * value:.2f}" for value in values)


def _spread(values: pd.Series, decimals: int = 2) -> str:
    shown = f"{100 * values.mean():.{decimals}f}"
    return shown if len(values) < 2 or shown == "nan" else f"{shown} ± {100 * values.std():.{decimals}f}"


if __name__ == "__main__":
    typer.run(main)
