"""A long command's folder: its resolved configuration, its state and its metrics.

A run that was cut off goes on when it is opened again with the same configuration, and refuses, naming the field,
when anything it depends on has changed.

    config.json     every setting and the hashes of every input
    state.pt        the newest complete state (written to a temporary name and renamed)
    metrics.jsonl   one line an epoch
    scores.json     a finished search's scores
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snnq.errors import RunChangedError
from snnq.files import write_atomic
from snnq.training import processes

STATE, CONFIG, METRICS, SCORES = "state.pt", "config.json", "metrics.jsonl", "scores.json"


@dataclass(frozen=True)
class RunFolder:
    """An opened run folder."""

    path: Path
    resumed: bool

    @property
    def state_path(self) -> Path:
        """Where the newest complete state lies, if there is one."""
        return self.path / STATE

    def write_metrics(self, history: list[dict[str, Any]]) -> None:
        """Write one JSON line an epoch; the whole file anew, so that it never disagrees with the state."""
        write_atomic(self.path / METRICS, "".join(json.dumps(line) + "\n" for line in history))

    def write_scores(self, text: str) -> None:
        """Keep a finished search's scores."""
        write_atomic(self.path / SCORES, text)


def run_path(out: Path, chosen: str | Path | None = None) -> Path:
    """Return where the run that makes ``out`` keeps its state: beside it, unless another folder was chosen."""
    return Path(chosen) if chosen else out.with_name(f"{out.name}.run")


def open_run(path: Path, config: dict[str, Any], *, force: bool = False) -> RunFolder:
    """Create the run folder, or open it to go on.

    Raises RunChangedError naming the first setting that differs from the one the run was started with; ``force``
    starts anew instead. A folder that holds anything but a run's own files is never touched. Of several processes the
    first one does it for all.
    """
    return processes.on_first(lambda: _open(path, json.loads(json.dumps(config)), force))


def _open(path: Path, config: dict[str, Any], force: bool) -> RunFolder:
    config_path = path / CONFIG
    _refuse_foreign(path)
    if force or not config_path.exists():
        # Without its configuration, what a kill left here belongs to nothing. The configuration goes first.
        for name in (CONFIG, STATE, METRICS, SCORES):
            (path / name).unlink(missing_ok=True)
    if config_path.exists():
        _refuse_changes(path, _read_config(config_path), config)
        return RunFolder(path, resumed=(path / STATE).exists())
    path.mkdir(parents=True, exist_ok=True)
    write_atomic(config_path, json.dumps(config, indent=2) + "\n")
    return RunFolder(path, resumed=False)


def _refuse_foreign(path: Path) -> None:
    """Raise RunChangedError if the folder holds anything but a run's files and their temporary names."""
    if path.exists() and not path.is_dir():
        raise RunChangedError(f"{path} is not a folder", "choose another one with --run")
    for name in sorted(entry.name for entry in path.iterdir()) if path.exists() else ():
        if name not in (CONFIG, STATE, METRICS, SCORES) and not (name.startswith(".") and name.endswith(".tmp")):
            raise RunChangedError(f"{path} is not a run folder: it holds '{name}'", "choose another one with --run")


def _read_config(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as problem:
        raise RunChangedError(f"{path} cannot be read: {problem}", "type --force to start the run anew") from None
    if not isinstance(found, dict):
        raise RunChangedError(f"{path} holds no settings", "type --force to start the run anew")
    return found


def _refuse_changes(path: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    for field in sorted(before.keys() | now.keys()):
        if before.get(field) != now.get(field):
            raise RunChangedError(
                f"{path} was started with {field} = {json.dumps(before.get(field))}, "
                f"now it is {json.dumps(now.get(field))}",
                "type --force to start anew, or --run to use another folder",
            )
