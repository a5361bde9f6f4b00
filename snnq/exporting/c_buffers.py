"""What the C source's operations are, and the buffers that hold their streams."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from snnq.network.stages import Potential, Stage

TOTALS = "head, totals"  # no path of a module has a blank


@dataclass(frozen=True)
class Buffer:
    """What holds a stream: at every pixel, of each of ``channels``, ``planes`` bits, or (0) a number of ``bits``.

    All of them for every time step, unless it is not ``timed``.
    """

    name: str
    channels: int
    size: tuple[int, int] = (1, 1)
    planes: int = 0
    bits: int = 32
    timed: bool = True

    @property
    def pixels(self) -> int:
        """Height × width."""
        return self.size[0] * self.size[1]

    def pixel_bytes(self, steps: int) -> int:
        """Return the bytes of one pixel."""
        if self.planes:
            return self.channels * self.planes * -(-steps // 8)
        return self.channels * (self.bits // 8) * (steps if self.timed else 1)


@dataclass(frozen=True)
class Window:
    """How an image is seen: pixel (y, x) of the grid sees rows from ``stride`` · y - ``reach`` on.

    ``pooled``: it sees what rows 2y - 1 to 2y + 1 would.
    """

    reach: int
    stride: int
    pooled: bool = False

    def first_row(self, y: int) -> int:
        """Return the first row that is seen in row y of the grid, or after it."""
        return max((2 * y - 1 if self.pooled else y) * self.stride - self.reach, 0)


@dataclass(frozen=True)
class Operation:
    """One function of the C source, ``run``, and what it is given.

    ``writes``: at its ``pixel``, into every window of a ``pool`` that its pixel lies in, or ``all`` pixels into one.
    ``uses`` are buffers for itself alone, one pixel each, and ``held`` the voltages of its neurons, which last from
    step to step. ``alone``: its grid is no image. ``once``: it is run for one time step, of key frames. ``part`` counts
    what fires. ``made`` is the layer it has. Integer neurons of numbers compare these with ``tops``.
    """

    run: str
    takes: tuple[str, ...]
    gives: str
    grid: tuple[int, int]
    gathers: tuple[str, ...] = ()
    writes: Literal["pixel", "pool", "all"] = "pixel"
    window: Window | None = None
    uses: tuple[Buffer, ...] = ()
    held: Buffer | None = None
    alone: bool = False
    once: bool = False
    part: int = -1
    made: Stage | Potential | None = None
    numbers: Mapping[str, int] = field(default_factory=dict)
    tops: tuple[int, ...] = ()
