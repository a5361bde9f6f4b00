"""The paper's findings about searched plans, counted over an experiment's own."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from statistics import fmean

from experiment import TABLES

from snnq.cost.quantities import STORAGE
from snnq.cost.table import read_table
from snnq.plan import Plan
from snnq.plan.costing import amount_of, weights_of

SEARCHED = ("paper-*", "budget", "sensitivity")
FIRST = "uniform-4"


def findings(folder: Path) -> Iterator[str]:
    """Yield a sentence a finding, over the plans <folder>/<row>/<seed>/plan.json of the searched rows."""
    plans = read_plans(folder, TABLES[0])
    if not plans:
        yield f"{folder} holds no searched plan."
        return
    first = count(plans, lambda plan: plan.layers[0].scheme == FIRST)
    head = count(plans, lambda plan: plan.layers[-1].scheme == FIRST)
    yield f"The first convolution takes {FIRST} in {first}."
    yield f"The head takes {FIRST} in {head}."
    yield attention(plans)
    for table in TABLES:
        yield tokenizer(read_plans(folder, table), table)


def read_plans(folder: Path, table: str) -> dict[str, list[Plan]]:
    """Return the plans of every searched row, costed with a table."""
    plans = defaultdict(list)
    for file in sorted(folder.glob("*/*/plan.json")):
        row = file.parts[-3]
        if any(fnmatchcase(row, pattern) for pattern in SEARCHED):
            plans[row].append(Plan.read(file, read_table(table)))
    return plans


def count(plans: dict[str, list[Plan]], holds: Callable[[Plan], bool]) -> str:
    """Return in how many of the plans something holds, in all and by row."""
    parts = {row: [holds(plan) for plan in own] for row, own in plans.items()}
    held, whole = (sum(size(part) for part in parts.values()) for size in (sum, len))
    by_row = ", ".join(f"{row} {sum(part)}/{len(part)}" for row, part in parts.items())
    return f"{held} of {whole} searched plans ({by_row})"


def attention(plans: dict[str, list[Plan]]) -> str:
    """Return the sentence on the bits of q and k beside those of v and the projection, weighted by weights."""
    every = [plan for own in plans.values() for plan in own]

    def bits(plan: Plan, pattern: str) -> float:
        layers = [layer for layer in plan.layers if re.search(rf"\.attn\.({pattern})$", layer.name)]
        return amount_of(STORAGE, layers) / weights_of(layers)

    means = [fmean(bits(plan, pattern) for plan in every) for pattern in ("q|k", "v|proj")]
    lower = count(plans, lambda plan: bits(plan, "q|k") < bits(plan, "v|proj"))
    averages = f"q and k have {means[0]:.2f} bits a weight on average, v and proj {means[1]:.2f}"
    return f"{averages}; q and k have fewer in {lower}."


def tokenizer(plans: dict[str, list[Plan]], table: str) -> str:
    """Return the sentence on the tokenizer's share of the energy before and after."""
    groups = [plan.groups["tokenizer"] for own in plans.values() for plan in own]
    before, after = groups[0].energy_share_float, [group.energy_share for group in groups]
    span = f"from {100 * min(after):.1f} to {100 * max(after):.1f} %"
    return (
        f"The tokenizer takes {100 * before:.1f} % of the energy in float32 and {100 * fmean(after):.1f} % on average "
        f"in the searched plans ({span}; cost table {table})."
    )
