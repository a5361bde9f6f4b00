"""How fast data are opened and prepared, against tonic alone reading the same files."""

from __future__ import annotations

import shutil
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from snnq.base.errors import UsageError
from snnq.base.progress import Progress, silent
from snnq.bench.timing import Findings, machine, median_ratio, time_in_turns
from snnq.data import parse_spec, prepare

MADE = ("n-mnist", "dvs128-gesture")
_PEOPLE, _GESTURES = 3, 11


def bench_data(spec: str | None = None, *, workers: int = 1, repeats: int = 9, progress: Progress = silent) -> Findings:
    """Return times and ratios of opening data, of the set named by ``spec`` or of made files of N-MNIST's and DVS128
    Gesture's form (random events, as many as real recordings have).

    For each set: ``tonic``, tonic's own data set class reading every file; ``prepare``, opening the set into an empty
    cache (hashes, events, frames, writing); ``open``, opening it when it is prepared. ``speed_of_tonic`` is the median
    of the paired ratios, tonic's time to ours: 1 means as fast. Imports are not counted.

    Raises UsageError for a set that tonic does not read, DataError for one that cannot be opened.
    """
    found: Findings = {"workers": workers, "repeats": repeats, "machine": machine(), "sets": {}}
    with tempfile.TemporaryDirectory() as folder:
        specs = [spec] if spec else [f"{name}:{_make(name, Path(folder) / name)}" for name in MADE]
        for one in specs:
            found["sets"][one if spec else f"{parse_spec(one).name}, made"] = _time(
                one, Path(folder) / "cache", workers, repeats, progress
            )
    return found


def _time(spec: str, cache: Path, workers: int, repeats: int, progress: Progress) -> Findings:
    read, files = _tonic(spec)

    def read_all() -> None:
        for index in range(len(files)):
            read(index)

    def empty_cache() -> None:
        shutil.rmtree(cache, ignore_errors=True)

    contestants: dict[str, Callable[[], object]] = {
        "tonic": read_all,
        "prepare": lambda: prepare(spec, cache_dir=cache, workers=workers),
        "open": lambda: prepare(spec, cache_dir=cache),
    }
    seconds = time_in_turns(contestants, repeats, 1, progress, f"timing {parse_spec(spec).name}", empty_cache)
    return {
        "recordings": len(files),
        "bytes": sum(Path(file).stat().st_size for file in files),
        "median_s": {name: statistics.median(values) for name, values in seconds.items()},
        "recordings_per_s": {name: len(files) / statistics.median(values) for name, values in seconds.items()},
        "speed_of_tonic": {name: median_ratio(seconds["tonic"], seconds[name]) for name in ("prepare", "open")},
    }


def _tonic(spec: str) -> tuple[Callable[[int], object], list[str]]:
    """Return tonic's own reading of a file, by index, and the files of the set."""
    from tonic import datasets

    asked = parse_spec(spec)
    kinds = {"n-mnist": ("NMNIST", "*/*/*.bin"), "dvs128-gesture": ("DVSGesture", "*/*/*.npy"),
             "cifar10-dvs": ("CIFAR10DVS", "*/*.aedat4"), "n-caltech101": ("NCALTECH101", "*/*.bin")}  # fmt: skip
    if asked.name not in kinds:
        raise UsageError(f"bench data {spec}: tonic does not read '{asked.name}'; it reads {', '.join(kinds)}")
    if "limit" in asked.options:
        raise UsageError(f"bench data {spec}: leave 'limit' out, so that both read the same files")
    name, pattern = kinds[asked.name]
    root = Path(asked.path).expanduser()
    files = [str(file) for file in sorted([*root.glob(pattern), *root.glob(f"{name}/{pattern}")])]
    if not files:
        raise UsageError(f"bench data {spec}: no {pattern} in {root} that tonic would read")
    # Its constructor would fetch the whole set where a file of it is absent.
    reader = object.__new__(getattr(datasets, name))
    reader.data, reader.targets = files, [0] * len(files)
    reader.transform = reader.target_transform = reader.transforms = None
    reader.first_saccade_only = reader.stabilize = False
    return reader.__getitem__, files


def _make(name: str, root: Path) -> Path:
    rng = np.random.default_rng(0)
    if name == "n-mnist":
        for number in range(1000):
            file = root / ("Test" if number % 10 == 9 else "Train") / str(number // 10 % 10) / f"{number:05d}.bin"
            file.parent.mkdir(parents=True, exist_ok=True)
            _n_mnist_events(rng, 4100).tofile(file)
        return root
    for split in ("Train", "Test"):
        for person in range(_PEOPLE):
            folder = root / f"ibmGesture{split}" / f"user{person:02d}_led"
            folder.mkdir(parents=True)
            for gesture in range(_GESTURES):
                np.save(folder / f"{gesture}.npy", _gesture_events(rng, 213_000))
    return root


def _n_mnist_events(rng: np.random.Generator, count: int) -> np.ndarray:
    t = np.sort(rng.integers(0, 300_000, count)) | rng.integers(0, 2, count) << 23
    x, y = rng.integers(0, 34, (2, count))
    return np.stack([x, y, t >> 16, t >> 8 & 255, t & 255], axis=1).astype(np.uint8)


def _gesture_events(rng: np.random.Generator, count: int) -> np.ndarray:
    x, y = rng.integers(0, 128, (2, count))
    return np.stack([x, y, rng.integers(0, 2, count), np.sort(rng.integers(0, 5000, count))], axis=1).astype(float)
