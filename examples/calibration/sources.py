"""Where calibration data come from in the experiment: one set a source and seed, made once, used by all cells."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import snnq
from snnq.base.files import write_atomic
from snnq.data import DataSet, open_data
from snnq.data.image_sets import find_idx, read_idx
from snnq.data.spec import SPLITS
from snnq.training.seeding import shuffled

# Words of ``snnq.calibrate`` for every source that it makes; "{other}" are pictures of another real data set.
MADE: dict[str, dict[str, Any]] = {
    "noise": {"generator": "noise"},
    "inversion": {"generator": "inversion", "rounds": 100},
    "other": {"generator": "images:{other}"},
    "other+both": {"generator": "images:{other}", "filter": "energy,bn"},
    "glyphs": {"generator": "glyphs"},
    "glyphs+energy": {"generator": "glyphs", "filter": "energy"},
    "glyphs+bn": {"generator": "glyphs", "filter": "bn"},
    "glyphs+both": {"generator": "glyphs", "filter": "energy,bn"},
    "glyphs+rates": {"generator": "glyphs", "filter": "rates"},
    "glyphs+patch": {"generator": "glyphs", "filter": "patch"},
    "few-1": {"generator": "glyphs", "shots": 1, "filter": "energy,bn"},
    "few-5": {"generator": "glyphs", "shots": 5, "filter": "energy,bn"},
}
# Real samples: as many as asked for, or just the few.
REAL = {"real": None, "just-1": 1, "just-5": 5}
SOURCES = (*REAL, *MADE)
HELD_OUT = 64


@dataclass(frozen=True)
class Place:
    """A model, its real data, and where sets are kept."""

    checkpoint: Path
    data: str
    names: tuple[str, ...]
    other: Path | None
    out: Path
    largest: int

    def training(self, count: int | None = None) -> str:
        """Return the real data with ``count`` training samples, and few in the splits that calibration does not use."""
        spec, _, limit = self.data.partition(",limit=")
        count = count or (int(limit.partition("+")[0]) if limit else None)
        return f"{spec},limit={count}+{HELD_OUT}+{HELD_OUT}" if count else spec

    def shape(self) -> tuple[int, tuple[int, int]]:
        """Return steps and image size of the model's frames."""
        config = snnq.inspect(self.checkpoint).checkpoint.config
        height, width = config["image_size"]
        return config["steps"], (height, width)


def data_of(place: Place, source: str, seed: int) -> tuple[str, float]:
    """Return the spec of a source's data, made if need be, and the seconds that 1 000 samples took to make."""
    if source == "real":
        return place.training(), 0.0
    folder = place.out / "sets" / f"{source}-{seed}"
    if source in REAL:
        return f"frames:{_few(place, folder, REAL[source] or 1, seed)}", 0.0
    if source.startswith("other") and place.other is None:
        raise SystemExit("--other: name the IDX files of another data set, such as Fashion-MNIST's")
    note = folder.with_name(f"{folder.name}.json")
    if not note.exists():
        begun = time.monotonic()
        samples = math.ceil(place.largest * 4 / 3) + 8
        snnq.calibrate(place.checkpoint, **_words(place, source), samples=samples, seed=seed, out=folder)
        write_atomic(note, json.dumps({"seconds_1000": (time.monotonic() - begun) * 1000 / samples}) + "\n")
    return f"calib:{folder}", json.loads(note.read_text(encoding="utf-8"))["seconds_1000"]


def _words(place: Place, source: str) -> dict[str, Any]:
    words = dict(MADE[source]) | {"classes": place.names}
    if "{other}" in words["generator"]:
        words["generator"] = f"images:{_pictures(place)}"
    if "shots" in words:
        words["few_shot"] = place.data
    if words.get("filter") == "rates":
        card = place.out / "rates.json"
        if not card.exists():
            snnq.inspect(place.checkpoint, rates=card, data=place.data)
        words["rates"] = card
    return words


def _pictures(place: Place) -> Path:
    """Write pictures of the other data set's training images, without their classes, and return the folder."""
    folder = place.out / "pictures"
    needed = 2 * (math.ceil(place.largest * 4 / 3) + 8)
    if not folder.exists():
        assert place.other is not None
        images = read_idx(find_idx(place.other, "train-images-idx3-ubyte"), 3)[:needed]
        folder.mkdir(parents=True)
        for number, image in enumerate(images):
            Image.fromarray(image).save(folder / f"{number:06d}.png")
    return folder


def _few(place: Place, folder: Path, shots: int, seed: int) -> Path:
    """Write ``shots`` real training samples a class as frame files, beside the real validation and test samples."""
    if folder.exists():
        return folder
    steps, size = place.shape()
    data = open_data(place.data, steps=steps, image_size=size)
    for split in SPLITS:
        own = getattr(data, split)
        for number in few_of(data, shots, seed) if split == "train" else range(min(HELD_OUT, len(own))):
            # Classes by number, so that the folders' order is that of the outputs.
            file = folder / split / f"{own.labels[number]:03d}" / f"{number}.npz"
            file.parent.mkdir(parents=True, exist_ok=True)
            np.savez_compressed(file, frames=own.frames[number])
    return folder


def few_of(data: DataSet, shots: int, seed: int) -> list[int]:
    """Return the numbers of ``shots`` training samples of every class: those that calibrate draws by the same seed."""
    order = np.array(shuffled(len(data.train), seed, "few shots"))
    labels = data.train.labels[order]
    return [int(one) for label in range(len(data.classes)) for one in order[labels == label][:shots]]
