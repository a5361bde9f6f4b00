"""What a path holds, told cheaply: so that a command given the wrong kind can say which one takes it."""

from __future__ import annotations

import shlex
from pathlib import Path

from snnq.base.files import open_regular

# Enough of a plan to see its first keys.
_HEAD = 4096
CHECKPOINTS = (".pth", ".pt", ".ckpt", ".safetensors", ".bin", ".tar")
_RECORDINGS = (".aedat", ".aedat4", ".dat", ".raw", ".hdf5", ".h5", ".npz", ".npy")


def takers(path: Path) -> str:
    """Return what a path is and the commands that take it, as a hint; an empty string where nothing is known of it."""
    quoted = shlex.quote(str(path))
    if path.is_dir():
        return _folder(path, quoted)
    suffix = path.suffix.lower()
    if suffix == ".json" and _is_plan(path):
        return f"{path} is a plan: snnq plan show {quoted}, or snnq finalize --plan {quoted}"
    if path.is_file() and suffix == ".toml":
        return f"{path} is a cost table: snnq cost show {quoted}"
    if path.is_file() and suffix in CHECKPOINTS:
        return f"{path} is a checkpoint: snnq inspect {quoted}, or snnq search {quoted}"
    if path.is_file() and suffix in _RECORDINGS:
        return f"{path} is a recording: snnq eval MODEL --input {quoted}"
    return ""


def _folder(path: Path, quoted: str) -> str:
    if all((path / name).is_file() for name in ("config.json", "model.safetensors", "plan.json")):
        return f"{path} is a packed folder: snnq report {quoted}, snnq eval {quoted}, or snnq verify {quoted}"
    if (path / "scores.json").is_file():
        return f"{path} is a search's run folder: snnq plan solve {quoted} --budget avg-bits=2.4"
    if (path / "train").is_dir() or (path / "test").is_dir():
        return f"{path} is a folder of data: --data frames:{quoted}"
    return ""


def _is_plan(path: Path) -> bool:
    try:
        with open_regular(path) as file:
            start = file.read(_HEAD)
    except OSError:
        return False
    return start.lstrip()[:1] == b"{" and b'"schema_version"' in start and b'"model"' in start
