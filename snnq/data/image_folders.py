"""``images:DIR``: image files in one folder a class, as torchvision reads them, and CIFAR's own binary files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from snnq.base.errors import DataError
from snnq.base.files import open_regular, read_text, regular_size
from snnq.data.dataset import Damaged, Part, Recordings, Request, Samples
from snnq.data.fingerprint import hash_files
from snnq.data.folders import (
    HELD_OUT,
    ClassFolders,
    Sorted,
    by_last_tenth,
    class_names,
    class_orders,
    hold_out,
    locate,
    open_files,
    split_folder,
)
from snnq.data.pixels import DEVIATIONS, FILTERS, MEANS, Fitting, Pixels, channels_of, fit_bytes, read_image
from snnq.data.spec import SPLITS
from snnq.data.splits import VALIDATION_SHARE, limited, stratified

SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")  # torchvision's
_CHUNK_BYTES = 2**24
_SIDE, _IMAGE = 32, 3 * 32 * 32
# Of CIFAR's binary version: the files of train and test, that of the names, and which byte of a record is the label.
_CIFAR = {
    "cifar10": (tuple(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin", "batches.meta.txt", 0),
    "cifar100": (("train.bin",), "test.bin", "fine_label_names.txt", 1),
}


def open_source(request: Request) -> Recordings:
    """Return the images of a folder, each of the model's size, one for all time steps.

    Raises DataError: a folder or file is missing, or is not of the form its name says.
    """
    root = locate(request.spec.path, ("cifar-10-batches-bin", "cifar-100-binary"))
    # Images are kept once, whatever the steps: chunks must not depend on them.
    still = replace(request, steps=1)
    for name, (train, test, _, _) in _CIFAR.items():
        if (root / train[0]).is_file() and (root / test).is_file():
            return _cifar(still, root, name)
    _refuse_pickles(root)
    fit = Fitting.of(request.spec.option("resize"), request.image_size, request.spec.option("filter") or FILTERS[0])
    found = _sorted(root, request.spec.option("classes") or "name")
    opened = open_files(still, found, partial(read_image, fit=fit))
    return replace(
        opened,
        pixels=_pixels(request, "imagenet", fit),
        lacks=tuple(split for split in SPLITS if not len(found.splits[split].labels)),
        orders=class_orders(found.classes),
    )


def _pixels(request: Request, preset: str, fit: Fitting) -> Pixels:
    mean, std = request.spec.option("mean") or preset, request.spec.option("std") or preset
    return Pixels(channels_of(mean, MEANS), channels_of(std, DEVIATIONS), f"RGB, {fit}")


def _refuse_pickles(root: Path) -> None:
    """Raise DataError where a folder holds CIFAR as Python's pickles, which are never opened."""
    if any(
        all((root / name).is_file() for name in pair) for pair in (("data_batch_1", "test_batch"), ("train", "test"))
    ):
        raise DataError(
            f"{root}: this is CIFAR's version for Python, whose files are pickles, and nothing is unpickled here.",
            "Fetch the binary version: cifar-10-binary.tar.gz or cifar-100-binary.tar.gz.",
        )


def _sorted(root: Path, order: str) -> Sorted:
    """Return the image files by split.

    ``train`` and ``test`` are those folders, or ``test`` is ``val``, as ImageNet has it; validation is held out of
    train, or is ``val`` where there is ``test``, too. A folder with ``val`` or ``test`` alone is for evaluation: all of
    it is test. Class folders alone are split as ``frames:`` splits them.
    """
    train = split_folder(root, ("train",))
    validation, test = split_folder(root, ("validation", "val", "valid")), split_folder(root, ("test",))
    held, shown = (validation, test) if test is not None and validation is not None else (None, test or validation)
    if shown is None and train is None:
        classes = class_names(root, order)
        return by_last_tenth(root, classes, list_images(root, classes))
    if shown is None:
        raise DataError(f"{root}: no folder 'val' or 'test' in it beside 'train'.")
    classes = class_names(train or shown, order)
    trained = list_images(train, classes) if train is not None else None
    tested = list_images(shown, classes)
    if trained is None:
        nothing = ClassFolders((), np.zeros(0, np.int64))
        splits = {"train": nothing, "validation": nothing, "test": tested}
        if held is not None:
            splits["validation"] = list_images(held, classes)
        return Sorted(root, classes, splits, f"test is the folder {shown.name}, and there is no train")
    if held is None:
        return hold_out(root, classes, trained, tested, f"train is as in its folder, test is the folder {shown.name}")
    splits = {"train": trained, "validation": list_images(held, classes), "test": tested}
    return Sorted(root, classes, splits, "train, validation and test as in the folders")


