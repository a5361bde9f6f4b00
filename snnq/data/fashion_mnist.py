"""``fashion-mnist:DIR``: the four IDX files of Fashion-MNIST (or MNIST), made into events."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from snnq.base.errors import DataError
from snnq.base.files import open_regular
from snnq.data.dataset import Recordings, Request
from snnq.data.images import Saccades, official_recordings

# 28 of 34 pixels, as N-MNIST shows MNIST: the path's ±3.5 pixels stay within the field but for half a pixel.
_FILL = 28 / 34
_SACCADES = Saccades()
_LARGEST = 2**30  # bytes unpacked: EMNIST's largest set, 697 932 images, has half of it
_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


def open_source(request: Request) -> Recordings:
    """Return the images' recordings: the official test split, and 15 % of the training split as validation.

    Raises DataError: a file is missing or is not a sound IDX file.
    """
    root = Path(request.spec.path).expanduser()
    files = {split: ([find_idx(root, images)], find_idx(root, labels)) for split, (images, labels) in _FILES.items()}
    classes = tuple(str(label) for label in range(10))
    return official_recordings(request, files, classes, _SACCADES, _FILL, _read)


def _read(image_files: Sequence[Path], label_file: Path) -> tuple[np.ndarray, np.ndarray]:
    images, labels = read_idx(image_files[0], 3), read_idx(label_file, 1)
    if len(images) != len(labels):
        raise DataError(f"{label_file}: {len(labels)} labels for {len(images)} images in {image_files[0]}.")
    if labels.max(initial=0) > 9:
        raise DataError(f"{label_file}: label {labels.max()} found, allowed: 0 to 9.")
    return images, labels


def find_idx(root: Path, name: str) -> Path:
    """Return the file ``name`` or ``name``.gz in ``root``.

    Raises DataError: neither is there.
    """
    for file in (root / name, root / f"{name}.gz"):
        if file.is_file():
            return file
    raise DataError(
        f"{root}: no {name} or {name}.gz in it.",
        "Give the folder with the four IDX files of Fashion-MNIST.",
    )


def read_idx(file: Path, dimensions: int) -> np.ndarray:
    """Read an IDX file of unsigned bytes, plain or gzipped: uint8 with ``dimensions`` axes.

    The format: two zero bytes, the type (8: unsigned byte), the number of axes, each axis' length as big-endian
    32 bits, then the bytes (LeCun, Cortes, Burges: the MNIST database).

    Raises DataError: the file cannot be read, has another type or number of axes, is too short or too long, or says
    that it holds more than 1 GiB. What it says is looked at before anything is unpacked.
    """
    head = 4 + 4 * dimensions
    try:
        with open_regular(file) as plain, gzip.open(plain) if file.suffix == ".gz" else plain as stream:
            start = stream.read(head)
            if start[:4] != bytes([0, 0, 8, dimensions]) or len(start) < head:
                raise DataError(
                    f"{file}: starts with {start[:4].hex(' ')}, not an IDX file of bytes with {dimensions} axes."
                )
            shape = tuple(int(size) for size in np.frombuffer(start, ">u4", dimensions, offset=4))
            expected = math.prod(shape)
            if expected > _LARGEST:
                raise DataError(f"{file}: says it holds {shape}: {expected:,} bytes, allowed: {_LARGEST:,}.")
            data = stream.read(expected + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{file}: cannot be read ({error}).", "Fetch the file again.") from error
    if len(data) != expected:
        found = "more" if len(data) > expected else f"{len(data)}"
        raise DataError(f"{file}: {found} bytes of data, expected {expected} for {shape}.")
    return np.frombuffer(data, np.uint8).reshape(shape)
