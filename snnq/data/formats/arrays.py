"""``.npy``, ``.npz`` and ``.hdf5``: events as arrays, a column each or as records."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from snnq.data.formats.raw import Raw, head, wrong_type
from snnq.errors import DataError

_NAMES = {
    "t": ("t", "ts", "time", "timestamp", "timestamps"),
    "x": ("x",),
    "y": ("y",),
    "p": ("p", "pol", "polarity", "on"),
}
_MS = 1000  # µs
_PART = 8192


def read_npy(file: Path) -> Raw:
    """Read records with fields t (µs), x, y, p; or numbers (N, 4): x, y, p, t in ms, as tonic's DVS128 Gesture.

    Raises:
        DataError: it is no .npy file, it is cut off, or holds something else. Nothing is unpickled.
    """
    if not head(file, 6).startswith(b"\x93NUMPY"):
        raise wrong_type(file, "a .npy file")
    try:
        found = np.load(file, mmap_mode="r", allow_pickle=False)  # it is walked through once
    except (ValueError, EOFError, OSError) as error:
        raise DataError(f"{file}: the file is cut off or damaged ({error}).") from error
    if found.dtype.names:
        return _columns(file, {name: found[name] for name in found.dtype.names})
    if found.ndim != 2 or found.shape[1] != 4 or found.dtype.kind not in "iuf":
        raise DataError(
            f"{file}: {found.dtype} of shape {found.shape} found, allowed: records with t, x, y, p, or numbers (N, 4) "
            "as tonic's DVS128 Gesture."
        )
    x, y, p, t = _whole_numbers(file, found, np.int32).T
    return Raw(t * np.int64(_MS), x, y, p)


def _whole_numbers(file: Path, values: np.ndarray, kind: type[np.signedinteger] = np.int64) -> np.ndarray:
    """Return values (N, …) as whole numbers, a column after the other; in parts, so that a part stays in the cache."""
    whole = np.empty(values.shape, kind, order="F")
    rounded, same = np.empty((_PART, *values.shape[1:])), np.empty((_PART, *values.shape[1:]), bool)
    for start in range(0, len(values), _PART):
        part = np.asarray(values[start : start + _PART])
        length = len(part)
        if not np.equal(np.rint(part, out=rounded[:length]), part, out=same[:length]).all():
            raise DataError(f"{file}: it holds values that are no whole numbers.")
        with np.errstate(invalid="ignore"):  # what is too large becomes what no sensor has
            whole[start : start + _PART] = part
    return whole


def read_npz(file: Path) -> Raw:
    """Read the keys t (µs), x, y, p, as SpikingJelly's ``events_np`` has them.

    Raises:
        DataError: it is no .npz file, it is damaged, or misses a key.
    """
    if not head(file, 4).startswith(b"PK"):
        raise wrong_type(file, "a .npz file")
    try:
        with zipfile.ZipFile(file), np.load(file, allow_pickle=False) as archive:
            return _columns(file, {name: archive[name] for name in archive.files})
    except (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{file}: the file is cut off or damaged ({error}).") from error


def read_hdf5(file: Path) -> Raw:
    """Read the one recording in an HDF5 file: records with t (µs), x, y, p, or a group with a data set for each.

    Raises:
        DataError: it is no HDF5 file, it is damaged, or has none or several of these.
    """
    import h5py

    if not head(file, 8).startswith(b"\x89HDF\r\n\x1a\n"):
        raise wrong_type(file, "an HDF5 file")
    try:
        with h5py.File(file) as root:
            found: list[Any] = [root] if _is_recording(root) else []
            root.visititems(lambda _, item: found.append(item) if _is_recording(item) else None)
            if len(found) != 1:
                names = ", ".join(item.name for item in found) or "none"
                raise DataError(f"{file}: it must hold one recording with t, x, y and p, found {names}.")
            item = found[0][()] if isinstance(found[0], h5py.Dataset) else found[0]
            return _columns(file, {name: np.asarray(item[name]) for name in _fields(found[0])})
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        raise DataError(f"{file}: the file is cut off or damaged ({error}).") from error


def _fields(item: Any) -> tuple[str, ...]:
    kind = getattr(item, "dtype", None)
    return tuple(kind.names or ()) if kind is not None else tuple(item)


def _is_recording(item: Any) -> bool:
    return all(any(name in names for name in _fields(item)) for names in _NAMES.values())


def _columns(file: Path, found: Mapping[str, np.ndarray]) -> Raw:
    chosen = {}
    for key, names in _NAMES.items():
        name = next((name for name in names if name in found), None)
        if name is None:
            raise DataError(f"{file}: no '{key}' in it, found {', '.join(found) or 'nothing'}.")
        chosen[key] = found[name]
    if {part.ndim for part in chosen.values()} != {1} or len({len(part) for part in chosen.values()}) != 1:
        shapes = ", ".join(f"{key} {part.shape}" for key, part in chosen.items())
        raise DataError(f"{file}: t, x, y and p must be of one length, found {shapes}.")
    for key, part in chosen.items():
        if part.dtype.kind not in "biuf":
            raise DataError(f"{file}: '{key}' is {part.dtype}, it must be whole numbers.")
    t, x, y, p = (part if part.dtype.kind in "biu" else _whole_numbers(file, part) for part in chosen.values())
    return Raw(t, x, y, p)
