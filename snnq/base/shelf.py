"""Records that come with snnq as TOML files, by name, and a user's own, by path: cost tables, machines, targets."""

from __future__ import annotations

import hashlib
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from snnq.base.errors import SnnqError, nearest
from snnq.base.files import read_regular
from snnq.base.validation import Record, dotted, validate

MAX_BYTES = 2**20
R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class Shelf(Generic[R]):
    """Files of one ``kind`` in a ``folder``; ``listing`` is said where one is not there, ``hint`` where one is wrong.

    A record has ``sha256`` of its file's bytes, and ``path``, None for one that comes with snnq; neither those nor
    ``others`` are keys of a file.
    """

    kind: str
    folder: Path
    record: type[R]
    error: type[SnnqError]
    hint: str
    listing: str
    others: tuple[str, ...] = ()

    def names(self) -> tuple[str, ...]:
        """Return the names of those that come with snnq."""
        return tuple(sorted(path.stem for path in self.folder.glob("*.toml")))

    def file(self, name_or_path: str | Path) -> Path:
        """Return the file of one that comes with snnq, by name, or of a user's own, by path.

        A ``Path``, and a string with a slash, ending in .toml or naming a file that is there, is a path. Raises the
        shelf's error naming the nearest name.
        """
        given = str(name_or_path)
        if self._named(name_or_path):
            return self.folder / f"{given}.toml"
        slashed = given.endswith(".toml") or "/" in given or "\\" in given
        if isinstance(name_or_path, Path) or slashed or os.path.isfile(given):
            return Path(given)
        raise self.error(
            f"unknown {self.kind} '{given}'{nearest(given, self.names())}; allowed: {', '.join(self.names())}, "
            "or the path of a .toml file",
            self.listing,
        )

    def read(self, name_or_path: str | Path) -> R:
        """Return a record by name or path (``file``); raises the shelf's error naming the file and the key."""
        path, given = self.file(name_or_path), str(name_or_path)
        try:
            content = read_regular(path, MAX_BYTES)
            data = tomllib.loads(content.decode("utf-8"))
        except OSError as problem:
            raise self.error(f"{given}: cannot read this {self.kind} ({problem.strerror})", self.listing) from None
        except RecursionError:
            raise self.error(f"{given}: not a {self.kind}: it is nested too deeply", self.hint) from None
        except ValueError as problem:  # no TOML, no UTF-8, or a path that no file can have
            raise self.error(f"{given}: not a TOML file: {problem}", self.hint) from None
        for key in ("sha256", "path", *self.others):
            if key in data:
                raise self.error(f"{given}: unknown key '{key}'", self.hint)
        where = None if self._named(name_or_path) else given
        facts = {"sha256": hashlib.sha256(content).hexdigest(), "path": where}
        return validate(self.record, data | facts, given, self.error, self.hint, dotted)

    def _named(self, name_or_path: str | Path) -> bool:
        return not isinstance(name_or_path, Path) and name_or_path in self.names()
