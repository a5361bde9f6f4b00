"""``.aedat4``: iniVation's AEDAT 4, read by the library ``aedat``, which is an extra."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from snnq.base.errors import DataError, MissingLibraryError
from snnq.data.formats.raw import Raw, head, wrong_type

_MAGIC = b"#!AER-DAT4"


def read(file: Path) -> Raw:
    """Read the first stream of events.

    Raises:
        DataError: it is no AEDAT 4 file, it is cut off or damaged, or has no events.
        MissingLibraryError: ``aedat`` is not installed.
    """
    if not head(file, len(_MAGIC)).startswith(_MAGIC):
        raise wrong_type(file, f"an AEDAT 4 file, which begins with '{_MAGIC.decode()}'")
    try:
        import aedat
    except ImportError as error:
        raise MissingLibraryError(
            f"{file}: AEDAT 4 files are read by the library 'aedat', which is not installed.",
            "Install it: pip install 'snnq[aedat4]'.",
        ) from error
    try:
        decoder = aedat.Decoder(str(file))  # pyright: ignore
        streams = decoder.id_to_stream()
        numbers = [number for number, stream in streams.items() if stream["type"] == "events"]
        if not numbers:
            raise DataError(f"{file}: there are no events in it, only {[s['type'] for s in streams.values()]}.")
        number = min(numbers)
        parts = [packet["events"] for packet in decoder if packet["stream_id"] == number]
    except (RuntimeError, ValueError, OSError) as error:
        raise DataError(f"{file}: the file is cut off or damaged ({error}).") from error
    found = np.concatenate(parts) if parts else np.zeros(0, [(name, np.int64) for name in "txyp"])
    t, x, y, p = (found[name] for name in found.dtype.names or ())
    return Raw(t, x, y, p, (int(streams[number]["height"]), int(streams[number]["width"])))
