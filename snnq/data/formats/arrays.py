"""``.npy``, ``.npz`` and ``.hdf5``: events as arrays, a column each or as records.

Of archives headers are read before any array is: what a header claims takes no memory.
"""

from __future__ import annotations

import importlib
import lzma
import math
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from snnq.base.errors import DataError, MissingLibraryError
from snnq.base.files import open_regular
from snnq.data.formats.raw import Raw, check_unpacked, head, said_sensor, wrong_type

if TYPE_CHECKING:
    import h5py

    Item = h5py.Group | h5py.Dataset
    Shaped: TypeAlias = "Header | h5py.Dataset | np.ndarray"

_DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError)
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


@dataclass(frozen=True)
class Header:
    """What an archive says of one array: its shape and type."""

    shape: tuple[int, ...]
    dtype: np.dtype


class Archive:
    """An open archive: ``headers`` by name, and the arrays by ``read``."""

    def __init__(self, file: Path, archive: zipfile.ZipFile) -> None:
        self._file, self._archive = file, archive
        self._members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}

    def names(self) -> tuple[str, ...]:
        """Return the arrays' names."""
        return tuple(self._members)

    def unpacked_bytes(self) -> int:
        """Return the size that the archive says its arrays have together."""
        return sum(member.file_size for member in self._members.values())

    def header(self, name: str) -> Header:
        """Return what the archive says of an array; raises DataError where it cannot hold that."""
        member = self._members[name]
        with self._archive.open(member) as stream:
            version = np.lib.format.read_magic(stream)
            if version not in _HEADERS:
                raise ValueError(f"'{name}' is of version {version}")
            shape, _, dtype = _HEADERS[version](stream)
            size = math.prod(shape) * dtype.itemsize
            if dtype.hasobject:
                raise ValueError(f"'{name}' holds Python objects")
            if size != member.file_size - stream.tell() or member.compress_size > self._file.stat().st_size:
                raise ValueError(
                    f"'{name}' says it is {dtype} of shape {shape}, which its {member.file_size} bytes are not"
                )
        return Header(shape, dtype)

    def read(self, name: str) -> np.ndarray:
        """Return an array. Nothing is unpickled; raises DataError where the file is too small to hold it."""
        self.header(name)
        with self._archive.open(self._members[name]) as stream:
            return np.asanyarray(np.lib.format.read_array(stream, allow_pickle=False))


@contextmanager
def open_npz(file: Path) -> Iterator[Archive]:
    """Open an archive for reading.

    Raises DataError: it is none, or it is cut off or damaged; also while it is read.
    """
    try:
        with open_regular(file) as stream, zipfile.ZipFile(stream) as archive:
            yield Archive(file, archive)
    except (*_DAMAGE, ValueError, EOFError, OSError, RuntimeError) as error:  # RuntimeError: of one with a password
        raise DataError(f"{file}: the file is cut off or damaged ({error}).") from error


_NAMES = {
    "t": ("t", "ts", "time", "timestamp", "timestamps"),
    "x": ("x",),
    "y": ("y",),
    "p": ("p", "pol", "polarity", "on"),
}
_MS = 1000  # µs
_SIDES = ("height", "width")
_MOST = 2**62  # of any number; no sensor and no clock comes near
_PART = 8192
_INSTALL = "Install it: pip install hdf5plugin."
# HDF5's registered filters that event files are known to use: name, and where it is to be had.
_FILTERS = {
    4: ("szip", "Convert the file with h5repack on a machine that has it."),
    307: ("bzip2", _INSTALL),
    32001: ("Blosc", _INSTALL),
    32004: ("LZ4", _INSTALL),
    32008: ("Bitshuffle", _INSTALL),
    32013: ("ZFP", _INSTALL),
    32015: ("Zstandard", _INSTALL),
    32026: ("Blosc2", _INSTALL),
    36559: (
        "ECF, Prophesee's",
        "Install OpenEB, or build github.com/prophesee-ai/hdf5_ecf, and let HDF5_PLUGIN_PATH name its folder.",
    ),
}


