"""Folders of small images, some noise around one picture a class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def write_images(folder: Path, classes: int, counts: dict[str, int], side: int = 32, seed: int = 0) -> Path:
    """Write ``counts`` images of each class into ``folder``/<split>/<class>; return the folder."""
    draw = np.random.default_rng(seed)
    pictures = draw.integers(0, 256, (classes, 4, 4, 3))
    for split, count in counts.items():
        for number, picture in enumerate(pictures):
            place = folder / split / f"class{number}"
            place.mkdir(parents=True)
            for index in range(count):
                seen = np.kron(picture, np.ones((side // 4, side // 4, 1))) + draw.normal(0, 30, (side, side, 3))
                Image.fromarray(seen.clip(0, 255).astype(np.uint8)).save(place / f"{index}.png")
    return folder
