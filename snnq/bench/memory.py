"""Peak memory of one inference, in a process of its own: ``python -m snnq.bench.memory KIND FOLDER FRAMES THREADS``.

What importing takes, and starting a compiler or a library's threads, is not the model's: it is measured apart.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np


def tells() -> bool:
    """Return whether the system tells a process its peak memory."""
    return Path("/proc/self/clear_refs").exists()


def measure(kind: str, folder: Path, frames: Path, threads: int) -> dict[str, float]:
    """Return ``inference_mib``, what loading and running a batch adds at its peak, and ``process_mib``, all of it.

    ``kind`` is ``integer`` or a peer's name, ``frames`` a .npy file of counts.
    """
    command = [sys.executable, "-m", "snnq.bench.memory", kind, str(folder), str(frames), str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def _resident(field: str) -> float:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith(f"{field}:"))


def _run_integer(folder: Path, frames: np.ndarray, threads: int) -> float:
    from snnq.runtime import Engine
    from snnq.runtime.tables import clear

    clear(np.zeros(0, np.int8), 0)  # starts the compiler
    start = _resident("VmRSS")
    Engine(folder, threads)(frames)
    return start


def _run_torch(kind: str, folder: Path, frames: np.ndarray, threads: int) -> float:
    import torch

    import snnq.models.spikformer.module  # noqa: F401
    from snnq.bench.peers import open_peer

    torch.set_num_threads(threads)
    torch.nn.Conv2d(4, 4, 3)(torch.zeros(1, 4, 8, 8))  # starts its threads
    start = _resident("VmRSS")
    given = torch.from_numpy(frames.astype(np.float32))
    open_peer(kind, folder, given)(given)
    return start


def main(kind: str, folder: str, frames: str, threads: str) -> None:
    """Run one batch and write what it took."""
    counts = np.load(frames, allow_pickle=False)
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # the peak begins anew
    if kind == "integer":
        start = _run_integer(Path(folder), counts, int(threads))
    else:
        start = _run_torch(kind, Path(folder), counts, int(threads))
    peak = _resident("VmHWM")
    sys.stdout.write(json.dumps({"inference_mib": peak - start, "process_mib": peak}))


if __name__ == "__main__":
    main(*sys.argv[1:])