def read_npy(file: Path) -> Raw:
    """Read records with fields t (µs), x, y, p; or numbers (N, 4): x, y, p, t in ms, as tonic's DVS128 Gesture.

    Raises DataError: it is no .npy file, it is cut off, or holds something else. Nothing is unpickled.
    """
    if not head(file, 6).startswith(b"\x93NUMPY"):
        raise wrong_type(file, "a .npy file")
    try:
        found = np.load(file, mmap_mode="r", allow_pickle=False)  # it is walked through once
    except (ValueError, EOFError, OSError) as error:
        raise DataError(f"{file}: the file is cut off or damaged ({error}).") from error
    if found.dtype.names:
        columns = {key: found[name] for key, name in _named(file, found.dtype.names).items()}
        return _columns(file, columns, columns.__getitem__)
    if found.ndim != 2 or found.shape[1] != 4 or found.dtype.kind not in "iuf":
        raise DataError(
            f"{file}: {found.dtype} of shape {found.shape} found, allowed: records with t, x, y, p, or numbers (N, 4) "
            "as tonic's DVS128 Gesture."
        )
    x, y, p, t = _whole_numbers(file, found).T
    if len(t) and max(-int(t.min()), int(t.max())) > _MOST // _MS:
        raise DataError(f"{file}: an event at {int(np.abs(t).max())} ms, which no clock comes near.")
    return Raw(t * _MS, x, y, p, note="Its times are taken as ms, as tonic's DVS128 Gesture has them.")


def _whole_numbers(file: Path, values: np.ndarray) -> np.ndarray:
    """Return values (N, …) as int64, a column after the other; in parts, so that a part stays in the cache."""
    whole = np.empty(values.shape, np.int64, order="F")
    rounded, same = np.empty((_PART, *values.shape[1:])), np.empty((_PART, *values.shape[1:]), bool)
    for start in range(0, len(values), _PART):
        part = np.asarray(values[start : start + _PART])
        length = len(part)
        if not np.equal(np.rint(part, out=rounded[:length]), part, out=same[:length]).all():
            raise DataError(f"{file}: it holds values that are no whole numbers.")
        if part.min() < -_MOST or part.max() > _MOST:
            worst = part.max() if part.max() > _MOST else part.min()
            raise DataError(f"{file}: it holds {worst:g}, which is no time or place of an event.")
        whole[start : start + _PART] = part
    return whole


def read_npz(file: Path) -> Raw:
    """Read the keys t (µs), x, y, p, as SpikingJelly's ``events_np`` has them; ``height`` and ``width``, if any.

    Raises DataError: it is no .npz file, it is damaged, misses a key, or claims more than it can hold.
    """
    if not head(file, 4).startswith(b"PK"):
        raise wrong_type(file, "a .npz file")
    with open_npz(file) as archive:
        names = _named(file, archive.names())
        check_unpacked(file, archive.unpacked_bytes())
        headers = {key: archive.header(name) for key, name in names.items()}
        sides = [name for name in _SIDES if name in archive.names() and _is_number(archive.header(name))]
        said = said_sensor(file, {name: str(archive.read(name).item()) for name in sides} if len(sides) == 2 else {})
        return replace(_columns(file, headers, lambda key: archive.read(names[key])), sensor=said)


def _named(file: Path, found: tuple[str, ...]) -> dict[str, str]:
    """Return what t, x, y and p are called among the names that were found."""
    named = {key: next((name for name in names if name in found), None) for key, names in _NAMES.items()}
    for key, name in named.items():
        if name is None:
            raise DataError(f"{file}: no '{key}' in it, found {', '.join(found) or 'nothing'}.")
    return {key: str(name) for key, name in named.items()}


def _columns(file: Path, headers: Mapping[str, Shaped], read: Callable[[str], np.ndarray]) -> Raw:
    """Return events of columns t, x, y, p, each with a shape and dtype; ``read`` gives a column's numbers."""
    shapes = {key: header.shape for key, header in headers.items()}
    if any(len(shape) != 1 for shape in shapes.values()) or len(set(shapes.values())) != 1:
        found = ", ".join(f"{key} {shape}" for key, shape in shapes.items())
        raise DataError(f"{file}: t, x, y and p must be of one length, found {found}.")
    for key, header in headers.items():
        if header.dtype.kind not in "biuf":
            raise DataError(f"{file}: '{key}' is {header.dtype}, it must be whole numbers.")
    t, x, y, p = (_integers(file, read(key)) for key in _NAMES)
    return Raw(t, x, y, p)


def _is_number(one: Shaped) -> bool:
    return math.prod(one.shape) == 1 and one.dtype.kind in "iu"


def _integers(file: Path, part: np.ndarray) -> np.ndarray:
    return part if part.dtype.kind in "biu" else _whole_numbers(file, part)


