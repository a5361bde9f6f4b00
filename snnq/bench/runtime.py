"""What running a packed folder costs: the integer engine against PyTorch, in one run, on equal frames and threads."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from snnq.assessing.subject import macs_of, open_subject
from snnq.base.errors import DataError
from snnq.base.machine import fitting_threads
from snnq.base.progress import Progress, silent
from snnq.bench import memory
from snnq.bench.peers import ARCHITECTURE, check_peers, open_peer, write_reference
from snnq.bench.scaling import firing, growth, row_limit
from snnq.bench.timing import Findings, machine, median_ratio, time_in_turns
from snnq.data import DataSet, open_data
from snnq.models.registry import architecture
from snnq.network.layers import frames_shape
from snnq.packed.config import MODEL_FILE, read_config
from snnq.runtime import Engine
from snnq.training.threads import keeps_threads

DEFAULT_PEERS = ("float32", "bfloat16", "int8")
BATCHES = (1, 16)
# Digits before a simulated event camera: they need no download.
DEFAULT_DATA = "digits,limit=16+16+16"
CALIBRATION = 4


@keeps_threads
def bench_runtime(
    folder: str | Path | None = None,
    *,
    data: str | None = None,
    peers: Sequence[str] = DEFAULT_PEERS,
    repeats: int = 9,
    threads: int | None = None,
    progress: Progress = silent,
    **sizes: Any,
) -> Findings:
    """Time the integer engine and the peers in turns at batch 1 and 16, and return medians, ratios and memory.

    ``folder``: a packed folder; without one the paper's model with random weights is made (``write_reference``;
    ``sizes`` differ from the published). ``data``: where the frames come from. ``speedup.<peer>.batch<n>`` is the
    median of paired ratios of times. ``memory_over_float``: peak memory of an inference over float32's, the larger of
    both batches, without what importing and starting up take; ``process_memory_over_float.batch<n>`` with it. All
    contestants have ``threads``; by default by the size of the larger batch.

    Raises UsageError for a peer there is not, DataError where no data is known, and what opening raises.
    """
    check_peers(peers)
    with tempfile.TemporaryDirectory() as scratch:
        place, samples = _subject(folder, data, sizes, Path(scratch), progress)
        threads = threads or fitting_threads(macs_of(open_subject(place), max(BATCHES)))
        torch.set_num_threads(threads)
        chosen = np.resize(np.arange(len(samples.test)), max(BATCHES))
        frames = np.asarray(samples.test.frames)[chosen]
        found = _measure(place, frames, peers, repeats, threads, progress)
        found["memory"] = _memory(place, frames, Path(scratch), threads)
    if found["memory"]:
        found["memory_over_float"] = max(_ratios(found["memory"], "inference_mib").values())
        found["process_memory_over_float"] = _ratios(found["memory"], "process_mib")
    return found | {
        "data": samples.spec,
        "simulated": samples.simulated,
        "repeats": repeats,
        "machine": _facts(threads),
    }


def _subject(
    folder: str | Path | None, data: str | None, sizes: dict[str, Any], scratch: Path, progress: Progress
) -> tuple[Path, DataSet]:
    """Return the packed folder that is timed, made below ``scratch`` where none is given, and its frames."""
    if folder is None:
        samples = _open(data or DEFAULT_DATA, architecture(ARCHITECTURE).default_config() | sizes, progress)
        given = samples.train.__getitems__(range(min(CALIBRATION, len(samples.train))))[0]
        write_reference(scratch / "packed", given, **sizes)
        return scratch / "packed", samples
    known = read_config(Path(folder))
    spec = data or (known.data.spec if known.data else None)
    if spec is None:
        raise DataError(f"{folder} does not say what it was trained on", "name the data: --data SPEC")
    return Path(folder), _open(spec, known.config, progress)


def _open(spec: str, config: dict[str, Any], progress: Progress) -> DataSet:
    steps, _, height, width = frames_shape(config)
    return open_data(spec, steps=steps, image_size=(height, width), progress=progress)


def _measure(
    folder: Path, frames: np.ndarray, peers: Sequence[str], repeats: int, threads: int, progress: Progress
) -> Findings:
    engine = Engine(folder, threads)
    runs = {peer: open_peer(peer, folder, torch.from_numpy(frames[:1].astype(np.float32))) for peer in peers}
    found: Findings = {"speedup": {peer: {} for peer in peers}, "median_ms": {}}
    found |= {"samples_per_second": {}, "parts_ms": {}}
    for batch in BATCHES:
        part, given = frames[:batch], torch.from_numpy(frames[:batch].astype(np.float32))
        contestants: dict[str, Callable[[], object]] = {"integer": lambda part=part: engine(part)}
        contestants |= {peer: lambda run=run, given=given: run(given) for peer, run in runs.items()}
        seconds = time_in_turns(contestants, repeats, 2, progress, f"timing batches of {batch}")
        key = f"batch{batch}"
        for peer in peers:
            found["speedup"][peer][key] = median_ratio(seconds[peer], seconds["integer"])
        medians = {name: statistics.median(times) for name, times in seconds.items()}
        found["median_ms"][key] = {name: 1000 * median for name, median in medians.items()}
        found["samples_per_second"][key] = {name: batch / median for name, median in medians.items()}
        found["parts_ms"][key] = _parts(engine, part, repeats)
    rates, rows = firing(engine, frames[:2])
    found["firing_rates"] = rates
    found["weights"] = {"bytes": engine.weight_bytes, "file_bytes": (folder / MODEL_FILE).stat().st_size}
    found["kernel"] = row_limit(engine, rows / 2, found["parts_ms"]["batch16"], max(BATCHES))
    found["growth_ms"] = growth(engine, frames, max(3, repeats // 2))
    return found


def _parts(engine: Engine, frames: np.ndarray, repeats: int) -> dict[str, float]:
    """Return the mean ms of every part of the engine, timed apart from the peers."""
    engine.seconds.clear()
    for _ in range(repeats):
        engine(frames)
    return {name: 1000 * total / repeats for name, total in engine.seconds.items()}


def _memory(folder: Path, frames: np.ndarray, scratch: Path, threads: int) -> dict[str, dict[str, dict[str, float]]]:
    """Return MiB by batch and kind; nothing where the system does not tell."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for batch in BATCHES if memory.tells() else ():
        file = scratch / "frames.npy"
        np.save(file, frames[:batch], allow_pickle=False)
        found[f"batch{batch}"] = {kind: memory.measure(kind, folder, file, threads) for kind in ("integer", "float32")}
    return found


def _ratios(memory: dict[str, dict[str, dict[str, float]]], what: str) -> dict[str, float]:
    return {batch: kinds["integer"][what] / kinds["float32"][what] for batch, kinds in memory.items()}


def _facts(threads: int) -> dict[str, object]:
    import numba

    return machine() | {"threads": threads, "numba": numba.__version__}
