"""SNNAugmentWide, the augmentation of the spiking transformers' event recipes, without torchvision.

Each sample takes one of six operations, the same for all its time steps. Of an operation's 31 evenly spaced
magnitudes one is drawn; a pixel takes its value from the nearest source pixel, and zero from outside. Source:
``autoaugment.py`` of ZK-Zhou/spikformer and its successors, on torchvision's tensors. They also flip the magnitude's
sign at random, which is left out here: the magnitudes are symmetric already.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from snnq.training.transfers import moved

OPERATIONS = ("identity", "shear-x", "translate-x", "translate-y", "rotate", "cutout")
BINS = 31
# Largest magnitudes: a shear's angle in radians, pixels, degrees.
_LARGEST = {"shear-x": 0.3, "translate-x": 5.0, "translate-y": 5.0, "rotate": 30.0}
# Share of a frame's area that a cut-out square takes.
_CUTOUT = (0.001, 0.11)


@dataclass(frozen=True)
class SnnWide:
    """One of identity, shear, shift in x or y, rotation and cut-out, drawn for every sample."""

    def __call__(self, frames: Tensor, draw: torch.Generator) -> Tensor:
        """Return new frames (B, T, C, H, W)."""
        count, height, width = len(frames), *frames.shape[-2:]
        operations = [OPERATIONS[i] for i in torch.randint(len(OPERATIONS), (count,), generator=draw).tolist()]
        bins = torch.randint(BINS, (count,), generator=draw).tolist()
        cuts = torch.rand(count, 3, generator=draw).tolist()
        frames = frames.clone()
        warped = [i for i, name in enumerate(operations) if name in _LARGEST]
        if warped:
            matrices = torch.stack([source_matrix(operations[i], magnitude(operations[i], bins[i])) for i in warped])
            at = moved(torch.tensor(warped), frames.device)
            frames[at] = warp(frames[at], matrices)
        for i, name in enumerate(operations):
            if name == "cutout":
                rows, columns = cut_square(height, width, *cuts[i])
                frames[i, ..., rows, columns] = 0
        return frames


def magnitude(operation: str, place: int) -> float:
    """Return the ``place``-th of the 31 magnitudes from -largest to largest; those in pixels are cut to whole ones."""
    largest = _LARGEST[operation]
    value = float(torch.linspace(-largest, largest, BINS)[place])
    return float(int(value)) if operation.startswith("translate") else value


def source_matrix(operation: str, value: float) -> Tensor:
    """Return A (2, 3) with A · (x, y, 1) the place a pixel is taken from; pixels from the centre, y downwards.

    A shear by ``value`` radians, a shift right or down by ``value`` pixels, a turn to the left by ``value`` degrees.
    """
    if operation == "shear-x":
        rows = [[1, math.tan(value), 0], [0, 1, 0]]
    elif operation == "translate-x":
        rows = [[1, 0, -value], [0, 1, 0]]
    elif operation == "translate-y":
        rows = [[1, 0, 0], [0, 1, -value]]
    else:
        cosine, sine = math.cos(math.radians(value)), math.sin(math.radians(value))
        rows = [[cosine, -sine, 0], [sine, cosine, 0]]
    return torch.tensor(rows, dtype=torch.float32)


def warp(frames: Tensor, matrices: Tensor) -> Tensor:
    """Return frames (B, T, C, H, W) whose pixels are taken from ``matrices`` (B, 2, 3), see ``source_matrix``."""
    height, width = frames.shape[-2:]
    # affine_grid counts from -1 to 1 across the frame, whatever its size in pixels.
    scale = torch.tensor([[1, height / width, 2 / width], [width / height, 1, 2 / height]])
    grid = F.affine_grid(matrices * scale, [len(frames), 1, height, width], align_corners=False)
    flat = frames.flatten(1, 2)
    grid = moved(grid.to(flat.dtype), flat.device)
    return F.grid_sample(flat, grid, mode="nearest", align_corners=False).view_as(frames)


def cut_square(height: int, width: int, share: float, down: float, right: float) -> tuple[slice, slice]:
    """Return rows and columns of the square that is cut out; the three numbers lie in [0, 1)."""
    least, most = _CUTOUT
    side = min(round(math.sqrt((least + (most - least) * share) * height * width)), height, width)
    top, left = int(down * (height - side + 1)), int(right * (width - side + 1))
    return slice(top, top + side), slice(left, left + side)