def read_hdf5(file: Path) -> Raw:
    """Read the one recording in an HDF5 file: records with t (µs), x, y, p, or a group with a data set for each.

    The sensor is that of attributes (``geometry``, or ``height`` and ``width``) or of data sets of these names.

    Raises DataError: it is no HDF5 file, it is damaged, or has none or several of these.
    """
    import h5py

    if not head(file, 8).startswith(b"\x89HDF\r\n\x1a\n"):
        raise wrong_type(file, "an HDF5 file")
    try:
        with h5py.File(file, "r") as root:
            found: list[Item] = [root] if _is_recording(root) else []
            root.visititems(lambda _, item: found.append(item) if _is_recording(item) else None)
            if len(found) != 1:
                names = ", ".join(str(item.name) for item in found) or "none"
                raise DataError(f"{file}: it must hold one recording with t, x, y and p, found {names}.")
            return replace(_read_item(file, found[0]), sensor=_sides(file, root, found[0]))
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        raise DataError(f"{file}: the file is cut off or damaged ({error}).") from error


def _sides(file: Path, root: h5py.File, item: Item) -> tuple[int, int] | None:
    import h5py

    said: dict[str, str] = {}
    for name in ("geometry", *_SIDES):
        for place in (root, item):
            if name in place.attrs:
                value = np.asarray(place.attrs[name]).reshape(-1)
                said[name] = value[0].decode("latin1") if isinstance(value[0], bytes) else str(value[0])
        if isinstance(item, h5py.Group) and isinstance(item.get(name, getlink=True), h5py.HardLink):
            found = item[name]
            if isinstance(found, h5py.Dataset) and _is_number(found):
                said[name] = str(_read_dataset(file, found).item())
    return said_sensor(file, said)


def _read_item(file: Path, item: Item) -> Raw:
    import h5py

    names = _named(file, _fields(item))
    if isinstance(item, h5py.Dataset):
        records = cache(lambda: _read_dataset(file, item))
        headers = {key: Header(item.shape, item.dtype[name]) for key, name in names.items()}
        return _columns(file, headers, lambda key: records()[names[key]])
    parts = {}
    for key, name in names.items():
        if isinstance(item.get(name, getlink=True), h5py.ExternalLink):
            raise DataError(f"{file}: '{name}' lies in another file, which is not opened.")
        parts[key] = item[name]
        if not isinstance(parts[key], h5py.Dataset):
            raise DataError(f"{file}: '{name}' is no data set.")
    return _columns(file, parts, lambda key: _read_dataset(file, parts[key]))


def _read_dataset(file: Path, item: h5py.Dataset) -> np.ndarray:
    """Return a data set's content, by filters that are there, in the file itself, and of a size that it can hold."""
    if item.external or item.is_virtual:
        raise DataError(f"{file}: '{item.name}' lies in another file, which is not opened.")
    filters = item.id.get_create_plist()
    numbers = [filters.get_filter(index)[0] for index in range(filters.get_nfilters())]
    missing = _missing(numbers)
    stored = item.id.get_storage_size()
    if not numbers and item.nbytes > stored:
        raise DataError(f"{file}: '{item.name}' says it has {item.nbytes:,} bytes, but {stored:,} are stored.")
    check_unpacked(file, item.nbytes)
    try:
        return item[()]
    except OSError as error:
        if not missing:
            raise
        name, hint = _FILTERS.get(missing[0], ("", f"Look {missing[0]} up among the registered filters of HDF5."))
        raise MissingLibraryError(
            f"{file}: '{item.name}' is compressed by the HDF5 filter {missing[0]}{name and f' ({name})'}, which is not "
            "installed.", hint,
        ) from error  # fmt: skip


def _missing(numbers: list[int]) -> list[int]:
    """Return the filters that are not there, even with hdf5plugin where that is installed."""
    import h5py

    missing = [number for number in numbers if not h5py.h5z.filter_avail(number)]
    if missing:
        with suppress(ImportError):
            importlib.import_module("hdf5plugin")
    return [number for number in missing if not h5py.h5z.filter_avail(number)]


def _fields(item: Item) -> tuple[str, ...]:
    kind = getattr(item, "dtype", None)
    return tuple(kind.names or ()) if kind is not None else tuple(item)


def _is_recording(item: Item) -> bool:
    return all(any(name in names for name in _fields(item)) for names in _NAMES.values())
