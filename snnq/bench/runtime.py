"""What running a packed folder costs: the integer engine against PyTorch, in one run, on equal frames and threads."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from snnq.assessing.subject import macs_of, open_subject
from snnq.base.errors import DataError, UsageError
from snnq.base.machine import fitting_threads
from snnq.base.progress import Progress, silent
from snnq.base.strict_json import Config
from snnq.bench import memory
from snnq.bench.exported import Run
from snnq.bench.peers import check_peers, default_peers, differences, open_peers
from snnq.bench.reference import ARCHITECTURE, read_architecture, write_reference
from snnq.bench.scaling import firing, growth, row_limit
from snnq.bench.timing import Findings, machine, median_ratio, time_in_turns
from snnq.data import DataSet, open_data
from snnq.network.layers import frames_shape
from snnq.packed.config import MODEL_FILE, read_config
from snnq.runtime import Engine
from snnq.training.threads import keeps_threads

BATCHES = (1, 16)
# Digits before a simulated event camera: they need no download.
DEFAULT_DATA = "digits,limit=16+16+16"
CALIBRATION = 4
PRUNED = 0.9  # of the untrained model's weights, beside the same one with all of them


@keeps_threads
def bench_runtime(
    folder: str | Path | None = None,
    *,
    data: str | None = None,
    architecture: str | None = None,
    peers: Sequence[str] | None = None,
    repeats: int = 9,
    threads: int | None = None,
    progress: Progress = silent,
) -> Findings:
    """Time the integer engine and the peers in turns at batch 1 and 16, and return medians, ratios and memory.

    ``folder``: a packed folder; without one ``architecture`` (``read_architecture``) is packed untrained, the paper's
    model by default (``write_reference``). ``data``: where the frames come from. ``peers``: by default those of PyTorch
    and the others that are installed. ``speedup.<peer>.batch<n>`` is the median of paired ratios of times,
    ``difference`` how far the peer's logits are from torch's (``differences``). ``memory_over_float``: peak memory of
    an inference over float32's, the larger of both batches, without what importing and starting up take;
    ``process_memory_over_float.batch<n>`` with it. ``growth_ms`` is the engine's alone. ``pruned``: the engine's
    speed on the untrained model with most of its weights zero, over that on the model timed. All contestants have
    ``threads``; by default by the size of the larger batch.

    Raises UsageError for a peer or an architecture there is not, MissingLibraryError for a peer that is not installed,
    VerificationError for one that computes another model, DataError where no data is known, and what opening raises.
    """
    peers = _contestants(peers, folder, architecture)
    with tempfile.TemporaryDirectory() as made_here:
        scratch = Path(made_here)
        given = None if folder is None else _given(Path(folder), data, progress)
        place, samples, sizes = given or _made(architecture or ARCHITECTURE, data, scratch, progress)
        threads = threads or fitting_threads(macs_of(open_subject(place), max(BATCHES)))
        torch.set_num_threads(threads)
        frames = np.asarray(samples.test.frames)[np.resize(np.arange(len(samples.test)), max(BATCHES))]
        runs = open_peers(peers, place, torch.from_numpy(frames[:1].astype(np.float32)), threads, scratch)
        found = _measure(place, frames, runs, repeats, threads, progress)
        found["growth_ms"] = growth(place, sizes, frames, threads, max(3, repeats // 2))
        found |= _memory(place, frames, scratch, threads)
        found |= _pruned(place, scratch / "pruned", frames, threads, repeats) if folder is None else {}
        found["architecture"] = read_config(place).architecture
    facts = {"data": samples.spec, "simulated": samples.simulated, "repeats": repeats, "machine": _facts(threads)}
    return found | facts


def _contestants(peers: Sequence[str] | None, folder: str | Path | None, architecture: str | None) -> Sequence[str]:
    """Return the peers to time, before anything is made; raises UsageError and MissingLibraryError."""
    peers = default_peers() if peers is None else peers
    check_peers(peers)
    if folder is not None and architecture is not None:
        raise UsageError("--architecture: a packed folder has its own", "leave one of them out")
    return peers


def _made(name: str, data: str | None, scratch: Path, progress: Progress) -> tuple[Path, DataSet, dict[str, Path]]:
    """Return the untrained folder that is timed, its frames, and folders of a quarter and half of its width."""
    one, config = read_architecture(name)
    samples = _open(data or DEFAULT_DATA, config, progress)
    frames = samples.train.__getitems__(range(min(CALIBRATION, len(samples.train))))[0]
    write_reference(scratch / "packed", frames, one, config)
    write_reference(scratch / "pruned", frames, one, config, PRUNED)
    sizes: dict[str, Path] = {}
    for dim in (config["dim"] // 4, config["dim"] // 2) if "dim" in config else ():
        with suppress(UsageError):  # heads, or groups of channels, that do not divide it
            write_reference(scratch / str(dim), frames, one, config | {"dim": dim})
            sizes[f"dim {dim}"] = scratch / str(dim)
    return scratch / "packed", samples, sizes


def _given(folder: Path, data: str | None, progress: Progress) -> tuple[Path, DataSet, dict[str, Path]]:
    known = read_config(folder)
    spec = data or (known.data.spec if known.data else None)
    if spec is None:
        raise DataError(f"{folder} does not say what it was trained on", "name the data: --data SPEC")
    return folder, _open(spec, known.config, progress), {}


def _open(spec: str, config: Config, progress: Progress) -> DataSet:
    steps, channels, height, width = frames_shape(config)
    samples = open_data(spec, steps=steps, image_size=(height, width), progress=progress)
    if samples.frames_shape[1] != channels:
        raise DataError(
            f"{spec} has {samples.frames_shape[1]} channels, and the model takes {channels}",
            "name other data: --data SPEC; or, of an untrained model, --architecture NAME:in_channels=2",
        )
    return samples


def _measure(
    folder: Path, frames: np.ndarray, runs: Mapping[str, Run], repeats: int, threads: int, progress: Progress
) -> Findings:
    engine = Engine(folder, threads)
    found: Findings = {"speedup": {peer: {} for peer in runs}, "median_ms": {}, "difference": {}}
    found |= {"samples_per_second": {}, "parts_ms": {}}
    for batch in BATCHES:
        part, given = frames[:batch], torch.from_numpy(frames[:batch].astype(np.float32))
        key = f"batch{batch}"
        found["difference"][key] = differences(runs, folder, given)
        contestants: dict[str, Callable[[], object]] = {"integer": lambda part=part: engine(part)}
        contestants |= {peer: lambda run=run, given=given: run(given) for peer, run in runs.items()}
        seconds = time_in_turns(contestants, repeats, 2, progress, f"timing batches of {batch}")
        for peer in runs:
            found["speedup"][peer][key] = median_ratio(seconds[peer], seconds["integer"])
        medians = {name: statistics.median(times) for name, times in seconds.items()}
        found["median_ms"][key] = {name: 1000 * median for name, median in medians.items()}
        found["samples_per_second"][key] = {name: batch / median for name, median in medians.items()}
        found["parts_ms"][key] = _parts(engine, part, repeats)
    rates, rows = firing(engine, frames[:2])
    found["firing_rates"] = rates
    found["weights"] = {"bytes": engine.weight_bytes, "file_bytes": (folder / MODEL_FILE).stat().st_size}
    found["kernel"] = row_limit(engine, rows / 2, found["parts_ms"]["batch16"], max(BATCHES))
    return found


def _pruned(dense: Path, pruned: Path, frames: np.ndarray, threads: int, repeats: int) -> Findings:
    """Return how much sooner the engine ends with most weights zero, by batch, and how often neurons fire there."""
    engines = {"dense": Engine(dense, threads), "pruned": Engine(pruned, threads)}
    found: Findings = {"sparsity": PRUNED, "speedup": {}, "median_ms": {}}
    for batch in BATCHES:
        part = frames[:batch]
        runs: dict[str, Callable[[], object]] = {name: partial(one, part) for name, one in engines.items()}
        seconds = time_in_turns(runs, repeats)
        found["speedup"][f"batch{batch}"] = median_ratio(seconds["dense"], seconds["pruned"])
        found["median_ms"][f"batch{batch}"] = {name: 1000 * statistics.median(one) for name, one in seconds.items()}
    rates = {name: statistics.mean(firing(one, frames[:2])[0].values()) for name, one in engines.items()}
    return {"pruned": found | {"mean_firing_rate": rates}}


def _parts(engine: Engine, frames: np.ndarray, repeats: int) -> dict[str, float]:
    """Return the mean ms of every part of the engine, timed apart from the peers."""
    engine.seconds.clear()
    for _ in range(repeats):
        engine(frames)
    return {name: 1000 * total / repeats for name, total in engine.seconds.items()}


def _memory(folder: Path, frames: np.ndarray, scratch: Path, threads: int) -> Findings:
    """Return MiB by batch and kind, and their ratios; nothing of them where the system does not tell."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for batch in BATCHES if memory.tells() else ():
        file = scratch / "frames.npy"
        np.save(file, frames[:batch], allow_pickle=False)
        found[f"batch{batch}"] = {kind: memory.measure(kind, folder, file, threads) for kind in ("integer", "float32")}
    if not found:
        return {"memory": found}
    over_float = max(_ratios(found, "inference_mib").values())
    return {
        "memory": found,
        "memory_over_float": over_float,
        "process_memory_over_float": _ratios(found, "process_mib"),
    }


def _ratios(memory: dict[str, dict[str, dict[str, float]]], what: str) -> dict[str, float]:
    return {batch: kinds["integer"][what] / kinds["float32"][what] for batch, kinds in memory.items()}


def _facts(threads: int) -> dict[str, object]:
    found = machine()
    names = ("torch", "numba", "openvino", "onnxruntime")
    libraries = {name: version(name) for name in names if find_spec(name)}
    return found | {"threads": threads, "numba": libraries["numba"], "libraries": libraries}
