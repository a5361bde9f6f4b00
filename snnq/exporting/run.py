"""``snnq.export``: a packed folder in another format."""

from __future__ import annotations

from pathlib import Path

from snnq.exporting.placing import check_free, default_place, file_sizes, put
from snnq.exporting.records import Exported
from snnq.exporting.targets import find_target
from snnq.packed.verification import verify


def export(path: str | Path, to: str, out: str | Path | None = None, force: bool = False) -> Exported:
    """Write a packed folder in another format and return what was written; ``to`` is one of ``TARGETS``.

    The folder is verified first, and what was written is read back by the format's own library and compared with the
    packed weights before it is put in its place: ``out``, or beside the folder under its name and the target's suffix.

    Raises UsageError for an unknown target, or a plan the format cannot hold; OutputExistsError for an ``out`` that is
    there, unless ``force``; MissingLibraryError, which says what to install; PackedError or VerificationError for a
    folder that is damaged, and VerificationError where the library does not read back the very weights.
    """
    folder, target = Path(path), find_target(to)
    place = Path(out) if out is not None else default_place(folder, target.suffix)
    check_free(place, folder, force)
    verify(folder)
    facts = put(place, lambda new: target.export(folder, new), force=force)
    return Exported(to, str(folder), str(place), file_sizes(place), facts.layers, facts.notes, facts.unsaid)
