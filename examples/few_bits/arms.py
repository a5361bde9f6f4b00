"""The arms of the experiment on few bits: how each makes a plan of so many bits a weight.

An arm is a name and, behind ``@``, bits a weight: ``rate@0.7``. Arms without bits are one scheme for every layer.
``kib@36`` is ``free`` with a budget of the file's size instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import snnq

# One scheme everywhere: its codes take what they take.
FIXED = ("float32", "binary", "ternary", "uniform-2", "uniform-3", "uniform-4")
# What a search chooses from: points along each layer's own curve of rate and distortion, all of one grid.
GRID = "uniform-4"
POINTS = (0.25, 0.4, 0.55, 0.7, 0.85, 1.0, 1.2, 1.4, 1.7, 2.0, 2.4)
SPACE = ",".join(f"{GRID}@{point:g}" for point in POINTS)
# "even": every layer has the same bits. "free", "kib": one price of a bit while finetuning, so the bits find their
# layers. The others are methods of `snnq search`, whose plan's rates are held.
ALLOCATIONS = ("even", "free", "kib", "rate", "differentiable", "sensitivity", "hessian", "drift", "halving", "random")


@dataclass(frozen=True)
class Arm:
    """A way to a plan, and the bits a weight that it is asked for; None for one scheme everywhere."""

    way: str
    bits: float | None

    @classmethod
    def named(cls, text: str) -> Arm:
        """Return the arm of a name such as ``rate@0.7`` or ``uniform-2``; raises ValueError for another."""
        way, _, bits = text.partition("@")
        if (way in ALLOCATIONS) != bool(bits) or way not in (*ALLOCATIONS, *FIXED):
            raise ValueError(f"no arm is called {text}: give one of {', '.join(FIXED)}, or {ALLOCATIONS}@BITS")
        return cls(way, float(bits) if bits else None)

    def plan(self, checkpoint: str | Path, data: str | None, seed: int, epochs: int, folder: Path) -> Path:
        """Write the arm's plan into a folder; a search goes on where it was cut off."""
        file = folder / "plan.json"
        if file.exists():
            return file
        if self.bits is None or self.way in ("even", "free", "kib"):
            scheme = self.way if self.bits is None else GRID if self.way == "kib" else f"{GRID}@{self.bits:g}"
            snnq.uniform_plan(scheme, checkpoint=checkpoint).write(file)
        else:
            space = GRID if self.way == "rate" else SPACE  # that one takes any rate of a grid
            words = {"method": self.way, "budget": [f"avg-bits={self.bits:g}"], "space": [space]}
            snnq.search(checkpoint, data=data, out=file, seed=seed, epochs=epochs, progress=snnq.silent, **words)
        return file

    def finetuning(self) -> dict[str, Any]:
        """Return what finalize is told beside what all arms are told alike."""
        if self.bits is None:
            return {}
        limits = {"free": f"avg-bits={self.bits:g}", "kib": f"file-kib={self.bits:g}"}
        return {"budget": [limits[self.way]]} if self.way in limits else {"hold_rates": True}
