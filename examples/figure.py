"""Draw tables of cells: accuracy (or another column) against a size, mean and standard deviation over seeds, by arm.

python examples/figure.py examples/sparsity/*.csv --out examples/sparsity/accuracy.svg --arms pruned-2,rate,ternary

A panel a table. Cells of an arm that differ in anything else than their seed (a sparsity, a rate) are points of one
line; cells without the column on the x-axis are left out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import matplotlib as mpl
import pandas as pd
import typer
from matplotlib.figure import Figure

WIDTH, HEIGHT = 4.2, 3.6  # inches of a panel


def points(table: pd.DataFrame, x: str, y: str, by: str) -> pd.DataFrame:
    """Return mean and standard deviation of x and y over seeds, by arm and by what tells an arm's settings apart."""
    setting = [name for name in ("sparsity", "rate", "bits") if name in table and name != x]
    found = table.dropna(subset=[x, y]).groupby([by, *setting])[[x, y]].agg(["mean", "std", "count"])
    return found.fillna(0.0).reset_index().sort_values((x, "mean"))


def main(
    tables: Annotated[list[Path], typer.Argument(help="CSV files of cells, each with a column seed.")],
    out: Annotated[Path, typer.Option(help="The figure, .svg or .png.")] = Path("figure.svg"),
    x: Annotated[str, typer.Option(help="Column on the x-axis, logarithmic.")] = "file_bytes",
    y: Annotated[str, typer.Option(help="Column on the y-axis, shown in per cent.")] = "test",
    by: Annotated[str, typer.Option(help="Column that names an arm.")] = "arm",
    arms: Annotated[str, typer.Option(help="Arms to draw, separated by commas; '' for all.")] = "",
) -> None:
    """Write the figure."""
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "snnq", "font.size": 9})
    figure = Figure((WIDTH * len(tables), HEIGHT), layout="constrained")
    for table, axes in zip(tables, figure.subplots(1, len(tables), squeeze=False)[0], strict=True):
        found = points(pd.read_csv(table), x, y, by)
        chosen = arms.split(",") if arms else list(found[by].unique())
        for arm, marker in zip(chosen, "osD^vP*X<>hd" * 9, strict=False):
            one = found[found[by] == arm]
            center, spread = 100 * one[y]["mean"], 100 * one[y]["std"]
            axes.errorbar(one[x]["mean"], center, spread, marker=marker, capsize=2, lw=1, ms=4, label=arm)
        axes.set(xscale="log", xlabel=x.replace("_", " "), ylabel=f"{y} %", title=table.stem)
        axes.grid(alpha=0.3, which="both")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    figure.savefig(out, metadata={"Date": None} if out.suffix == ".svg" else None)


if __name__ == "__main__":
    typer.run(main)
