"""The tables of README.md from ptq.csv: mean ± standard deviation over calibration seeds, by plan and arm.

python examples/ptq/summary.py ptq/ptq.csv
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pandas as pd
import typer


def main(file: Annotated[Path, typer.Argument(help="What run.py wrote.")] = Path("ptq/ptq.csv")) -> None:
    """Print one markdown table a plan."""
    frame = pd.read_csv(file)
    for plan, rows in frame.groupby("plan", sort=False):
        first = rows.iloc[0]
        typer.echo(f"\n{plan}: {first.avg_bits:.2f} bits; float {100 * first.float_validation:.2f} % on validation, ")
        typer.echo(f"{100 * first.float_test:.2f} % on test\n")
        typer.echo("| arm | seeds | validation % | test % | gap to AWQ's clips recovered, validation % | seconds |")
        typer.echo("| --- | ---: | ---: | ---: | ---: | ---: |")
        for arm, cells in rows.groupby("arm", sort=False):
            typer.echo(
                f"| `{arm}` | {len(cells)} | {_spread(cells.validation)} | {_spread(cells.test)} | "
                f"{_spread(cells.recovered_validation, 0)} | {cells.seconds.mean():.0f} |"
            )


def _spread(values: pd.Series, decimals: int = 2) -> str:
    shown = f"{100 * values.mean():.{decimals}f}"
    return shown if len(values) < 2 or shown == "nan" else f"{shown} ± {100 * values.std():.{decimals}f}"


if __name__ == "__main__":
    typer.run(main)
