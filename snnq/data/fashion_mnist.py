"""``fashion-mnist:DIR``: the four IDX files of Fashion-MNIST (or MNIST), made into events."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from snnq.data.contract import Recordings, Request, Samples
from snnq.data.fingerprint import hash_files
from snnq.data.images import image_samples, simulation_facts
from snnq.data.saccade import Saccades
from snnq.data.splits import VALIDATION_SHARE, stratified
from snnq.errors import DataError

# 28 of 34 pixels, as N-MNIST shows MNIST: the path's ±3.5 pixels stay within the field but for half a pixel.
_FILL = 28 / 34
_SACCADES = Saccades()
_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


def open_source(request: Request) -> Recordings:
    """Return the images' recordings: the official test split, and 15 % of the training split as validation.

    Raises:
        DataError: a file is missing or is not a sound IDX file.
    """
    root = Path(request.spec.path).expanduser()
    files = [find_idx(root, name) for names in _FILES.values() for name in names]
    facts = simulation_facts(_SACCADES, _FILL, request)
    return Recordings(
        classes=tuple(str(label) for label in range(10)),
        fingerprint={"content": hash_files(root, files, request.cache, request.progress), **facts},
        split="official train and test; validation is 15 % of train, by class",
        read=lambda: _read(root, request),
    )


def _read(root: Path, request: Request) -> dict[str, Samples]:
    images, labels = {}, {}
    for split, (image_name, label_name) in _FILES.items():
        image_file, label_file = find_idx(root, image_name), find_idx(root, label_name)
        images[split], labels[split] = read_idx(image_file, 3), read_idx(label_file, 1)
        if len(images[split]) != len(labels[split]):
            raise DataError(
                f"{label_file}: {len(labels[split])} labels for {len(images[split])} images in {image_file}."
            )
        if labels[split].max(initial=0) > 9:
            raise DataError(f"{label_file}: label {labels[split].max()} found, allowed: 0 to 9.")
    validation, train = stratified(labels["train"], (VALIDATION_SHARE,))
    return image_samples(
        images={"train": images["train"], "validation": images["train"], "test": images["test"]},
        labels={"train": labels["train"], "validation": labels["train"], "test": labels["test"]},
        chosen={"train": train, "validation": validation, "test": np.arange(len(labels["test"]))},
        saccades=_SACCADES,
        fill=_FILL,
        white=255,
        request=request,
    )


def find_idx(root: Path, name: str) -> Path:
    """Return the file ``name`` or ``name``.gz in ``root``.

    Raises:
        DataError: neither is there.
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

    Raises:
        DataError: the file cannot be read, has another type or number of axes, or is too short or too long.
    """
    try:
        raw = file.read_bytes()
        data = gzip.decompress(raw) if file.suffix == ".gz" else raw
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{file}: cannot be read ({error}).", "Fetch the file again.") from error
    head = 4 + 4 * dimensions
    if data[:4] != bytes([0, 0, 8, dimensions]) or len(data) < head:
        raise DataError(f"{file}: starts with {data[:4].hex(' ')}, not an IDX file of bytes with {dimensions} axes.")
    shape = tuple(int(size) for size in np.frombuffer(data, ">u4", dimensions, offset=4))
    if len(data) - head != math.prod(shape):
        raise DataError(f"{file}: {len(data) - head} bytes of data, expected {math.prod(shape)} for {shape}.")
    return np.frombuffer(data, np.uint8, offset=head).reshape(shape)
