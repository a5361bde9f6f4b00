"""``snnq.adapt_list``: the adapters in a folder, and of which packed folder they are."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path

from snnq.base.errors import UsageError
from snnq.base.strict_json import Json
from snnq.packed.adapter import folder_hash, is_adapter, read_adapter
from snnq.packed.config import read_config

_ENDING = ".safetensors"
COLUMNS = ("adapter", "method", "classes", "tasks", "bytes", "A_N %", "data", "of this folder")


@dataclass(frozen=True)
class Listed:
    """An adapter; ``fits``: it was made for the packed folder that was named, None where none was."""

    path: str
    method: str
    classes: tuple[str, ...]
    tasks: tuple[int, ...]
    bytes: int
    final_average_accuracy: float
    data: str
    folder_sha256: str
    fits: bool | None


@dataclass(frozen=True)
class Listing:
    """All adapters that were found, by path."""

    adapters: tuple[Listed, ...]

    def to_dict(self) -> Json:
        """Return plain data."""
        return asdict(self)

    def rows(self) -> list[tuple[str, ...]]:
        """Return a row of ``COLUMNS`` for each."""
        return [
            (
                one.path,
                one.method,
                str(len(one.classes)),
                str(len(one.tasks)),
                f"{one.bytes:,}",
                f"{100 * one.final_average_accuracy:.2f}",
                one.data,
                {True: "yes", False: "no", None: "-"}[one.fits],
            )
            for one in self.adapters
        ]


def adapt_list(place: str | Path = ".", *, packed: str | Path | None = None) -> Listing:
    """Return the adapters that lie in a folder, or the one that a file is; ``packed``: whose they should be.

    Raises UsageError where the place is not there, PackedError for a damaged adapter, and what opening ``packed`` does.
    """
    where = Path(place)
    due = None if packed is None else folder_hash(read_config(Path(packed)))
    if where.is_dir():
        files = [one for one in sorted(where.iterdir()) if one.name.endswith(_ENDING) and is_adapter(one)]
    elif os.path.lexists(where):
        files = [where]
    else:
        raise UsageError(f"{where}: there is no such file or folder")
    return Listing(tuple(_listed(file, due) for file in files))


def _listed(file: Path, due: str | None) -> Listed:
    found = read_adapter(file)
    facts = found.facts
    known = facts.known.metrics()["class_incremental"]["final_average_accuracy"]
    fits = None if due is None else facts.folder_sha256 == due
    return Listed(
        str(file), facts.method, facts.classes, facts.tasks, found.bytes, known, facts.data, facts.folder_sha256, fits
    )
