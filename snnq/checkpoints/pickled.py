"""Files of ``torch.save``, read without running anything of them, and without taking more memory than they hold.

What a pickle names is looked up in a list of ours, never imported. Tensors are torch's own; everything else a training
script leaves beside them becomes plain data: text for paths, dicts for dicts, numbers for numpy's, and for a class of
another library or of the script itself an empty dict that takes its settings and does nothing. Names of Python, torch
and numpy that are no data (``os.system``, ``torch.nn.Linear``) are refused before anything is loaded.
"""

from __future__ import annotations

import _compat_pickle
import argparse
import pickle
import pickletools
import re
import sys
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, BinaryIO

import numpy as np
import torch

from snnq.base.errors import CheckpointError
from snnq.checkpoints.foreign import ADVICE, RESAVE, archive_said, foreign

LEGACY_MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)  # torch's first format, before archives
_LEGACY_PICKLES = 5  # magic number, version, machine, content, keys of the storages
# An optimizer's state and weights of 10,000 parameters take about a million; each may make an object of 200 bytes.
MOST_OPERATIONS = 2_000_000
# Archives are written uncompressed; float weights that somebody compressed afterwards shrink by a few per cent.
_MOST_UNPACKED, _ANYWAY = 4, 64 * 2**20


def load_torch(path: Path, file: BinaryIO, size: int) -> tuple[object, tuple[str, ...]]:
    """Return the content of a file of ``torch.save``, and the classes in it that are only settings here.

    ``file`` is ``path``, opened, ``size`` its size. Raises ``CheckpointError`` for a file that is damaged, unpacks to
    far more than it is, or asks for code; nothing of it has run then.
    """
    try:
        names = _names_in_archive(path, file, size) if file.read(2) == b"PK" else _names(path, file)
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as problem:
        raise damaged(path, problem) from None
    known, others = _resolved(path, names)
    file.seek(0)
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(known):
            warnings.simplefilter("ignore")  # torch warns of odd pickles; ours is one sentence
            return torch.load(file, map_location="cpu", weights_only=True), others
    except Exception as problem:  # a damaged file makes torch raise nearly anything
        if others:
            raise _asks_for(path, others[0]) from None
        raise damaged(path, problem) from None


def damaged(path: Path, problem: Exception) -> CheckpointError:
    """Return the error of a file that cannot be read, with the reason where it is about the file."""
    reason = (str(problem).strip() or type(problem).__name__).splitlines()[0][:120]
    # torch's own words are often about its options: how to switch the protection off.
    quotable = not isinstance(problem, pickle.UnpicklingError) and "weights_only" not in str(problem)
    because = f" ({reason})" if quotable else ""
    return CheckpointError(
        f"{path}: cannot be read as a checkpoint, it is truncated, damaged or of another format{because}",
        "copy or download it again; read are files of torch.save and safetensors",
    )


def _names_in_archive(path: Path, file: IO[bytes], size: int) -> set[str]:
    """Return what the pickle in a zip archive names, after a look at the sizes its directory declares."""
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        said = archive_said([entry.filename for entry in entries])
        if said is not None:
            raise CheckpointError(
                f"{path}: is {said}, not a file of torch.save", ADVICE.get(said, RESAVE).replace("FILE", str(path))
            )
        whole = sum(entry.file_size for entry in entries)
        if whole > max(_MOST_UNPACKED * size, _ANYWAY):
            raise CheckpointError(
                f"{path}: is an archive of {size:,} bytes that would unpack to {whole:,}; weights do not shrink so far",
                "torch.save writes archives uncompressed: save it again",
            )
        pickled = next(entry for entry in entries if entry.filename.rpartition("/")[2] == "data.pkl")
        with archive.open(pickled) as stream:
            return _names(path, stream, pickles=1)


def _names(path: Path, stream: IO[bytes], pickles: int = _LEGACY_PICKLES) -> set[str]:
    """Return the names that pickles ask for, as torch looks them up; nothing is made of them."""
    found: set[str] = set()
    count = 0
    if pickles > 1:
        stream.seek(0)
    for _ in range(pickles):
        for operation, argument, _ in pickletools.genops(stream):
            count += 1
            if count > MOST_OPERATIONS:
                raise CheckpointError(
                    f"{path}: its pickle has more than {MOST_OPERATIONS:,} operations; weights alone have far fewer",
                    RESAVE,
                )
            if operation.name == "GLOBAL":
                found.add(_today(*str(argument).split(" ", 1)))
            elif operation.name == "PROTO" and int(argument or 0) > 2:
                raise CheckpointError(
                    f"{path}: is pickled in protocol {argument}, of which torch reads weights in protocol 2 alone",
                    f"without pickle_protocol, {RESAVE}",
                )
    return found


def _today(module: str, name: str) -> str:
    """Return a name as Python 3 has it: pickles in protocol 2 hold Python 2's."""
    if (module, name) in _compat_pickle.NAME_MAPPING:
        module, name = _compat_pickle.NAME_MAPPING[(module, name)]
    else:
        module = _compat_pickle.IMPORT_MAPPING.get(module, module)
    return f"{module}.{name}"


# What torch looks up in place of a name: what stands for it, and the name.
Stands = Callable[..., object] | tuple[Callable[..., object], str]


