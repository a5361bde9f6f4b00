"""``.npz`` archives, of which headers are read before any array is: what a header claims takes no memory."""

from __future__ import annotations

import lzma
import math
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from snnq.base.errors import DataError
from snnq.base.files import open_regular

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
