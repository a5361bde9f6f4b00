"""``images:DIR``: pictures that the user made, with whatever text-to-image model; they become events before the camera.

Files in folders that are called like a class are of that class; all others of none.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from snnq.base.errors import DataError, UsageError
from snnq.base.files import read_regular
from snnq.base.progress import silent
from snnq.calibrating.pictures import LUMA, Camera, Candidate
from snnq.data.cache import cache_root
from snnq.data.fingerprint import hash_files
from snnq.data.image_folders import SUFFIXES
from snnq.data.pixels import Fitting, read_image

_SIDE = 128  # pixels, before the camera


class OwnPictures:
    """Candidate i is the i-th picture, classes in turn, by name within each."""

    together = 64

    def __init__(self, camera: Camera, folder: Path, names: Sequence[str], needed: int) -> None:
        self.camera, self.folder = camera, folder
        self.files = _in_turn(_listed(folder, names))
        if needed > len(self.files):
            raise UsageError(
                f"{folder}: {len(self.files)} pictures, {needed} are needed", "fewer: --samples, --oversample"
            )
        content = hash_files(folder, sorted(file for file, _ in self.files), cache_root(), silent)
        self.facts: Mapping[str, object] = {"pictures_sha256": content.total}

    def make(self, start: int, stop: int) -> list[Candidate]:
        """Return candidates start … stop − 1."""
        numbers = list(range(start, stop))
        chosen = [self.files[number] for number in numbers]
        frames = self.camera.shoot(np.stack([picture(file) for file, _ in chosen]), numbers)
        return [
            Candidate(one, asked, {"file": self._name(file), "sha256": hashlib.sha256(read_regular(file)).hexdigest()})
            for one, (file, asked) in zip(frames, chosen, strict=True)
        ]

    def _name(self, file: Path) -> str:
        return str(file.relative_to(self.folder)).replace(os.sep, "/")


def picture(file: Path) -> np.ndarray:
    """Return the luminance (128, 128), 0 … 1, of an image file's middle, its shorter side being all of it."""
    fit = Fitting((_SIDE, _SIDE), _SIDE, None, "bicubic")
    return np.tensordot(LUMA, read_image(file, fit)[0].astype(np.float64), 1) / 255


def _listed(folder: Path, names: Sequence[str]) -> dict[int | None, list[Path]]:
    """Return picture files by class."""
    if not folder.is_dir():
        raise DataError(f"{folder}: {'it is no folder' if folder.exists() else 'folder not found'}.")
    found: dict[int | None, list[Path]] = {}
    for place, _, files in sorted(os.walk(folder)):
        named = Path(place).name
        asked = names.index(named) if named in names and Path(place) != folder else None
        own = [Path(place, one) for one in sorted(files) if one.lower().endswith(SUFFIXES) and one[0] != "."]
        found.setdefault(asked, []).extend(own)
    if not any(found.values()):
        raise DataError(f"{folder}: no picture in it ({', '.join(SUFFIXES)}).")
    return {asked: own for asked, own in found.items() if own}


def _in_turn(found: Mapping[int | None, list[Path]]) -> tuple[tuple[Path, int | None], ...]:
    """Return one file of each class, then the next of each, …"""
    order = sorted(found, key=lambda asked: (asked is None, asked or 0))
    longest = max(map(len, found.values()))
    return tuple((found[one][i], one) for i in range(longest) for one in order if i < len(found[one]))
