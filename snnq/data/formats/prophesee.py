"""``.dat`` and ``.raw`` (EVT 2 and 3): Prophesee's formats, read by expelliarmus.

Its C code waits for ever on a header that does not end; so the header is read here first.
"""

from __future__ import annotations

import re
from pathlib import Path

from snnq.data.formats.raw import Raw, check_whole, wrong_type
from snnq.errors import DataError

_WORD_BYTES = {"evt2": 4, "evt3": 2}


def read_dat(file: Path) -> Raw:
    """Read events of 8 bytes.

    Raises:
        DataError: it is no such file, it is cut off or damaged.
    """
    header, start = _header(file)
    check_whole(file, max(0, file.stat().st_size - start - 2), 8)  # two bytes say the events' type and size
    return _read(file, "dat", header)


def read_raw(file: Path) -> Raw:
    """Read EVT 2 or EVT 3, as the header says.

    Raises:
        DataError: it is no such file, the encoding is another one, it is cut off or damaged.
    """
    header, start = _header(file)
    named = re.search(r"% (?:evt (\d)\.\d|format EVT(\d))", header)
    encoding = f"evt{named[1] or named[2]}" if named else ""
    if encoding not in _WORD_BYTES:
        raise DataError(f"{file}: encoding '{encoding}' found in its header, allowed: evt2 and evt3.")
    check_whole(file, file.stat().st_size - start, _WORD_BYTES[encoding], "data")
    return _read(file, encoding, header)


def _header(file: Path) -> tuple[str, int]:
    """Return the lines that begin with '%', and where the data begin."""
    lines, start = [], 0
    with file.open("rb") as stream:
        while (line := stream.readline()).startswith(b"%"):
            if not line.endswith(b"\n"):
                raise DataError(f"{file}: the file is cut off in its header.")
            lines.append(line)
            start += len(line)
    if not lines:
        raise wrong_type(file, "a Prophesee file, which begins with '%'")
    return b"".join(lines).decode("latin1"), start


def _read(file: Path, encoding: str, header: str) -> Raw:
    from expelliarmus import Wizard

    try:
        found = Wizard(encoding=encoding).read(file)
    except (TypeError, ValueError, OSError) as error:  # TypeError: where its C code gave up
        raise DataError(f"{file}: no {encoding.upper()} events can be read; the file is empty or damaged.") from error
    return Raw(found["t"], found["x"], found["y"], found["p"], _sensor(header))


def _sensor(header: str) -> tuple[int, int] | None:
    """Return (height, width) where the header says them, in one of its three ways."""
    if found := re.search(r"geometry (\d+)x(\d+)", header):
        return int(found[2]), int(found[1])
    height, width = (re.search(rf"\b{name}[ =](\d+)", header, re.IGNORECASE) for name in ("height", "width"))
    return (int(height[1]), int(width[1])) if height and width else None
