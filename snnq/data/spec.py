"""How data is named on the command line and in plan.json: ``name[:path][,key=value…]``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote

from snnq.base.errors import DataError, UsageError, nearest
from snnq.base.parsing import parse_image_size
from snnq.data.integrator import By
from snnq.data.pixels import DEVIATIONS, MEANS, channels_of
from snnq.data.sources import OPTIONS, SOURCES, DataSource, guess_source

SPLITS = ("train", "validation", "test")
_OPTION = re.compile(r"^\s*([A-Za-z_][\w-]*)\s*=([^/\\]*)$")
# An option where no comma precedes it, or no = follows: "; limit=5", " limit 5", ",limit:5".
_SEPARATED = re.compile(
    rf"(?:\s*[,;:&?|]\s*|\s+)({'|'.join(name.replace('_', '[_-]') for name in OPTIONS)})\s*[=: ]\s*(?=[^/\\]*$)"
)
_LIST_HINT = "Type 'snnq data list' to see every source and its options."


@dataclass(frozen=True)
class DataSpec:
    """A parsed spec: the source's name, its path ('' where it has none) and the options given, canonical text by name.

    ``str(spec)`` is the spec again; parsing that gives an equal ``DataSpec``.
    """

    name: str
    path: str = ""
    options: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        head = f"{self.name}:{self.path}" if self.path else self.name
        return ",".join([head, *(f"{key}={value}" for key, value in self.options.items())])

    @property
    def source(self) -> DataSource:
        """The row of the source table."""
        return SOURCES[self.name]

    def option(self, key: str) -> str | None:
        """Return an option's text as given, else the source's default, else None."""
        return self.options.get(key, self.source.options.get(key))

    def integer(self, key: str) -> int | None:
        """Return ``option(key)`` as a whole number."""
        text = self.option(key)
        return None if text is None else int(text)

    def limit(self, split: str) -> int | None:
        """Return the most samples a split may have (``limit=6000``, or ``limit=6000+2000+10000``), None for all."""
        text = self.option("limit")
        if text is None:
            return None
        counts = text.split("+")
        return int(counts[SPLITS.index(split)] if len(counts) > 1 else text)

    @property
    def by(self) -> By:
        """How events are cut into frames."""
        return "time" if self.option("by") == "time" else "count"

    @property
    def image_size(self) -> tuple[int, int] | None:
        """(height, width) in pixels, or None where neither the spec nor the source says it."""
        text = self.option("image_size")
        return None if text is None else parse_image_size(text)


def _count(text: str) -> str:
    if not re.fullmatch(r"0*[1-9]\d{0,17}", text.strip(), flags=re.ASCII):
        raise DataError("expected a whole number of at least 1, of 18 digits at most")
    return str(int(text))


def _limit(text: str) -> str:
    counts = text.split("+")
    if len(counts) not in (1, len(SPLITS)):
        raise DataError(f"expected one whole number, or one for each of {' + '.join(SPLITS)}")
    return "+".join(map(_count, counts))


def _word(text: str, allowed: tuple[str, ...]) -> str:
    if text.strip() not in allowed:
        raise DataError(f"expected {' or '.join(repr(word) for word in allowed)}{nearest(text, allowed)}")
    return text.strip()


def _size(text: str) -> str:
    try:
        height, width = parse_image_size(text)
    except UsageError as error:
        raise DataError(error.message) from None
    return f"{height}x{width}"


def _channels(text: str, presets: dict[str, tuple[float, ...]], least: float = 0.0) -> str:
    channels_of(text.strip(), presets, least)
    return text.strip()


def _resize(text: str) -> str:
    if text == "none":
        return text
    return _size(text) if "x" in text else _count(text)


_CANONICAL: dict[str, Callable[[str], str]] = {
    "steps": _count,
    "image_size": _size,
    "limit": _limit,
    "mean": lambda text: _channels(text, MEANS),
    "std": lambda text: _channels(text, DEVIATIONS, 1e-6),
    "resize": lambda text: _resize(text.strip()),
    "classes": _count,
    "samples": _count,
    "stride": _count,
    "every": _count,
    "clips": lambda text: "all" if text.strip() == "all" else _count(text),
    "split": _count,
}


def parse_spec(text: str) -> DataSpec:
    """Read a data spec such as ``digits``, ``n-mnist:DIR`` or ``n-mnist:DIR,steps=8,by=time``.

    Options are taken from the right, so a path may contain commas; a value never contains a slash.

    Raises DataError: an unknown source or option (the nearest name is offered), a value that cannot be used, or a path
    that is missing or not wanted.
    """
    head, pairs = _split_options(text)
    name, _, path = (part.strip() for part in head.partition(":"))
    if name not in SOURCES or (path and not (SOURCES[name].path and Path(path).expanduser().exists())):
        _refuse_separators(text, head)
    if name not in SOURCES:
        raise _no_source(text, name)
    source = SOURCES[name]
    if source.path and not path:
        raise DataError(f"data spec '{text}': '{name}' needs the folder it reads.", f"Type '{name}:FOLDER'.")
    if path and not source.path:
        raise DataError(f"data spec '{text}': '{name}' takes no path, found '{path}'.", f"Type '{name}'.")
    options: dict[str, str] = {}
    for key, value in pairs:
        if key in options:
            raise DataError(f"data spec '{text}': option '{key}' is given twice.")
        options[key] = _canonical(text, source, key, value)
    return DataSpec(name, path, options)


def _refuse_separators(text: str, head: str) -> None:
    """Raise DataError where what stands before the options holds one, behind another separator than a comma."""
    written = _SEPARATED.sub(lambda found: f",{found[1]}=", head)
    name, _, rest = written.partition(",")
    if written != head and name.partition(":")[0].strip() in SOURCES:
        right = written + text[len(head) :]
        raise DataError(
            f"data spec '{text}': an option is written with a comma before it and '=' behind its name.",
            f"Type '{right}'." if rest.partition("=")[2] else _LIST_HINT,
        )


def _no_source(text: str, name: str) -> DataError:
    """Return the error for a spec that begins with no source: perhaps it is a folder."""
    path = Path(text or "-").expanduser()
    if path.is_file():
        hint = f"A data set is a folder; of one recording: snnq eval MODEL --input {quote(text)}"
        return DataError(f"data spec '{text}': this is a file.", hint)
    if path.is_dir() or text.startswith((".", "/", "~")):
        source = guess_source(path) if path.is_dir() else "frames"
        return DataError(
            f"data spec '{text}': this is a folder, but what is in it must be said; known: {', '.join(SOURCES)}.",
            f"Type '{source}:{text}'.",
        )
    known = ", ".join(SOURCES)
    return DataError(
        f"data spec '{text}': unknown source '{name}'{nearest(name, SOURCES)}; known: {known}.", _LIST_HINT
    )


def _split_options(text: str) -> tuple[str, list[tuple[str, str]]]:
    parts = text.split(",")
    pairs: list[tuple[str, str]] = []
    while len(parts) > 1 and (match := _OPTION.match(parts[-1])):
        pairs.insert(0, (match[1].replace("-", "_"), match[2].strip()))
        parts.pop()
    return ",".join(parts), pairs


def _canonical(text: str, source: DataSource, key: str, value: str) -> str:
    if key not in source.options:
        guess, allowed = nearest(key, source.options), ", ".join(source.options)
        raise DataError(
            f"data spec '{text}': '{source.name}' has no option '{key}'{guess}; allowed: {allowed}.", _LIST_HINT
        )
    try:
        return _word(value, source.choices[key]) if key in source.choices else _CANONICAL[key](value)
    except DataError as error:
        reason = error.message.rstrip(".")
        raise DataError(f"data spec '{text}': option '{key}' is '{value}'; {reason}.") from None
