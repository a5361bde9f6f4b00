"""``.aedat4``: iniVation's AEDAT 4, read by tonic with the library ``aedat``, which is an extra."""

from __future__ import annotations

from pathlib import Path

from snnq.data.formats.raw import Raw, head, wrong_type
from snnq.errors import DataError, MissingLibraryError

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
    from tonic.io import read_aedat4

    try:
        streams = aedat.Decoder(str(file)).id_to_stream()  # pyright: ignore
        numbers = [number for number, stream in streams.items() if stream["type"] == "events"]
        if not numbers:
            raise DataError(f"{file}: there are no events in it, only {[s['type'] for s in streams.values()]}.")
        first = streams[min(numbers)]
        found = read_aedat4(str(file))
    except (RuntimeError, ValueError, OSError) as error:
        raise DataError(f"{file}: the file is cut off or damaged ({error}).") from error
    names = found.dtype.names
    t, x, y, p = (found[name] for name in names)
    return Raw(t, x, y, p, (int(first["height"]), int(first["width"])))