def list_images(folder: Path, classes: Sequence[str]) -> ClassFolders:
    """Return every image below <class>/ of a split, in the order of torchvision's ``ImageFolder``.

    Raises DataError: a class folder that is not one of ``classes``, and a class without images.
    """
    strange = [name for name in class_names(folder) if name not in classes]
    if strange:
        raise DataError(f"{folder / strange[0]}: class '{strange[0]}' is not among the {len(classes)} of train.")
    found = [_images(folder / name) for name in classes]
    empty = [name for name, files in zip(classes, found, strict=True) if not files]
    if empty or not found:
        where = folder / empty[0] if empty else folder
        raise DataError(f"{where}: no image in it ({', '.join(SUFFIXES)}).")
    labels = np.repeat(np.arange(len(classes), dtype=np.int64), [len(files) for files in found])
    return ClassFolders(tuple(file for files in found for file in files), labels)


def _images(folder: Path) -> list[Path]:
    walked = sorted((place, names) for place, _, names in os.walk(folder, followlinks=True))
    return [
        Path(place, name)
        for place, names in walked
        for name in sorted(names)
        if name.lower().endswith(SUFFIXES) and name[0] != "."
    ]


def _cifar(request: Request, root: Path, name: str) -> Recordings:
    """Return CIFAR-10 or CIFAR-100, train and test as published, validation held out of train."""
    train, test, meta, at = _CIFAR[name]
    classes = _names(root / meta, 10 if name == "cifar10" else 100)
    records = {"train": [root / file for file in train], "test": [root / test]}
    labels = {split: _labels(files, at, len(classes)) for split, files in records.items()}
    held, kept = stratified(labels["train"], (VALIDATION_SHARE,))
    places = {"train": kept, "validation": held, "test": np.arange(len(labels["test"]))}
    same = request.image_size == (_SIDE, _SIDE)
    fit = Fitting.of(
        request.spec.option("resize") or ("none" if same else "x".join(map(str, request.image_size))),
        request.image_size,
        request.spec.option("filter") or FILTERS[0],
    )
    files = [file for own in records.values() for file in own]

    def samples(split: str) -> Samples:
        of = "test" if split == "test" else "train"
        chosen = limited(places[split], labels[of], request.spec.limit(split))
        height, width = request.image_size
        chunk = max(1, min(512, _CHUNK_BYTES // (3 * height * width)))

        def part(start: int, stop: int) -> Part:
            return partial(_read_cifar, records[of], at + 1, chosen[start:stop], fit)

        return Samples(labels[of][chosen], chunk, part)

    return Recordings(
        classes=classes,
        fingerprint={"content": hash_files(root, files, request.cache, request.progress).total},
        split=f"train and test as published; {HELD_OUT}",
        read=lambda: {split: samples(split) for split in SPLITS},
        pixels=_pixels(request, name, fit),
    )


def _names(file: Path, count: int) -> tuple[str, ...]:
    if not file.is_file():
        raise DataError(f"{file}: not found; it has the names of the classes.")
    names = tuple(line.strip() for line in read_text(file).splitlines() if line.strip())
    if len(names) != count:
        raise DataError(f"{file}: {len(names)} names of classes found, expected {count}.")
    return names


def _labels(files: Sequence[Path], at: int, classes: int) -> np.ndarray:
    """Return the labels of CIFAR's records: byte ``at`` of each, before its 3072 pixels; int64."""
    record, found = at + 1 + _IMAGE, []
    for file in files:
        size = regular_size(file)
        if not size or size % record:
            raise DataError(f"{file}: {size} bytes, expected records of {record}.", "Fetch the file again.")
        labels = np.memmap(file, np.uint8, "r").reshape(-1, record)[:, at].astype(np.int64)
        if labels.max() >= classes:
            raise DataError(f"{file}: label {labels.max()} found, allowed: 0 to {classes - 1}.")
        found.append(labels)
    return np.concatenate(found)


def _read_cifar(files: Sequence[Path], header: int, places: np.ndarray, fit: Fitting) -> Iterator[np.ndarray | Damaged]:
    """Yield images (1, 3, height, width) by their place in files of records of equal length, one behind the other."""
    record = header + _IMAGE
    starts = np.cumsum([0, *(regular_size(file) // record for file in files)])
    for place in places:
        number = int(np.searchsorted(starts, place, side="right")) - 1
        with open_regular(files[number]) as stream:
            stream.seek(int(place - starts[number]) * record + header)
            pixels = np.frombuffer(stream.read(_IMAGE), np.uint8).reshape(1, 3, _SIDE, _SIDE)
        yield fit_bytes(pixels, fit)
