"""Which arrays a command is about: a target, and what of it was chosen otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from snnq.base.errors import UsageError, nearest
from snnq.hardware.crossbars.mapped import SAME
from snnq.hardware.crossbars.target import DEFAULT_TARGET, ArrayTarget, read_target

SIDES, CELL_BITS, ADC_BITS = (4, 4096), (1, 8), (1, 24)


@dataclass(frozen=True)
class Arrays:
    """A target by name or path, cells of weights and of attention's operands; what is None is the target's own.

    ``xbar``: rows and columns of an array; ``cell_bits``: of a cell; ``adc_bits``: of a converter.
    """

    target: str | Path = DEFAULT_TARGET
    cells: str | None = None
    dynamic: str = "nvm"
    xbar: int | None = None
    cell_bits: int | None = None
    adc_bits: int | None = None

    def chip(self) -> ArrayTarget:
        """Return the target with these sizes; raises MachineError, and UsageError for what it cannot be."""
        limits = {"xbar": SIDES, "cell_bits": CELL_BITS, "adc_bits": ADC_BITS}
        for name, (least, most) in limits.items():
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise UsageError(f"--{name.replace('_', '-')} {value}: it is {least} to {most}")
        found = read_target(self.target)
        found.device(self.cells)
        known = (SAME, *found.devices)
        if self.dynamic not in known:
            raise UsageError(f"--dynamic {self.dynamic}: there is {', '.join(known)}{nearest(self.dynamic, known)}")
        return found.resized(self.xbar, self.cell_bits)
