"""Budgets of finetuning: bits a weight by the plan, or the size of the file that is written.

What a budget limits is measured on what is packed, never estimated in the end: ``Limits.excess``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from snnq.base.errors import UsageError, nearest
from snnq.packed.coding import Coded
from snnq.packing.finish import model_bytes
from snnq.plan import Plan
from snnq.training.job import Job

# What a limit is called, and how many bits one of it is for so many weights.
BUDGETS = {"avg_bits": lambda weights: weights, "file_bits": lambda weights: weights, "file_kib": lambda _: 8192}


@dataclass(frozen=True)
class Limits:
    """Most bits of the plan, and most bits of model.safetensors; infinite where nothing is asked."""

    plan: float = math.inf
    file: float = math.inf

    def excess(self, folded: nn.Module, coded: Mapping[str, Coded], plan: Plan, job: Job) -> float:
        """Return by how many bits a finished model is above its limits, negative where it keeps them."""
        over = plan.totals.storage_bits - self.plan
        return over if self.file == math.inf else max(over, 8 * len(model_bytes(folded, coded, plan, job)) - self.file)


def limits_of(plan: Plan, budget: Mapping[str, float]) -> Limits:
    """Return the limits of a budget in bits; without one, those of the plan itself."""
    weights = plan.totals.weights
    bits = {name: limit * BUDGETS[name](weights) for name, limit in budget.items()}
    files = [most for name, most in bits.items() if name != "avg_bits"]
    return Limits(bits.get("avg_bits", math.inf if budget else plan.totals.storage_bits), min(files, default=math.inf))


def parse_budget(words: Sequence[str]) -> dict[str, float]:
    """Return limits by name of words such as ``file-bits=1.0``; raises UsageError naming the first bad one."""
    limits: dict[str, float] = {}
    for word in ",".join(words).split(",") if words else ():
        name, sign, text = word.partition("=")
        key = name.strip().replace("-", "_")
        if key not in BUDGETS:
            allowed = ", ".join(one.replace("_", "-") for one in BUDGETS)
            raise UsageError(f"--budget {word}: finetuning can keep {allowed}{nearest(key, BUDGETS)}")
        if key in limits:
            raise UsageError(f"--budget {name} is given twice")
        try:
            limits[key] = float(text)
        except ValueError:
            limits[key] = math.nan
        if not (sign and 0 < limits[key] < math.inf):
            raise UsageError(f"--budget {word}: a positive number is wanted, such as {name}=1.0")
    return limits
