"""Opening a data set by its spec: from the cache, prepared into it, or fetched with tonic first."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from shlex import quote

import numpy as np

from snnq.base.errors import DataError
from snnq.base.progress import Progress, silent
from snnq.data import cache, preparing
from snnq.data.dataset import DataSet, Frames, Recordings, Request
from snnq.data.spec import SPLITS, DataSpec, parse_spec

_TWO_DOWNLOADS = ("DVSGesture", "NMNIST")  # train and test each
# Of one sample: an hour of a megapixel sensor, a frame every 30 s, has less.
_MOST_COUNTS = 2**28


@dataclass(frozen=True)
class Prepared:
    """A data set in the cache: where it lies, whether it was there already, and how long opening it took in all."""

    data: DataSet
    stored: cache.CachedData
    cached: bool
    seconds: float

    @property
    def recordings_per_second(self) -> float:
        """Samples, those that were skipped too, by the seconds."""
        data = self.data
        return (sum(len(getattr(data, split)) for split in SPLITS) + len(data.skipped)) / self.seconds

    def facts(self) -> dict[str, object]:
        """Return everything worth knowing about it, JSON-ready."""
        data = self.data
        return {
            "spec": data.spec,
            "sha256": data.sha256,
            "simulated": data.simulated,
            "classes": list(data.classes),
            "class_index": {name: index for index, name in enumerate(data.classes)},
            "frames_shape": list(data.frames_shape),
            "samples": {split: len(getattr(data, split)) for split in SPLITS},
            "path": self.stored.path,
            "bytes": self.stored.bytes,
            "cached": self.cached,
            "split": data.split,
            "skipped": list(data.skipped),
            "images": str(data.pixels) if data.pixels else None,
            "seconds": self.seconds,
            "recordings_per_second": self.recordings_per_second,
        }


def open_data(
    spec: str,
    *,
    steps: int,
    image_size: tuple[int, int],
    seed: int = 0,
    cache_dir: str | Path | None = None,
    progress: Progress = silent,
) -> DataSet:
    """Open a data set with frames (T, C, H, W) = (``steps``, C, *``image_size``), preparing it the first time.

    ``seed`` is the simulated sensor's (its pixels' thresholds) and that of ``random``, not a run's: the splits do not
    depend on it. ``cache_dir`` replaces $SNNQ_CACHE.

    Raises DataError: the spec, a file or the shape cannot be used; says which, what was found and what is allowed.
    """
    return _open(spec, steps, image_size, seed, cache_dir, progress).data


def prepare(
    spec: str,
    *,
    steps: int | None = None,
    image_size: tuple[int, int] | None = None,
    seed: int = 0,
    cache_dir: str | Path | None = None,
    workers: int = 1,
    skip_corrupt: bool = False,
    progress: Progress = silent,
) -> Prepared:
    """Like ``open_data``, but say where it lies; what is not given comes from the spec, then from the source's default.

    ``workers`` processes prepare; a run that was cut off goes on where it was. ``skip_corrupt`` leaves out recordings
    that are damaged; which, stands in ``data.skipped``.

    Raises DataError: as ``open_data``; or the shape is not given and the source has no default.
    """
    parsed = parse_spec(spec)
    steps = steps or parsed.integer("steps")
    image_size = image_size or parsed.image_size
    if steps is None or image_size is None:
        raise DataError(
            f"data spec '{spec}': '{parsed.name}' has no default shape.",
            "Give --steps and --image-size, as the model will want them.",
        )
    return _open(spec, steps, image_size, seed, cache_dir, progress, workers, skip_corrupt)


def _open(
    text: str,
    steps: int,
    image_size: tuple[int, int],
    seed: int,
    cache_dir: str | Path | None,
    progress: Progress,
    workers: int = 1,
    skip_corrupt: bool = False,
) -> Prepared:
    begun = time.perf_counter()
    spec = parse_spec(text)
    height, width = image_size
    _check_shape(spec, steps, (height, width))
    request = Request(spec, steps, (height, width), seed, cache.cache_root(cache_dir), progress)
    recordings = _open_source(request)
    sha256 = cache.content_hash(_facts(request, recordings))
    folder = request.cache / "data" / f"{spec.name}-{sha256[:24]}"
    entries = cache.load(folder)
    cached = entries is not None
    if entries is None:
        stage = f"preparing {spec.name}"
        try:
            entries = preparing.store(folder, recordings, stage, progress, workers, skip_corrupt)
        except preparing.DamagedRecordings as error:
            raise DataError(error.message, _skip_hint(request)) from None
    splits = {split: _split(entry, steps, recordings) for split, entry in entries.items()}
    data = DataSet(
        str(spec),
        sha256,
        recordings.classes,
        spec.source.simulated,
        **splits,
        split=recordings.split,
        skipped=tuple(text for entry in entries.values() for text in entry.skipped),
        other_orders=_other_orders(spec, recordings),
        labels="given" if recordings.labelled else "none",
    )
    return Prepared(data, cache.stored(folder), cached, time.perf_counter() - begun)


def _split(entry: cache.Entry, steps: int, recordings: Recordings) -> Frames:
    """Return a split; the one frame of an image stands for every step, and takes memory once."""
    if recordings.pixels is None or not recordings.pixels.still:
        return Frames(entry.frames, entry.labels, recordings.pixels, entry.videos)
    count, _, *shape = entry.frames.shape
    return Frames(np.broadcast_to(entry.frames, (count, steps, *shape)), entry.labels, recordings.pixels)


def _other_orders(spec: DataSpec, recordings: Recordings) -> dict[str, tuple[str, ...]]:
    """Return the orders of the classes that the spec does not give, by the spec that does."""
    key = spec.source.order
    return {
        str(replace(spec, options={**spec.options, key: word})): classes
        for word, classes in recordings.orders.items()
        if key is not None and classes != recordings.classes
    }


def _skip_hint(request: Request) -> str:
    height, width = request.image_size
    shape = f"--steps {request.steps} --image-size {height}x{width}"
    return f"Fetch them again, or leave them out: snnq data prepare {quote(str(request.spec))} {shape} --skip-corrupt"


def _open_source(request: Request) -> Recordings:
    try:
        source = request.spec.source
        return getattr(import_module(source.module), source.opener)(request)
    except OSError as error:
        raise DataError(f"{error.filename}: cannot be read ({error.strerror}).") from error


def _facts(request: Request, recordings: Recordings) -> dict[str, object]:
    """Everything the frames depend on; paths are left out, the content's hash stands for them.

    The classes themselves stand for the option that orders them. Images are the same whatever the steps.
    """
    source, pixels = request.spec.source, recordings.pixels
    still = pixels is not None and pixels.still
    options = {key: request.spec.option(key) for key in source.options if key != source.order}
    return {
        "source": request.spec.name,
        "options": options | {"steps": 1 if still else request.steps, "image_size": list(request.image_size)},
        "classes": list(recordings.classes),
        **({"pixels": str(pixels)} if pixels is not None else {}),
        **recordings.fingerprint,
    }


def _check_shape(spec: DataSpec, steps: int, image_size: tuple[int, int]) -> None:
    if steps < 1 or min(image_size) < 1:
        raise DataError(f"data '{spec}': steps {steps} and image size {image_size} must be at least 1.")
    height, width = image_size
    if (counts := steps * 2 * height * width) > _MOST_COUNTS:
        raise DataError(
            f"data '{spec}': a sample of {steps} steps of {height}x{width} pixels has {counts:,} counts, "
            f"allowed: {_MOST_COUNTS:,}."
        )
    asked = spec.options.get("steps")
    if asked is not None and int(asked) != steps:
        raise DataError(
            f"data spec '{spec}': steps is {asked}, but the model takes {steps} time steps.",
            "Leave 'steps' out of the data spec.",
        )
    if "image_size" in spec.options and spec.image_size != image_size:
        asked_size, wanted = spec.options["image_size"], f"{image_size[0]}x{image_size[1]}"
        raise DataError(
            f"data spec '{spec}': image_size is {asked_size}, but the model takes {wanted}.",
            "Leave 'image_size' out of the data spec.",
        )
    sensor = spec.source.sensor
    if sensor is not None and sensor != image_size:
        found, real = (f"{height}x{width}" for height, width in (image_size, sensor))
        raise DataError(
            f"data '{spec}': its recordings are {real}, but the image size asked for is {found}.",
            f"Use a model for {real}, or '--image-size {real}'.",
        )


def download(text: str) -> None:
    """Fetch what is missing of a spec's data set into its folder, where tonic lays it out and the source finds it.

    Raises DataError: tonic has no such set, or fetching fails.
    """
    spec = parse_spec(text)
    name = spec.source.tonic
    if name is None:
        raise DataError(f"data spec '{text}': tonic cannot fetch '{spec.name}'.", "Fetch it by hand into the folder.")
    from tonic import datasets

    try:
        for train in ({"train": True}, {"train": False}) if name in _TWO_DOWNLOADS else ({},):
            getattr(datasets, name)(save_to=spec.path, **train)
    except (OSError, RuntimeError, ValueError) as error:
        raise DataError(f"{spec.path}: {spec.name} cannot be fetched ({error}).", "Fetch it by hand.") from error
