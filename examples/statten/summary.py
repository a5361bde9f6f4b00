"""Prints the experiment's CSV as Markdown tables: accuracies with paired differences, and what each arm does and costs.

python examples/statten/summary.py statten/statten.csv
"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer
from scipy import stats

sys.path.append(str(Path(__file__).resolve().parents[1] / "reference"))

from tables import spread

from snnq import console

ROWS = ("float", "float-finetuned", "budget")
ACCURACY = ("task", "row", "B", "seeds", "test %", "Δ to B = 1, points [95 % CI]", "bits")
COSTS = (
    "task", "B", "c", "rate behind attention %, float", "of budget", "spikes a sample, float", "of budget",
    "largest KᵀV, float", "its bits", "MACs of layers", "of attention", "Q buffer, bits",
)  # fmt: skip
ORDER = ("B", "seeds", "both shapes right %", "order right, where they are, %", "Δ of that, points [95 % CI]")


def interval(differences: pd.Series) -> str:
    """Return mean and 95 % confidence interval (Student's t) of paired differences in points; the mean alone of one."""
    values = 100 * differences.dropna()
    if values.empty:
        return "–"
    mean = f"{values.mean():+.2f}"
    if len(values) == 1:
        return mean
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values))
    return f"{mean} [{values.mean() - half:+.2f}, {values.mean() + half:+.2f}]"


def paired(cells: Any, chunk: int, values: str = "test_accuracy") -> pd.Series:
    """Return chunk minus 1 by seed; cells of one task and row."""
    by_seed = cells.pivot(index="seed", columns="chunk", values=values)
    return by_seed[chunk] - by_seed[1] if 1 in by_seed else pd.Series(dtype=float)


def accuracy(cells: Any) -> str:
    """Return the table of test accuracies, mean ± standard deviation over seeds."""
    lines = []
    for (task, row, chunk), own in _grouped(cells, ["task", "row", "chunk"]):
        same = cells[(cells.task == task) & (cells.row == row)]
        change = "0" if chunk == 1 else interval(paired(same, chunk))
        bits = f"{own.avg_bits.mean():.2f}"
        lines.append([task, row, str(chunk), str(len(own)), spread(100 * own.test_accuracy), change, bits])
    return _markdown(ACCURACY, lines)


def order(cells: Any) -> str:
    """Return the table of what is wrong in the temporal-order task: the shapes or their order."""
    found = cells[(cells.task == "temporal-order") & (cells.row == "float")].copy()
    if found.empty:
        return ""
    found["ordered"] = found.test_accuracy / found.pair_accuracy
    lines = []
    for (chunk,), own in _grouped(found, ["chunk"]):
        change = "0" if chunk == 1 else interval(paired(found, chunk, "ordered"))
        lines.append([str(chunk), str(len(own)), spread(100 * own.pair_accuracy), spread(100 * own.ordered), change])
    return _markdown(ORDER, lines)


def costs(cells: Any) -> str:
    """Return the table of rates, spikes, ranges and sizes; means over seeds."""
    lines = []
    for (task, chunk), own in _grouped(cells, ["task", "chunk"]):
        floats, searched = (own[own.row == row] for row in ("float", "budget"))
        first = own.iloc[0]
        rates = [spread(100 * part.attention_rate, 1) for part in (floats, searched)]
        spikes = [spread(part.spikes, 0) for part in (floats, searched)]
        numbers = (first[name] for name in ("macs_layers", "macs_attention", "q_buffer_bits"))
        sizes = [f"{int(number):,}".replace(",", " ") for number in numbers]
        scale = f"2^{round(math.log2(first.attention_scale))}"
        largest = f"{floats.kv_max.max():.0f}"
        lines.append([task, str(chunk), scale, *rates, *spikes, largest, str(int(first.kv_bits)), *sizes])
    return _markdown(COSTS, lines)


def survival(cells: Any) -> list[str]:
    """Return a sentence a task: how much the difference changes from the finetuned float rows to the searched ones."""
    sentences = []
    for task, own in cells.groupby("task", sort=False):
        searched = own[own.row == "budget"]
        for chunk in sorted(set(searched.chunk) - {1}):
            before = paired(own[own.row == "float-finetuned"], chunk)
            change = interval(paired(searched, chunk) - before)
            sentences.append(f"{task}, B = {chunk}: Δ of budget minus Δ of float-finetuned is {change} points.")
    return sentences


def _grouped(cells: pd.DataFrame, keys: list[str]) -> Any:
    """Return the groups, tasks in the CSV's order, rows in that of ``ROWS``, chunks ascending."""
    tasks = list(cells.task.unique())
    place = {**{task: i for i, task in enumerate(tasks)}, **{row: i for i, row in enumerate(ROWS)}}
    ordered = cells.sort_values(keys, key=lambda column: column if column.name == "chunk" else column.map(place))
    return ordered.groupby(keys, sort=False)


def _markdown(heads: tuple[str, ...], lines: list[list[str]]) -> str:
    text = sum(head in ("task", "row") for head in heads)
    rule = ["---"] * text + ["---:"] * (len(heads) - text)
    return "\n".join(f"| {' | '.join(line)} |" for line in (heads, rule, *lines))


def main(file: Annotated[Path, typer.Argument(help="The experiment's CSV.")]) -> None:
    """Print the tables."""
    cells = pd.read_csv(file)
    simulated = "simulated" if cells.simulated.astype(str).eq("True").all() else "partly simulated"
    console.out(f"Test accuracy, mean ± standard deviation over seeds; {simulated} data.\n\n{accuracy(cells)}")
    said = "\n".join(f"- {sentence}" for sentence in survival(cells))
    for part in (said, order(cells), costs(cells)):
        if part:
            console.out(f"\n{part}")


if __name__ == "__main__":
    typer.run(main)