class _Settings:
    """Stands for a class that is not here. An instance is a dict that takes what the pickle says and does nothing."""

    def __new__(cls, *arguments: object) -> object:
        # torch fills only dicts and OrderedDicts; the latter takes attributes, too. No method of the file's is there.
        return OrderedDict()


class _Text:
    """Stands for classes that are text: torch's version."""

    def __new__(cls, *arguments: object) -> object:
        return str(arguments[0]) if arguments else ""


def _path(*parts: object) -> str:
    """Return a path's text; no path is made, so nothing on the disk is looked at."""
    return "/".join(str(part) for part in parts).replace("//", "/")


class Dtype:
    """Stands for numpy's dtype: its code and byte order, as text."""

    def __init__(self, code: object = "", *_: object) -> None:
        self.code, self.order = (code.decode("latin1") if isinstance(code, bytes) else str(code)), "<"

    def __setstate__(self, state: object) -> None:
        if isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">"):
            self.order = state[1]

    def plain(self) -> np.dtype | None:
        """Return numpy's dtype of a number; None for objects, text and records."""
        known = re.fullmatch(r"[?bBhHiIlLqQefd]|b1|[iu][1248]|f[248]", self.code)
        return np.dtype(self.order + self.code) if known else None


class Array:
    """Stands for numpy's array; ``value`` is the array of its bytes, None where it holds anything but numbers."""

    def __init__(self) -> None:
        self.value: np.ndarray | None = None

    def __setstate__(self, state: tuple[object, tuple[int, ...], object, object, object]) -> None:
        _, shape, dtype, columns_first, data = state
        kind = dtype.plain() if isinstance(dtype, Dtype) else None
        if kind is not None and isinstance(data, bytes):
            flat = np.frombuffer(data, kind)
            self.value = flat.reshape(shape, order="F" if columns_first else "C")


def _scalar(dtype: object, data: object) -> int | float | bool | None:
    """Return a number of numpy's as Python's, None for anything else."""
    kind = dtype.plain() if isinstance(dtype, Dtype) else None
    return np.frombuffer(data, kind, 1)[0].item() if kind is not None and isinstance(data, bytes) else None


# What stands for what Python's and numpy's modules are asked for, and why it is harmless:
_HARMLESS: dict[str, Callable[..., object]] = {
    "argparse.Namespace": argparse.Namespace,  # has neither __setstate__ nor __reduce__: attributes are set, no more
    # Text, by _path. Python 3.13 pickles them from another module.
    **{f"{module}.{kind}": _path for module in ("pathlib", "pathlib._local") for kind in (
        "PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath", "Path", "PurePath"
    )},
    # An empty dict, whatever its factory is: the factory is never called.
    "collections.defaultdict": _Settings,
    "types.SimpleNamespace": _Settings,
    **{f"datetime.{kind}": _Settings for kind in ("datetime", "date", "time", "timedelta", "timezone")},
    **{f"builtins.{kind}": _Settings for kind in ("int", "float", "bool", "str", "list", "dict", "tuple", "object")},
    **dict.fromkeys(("uuid.UUID", "decimal.Decimal", "typing.Any", "collections.deque"), _Settings),
    "torch.torch_version.TorchVersion": _Text,
    # Numbers are read from their bytes by np.frombuffer, with a dtype of numbers that is made here.
    "numpy.dtype": Dtype,
    "numpy.ndarray": Array,
    **{f"numpy.{core}.multiarray._reconstruct": lambda *_: Array() for core in ("core", "_core")},
    **{f"numpy.{core}.multiarray.scalar": _scalar for core in ("core", "_core")},
    **{f"numpy.{kind}": _Settings for kind in ("float16", "float32", "float64", "int32", "int64", "uint8", "bool_")},
}  # fmt: skip
# What torch's own list has, as far as weights need it: without bytearray, which takes a size and fills it.
_TORCHS = re.compile(
    r"collections\.(OrderedDict|Counter)|_codecs\.encode|builtins\.(set|complex)|torch\.(Size|device|serialization\._get_layout"
    r"|nn\.parameter\.Parameter|_utils\._rebuild_\w+|_tensor\._rebuild_from_type_v2|per_\w+|(\w+\.)*\w*(Tensor|Storage))"
)
_DTYPES = {str(kind) for kind in vars(torch).values() if isinstance(kind, torch.dtype)}


def _resolved(path: Path, names: Iterable[str]) -> tuple[list[Stands], tuple[str, ...]]:
    """Return what stands for each name that is not torch's own, and the names of which only settings are kept."""
    known: list[Stands] = []
    others = []
    for name in sorted(names):
        if name in _HARMLESS:
            known.append((_HARMLESS[name], name))
        elif name in _DTYPES or _TORCHS.fullmatch(name):
            continue
        elif name.partition(".")[0] in _NEVER or "." not in name:
            raise _asks_for(path, name)
        else:
            known.append((_Settings, name))
            others.append(name)
    return known, tuple(others)


# A name of Python, torch or numpy that is on no list is code. Classes of other libraries become settings.
_NEVER = frozenset(sys.stdlib_module_names) | {"torch", "numpy", "__builtin__", "exceptions"}


def _asks_for(path: Path, name: str) -> CheckpointError:
    shown = name.removeprefix("builtins.")
    said = foreign(name)
    return CheckpointError(
        f"{path}: holds '{shown}', which is neither a tensor nor a plain setting{said}; nothing of the file was run",
        f"if you trust the file, open it with the code that wrote it and {RESAVE}",
    )
