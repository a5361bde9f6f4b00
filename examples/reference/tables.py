"""Prints an experiment's CSV as a Markdown table, and what its searched plans say about the paper's findings.

python examples/reference/tables.py e2/E2.csv
python examples/reference/tables.py e2/E2.csv --plans e2           # the folder with <row>/<seed>/plan.json
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from experiment import TABLES
from findings import findings

from snnq import console

BASE = "float-finetuned"
ENERGY = {f"energy % {table}": f"energy_percent_{table}" for table in TABLES}
HEADS = (
    "row", "seeds", "test %", f"test − {BASE}, points", "validation %", "bits", "storage %", *ENERGY, "search s",
    "finetune s",
)  # fmt: skip


def spread(values: pd.Series, digits: int = 2, sign: str = "") -> str:
    """Return mean ± sample standard deviation; the mean alone of one value, a dash of none."""
    values = values.dropna()
    if values.empty:
        return "–"
    mean = f"{values.mean():{sign}.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {values.std(ddof=1):.{digits}f}"


def markdown(cells: pd.DataFrame) -> str:
    """Return the table: a line for every row of the experiment, in the CSV's order.

    Differences are paired by seed: only seeds that both rows have count.
    """
    base = cells[cells.row == BASE].set_index("seed").test_accuracy
    lines = [HEADS, ["---"] + ["---:"] * (len(HEADS) - 1)]
    for row, own in cells.groupby("row", sort=False):
        paired = 100 * (own.set_index("seed").test_accuracy - base)
        numbers = [own.avg_bits.mean(), own.storage_percent.mean(), *(own[name].mean() for name in ENERGY.values())]
        lines.append(
            [
                str(row),
                str(len(own)),
                spread(100 * own.test_accuracy),
                "0" if row == BASE else spread(paired, sign="+"),
                spread(100 * own.validation_accuracy),
                *(f"{number:.2f}" for number in numbers),
                *(f"{own[name].mean():.0f}" for name in ("search_seconds", "finetune_seconds")),
            ]
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def caption(cells: pd.DataFrame) -> str:
    """Return what the figures stand on."""
    tests = ", ".join(str(count) for count in sorted(cells.test_samples.unique()))
    simulated = ", simulated" if cells.simulated.astype(str).eq("True").any() else ""
    names = ", ".join(cells.experiment.unique())
    return f"{names}: {tests} test samples{simulated}; mean ± standard deviation over seeds."


def main(
    file: Annotated[Path, typer.Argument(help="The experiment's CSV.")],
    plans: Annotated[Path | None, typer.Option(help="The folder with the cells, <row>/<seed>/plan.json.")] = None,
) -> None:
    """Print the table and, with --plans, the findings."""
    cells = pd.read_csv(file)
    console.out(f"{caption(cells)}\n\n{markdown(cells)}")
    if plans is not None:
        console.out("\n" + "\n".join(f"- {sentence}" for sentence in findings(plans)))


if __name__ == "__main__":
    typer.run(main)
