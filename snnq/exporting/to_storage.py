"""``--to fixed`` and ``--to coded``: a packed folder in the other storage, such as for readers that decode nothing."""

from __future__ import annotations

from pathlib import Path

from snnq.exporting.targets import ExportedLayer, Facts
from snnq.packed.converting import convert
from snnq.packed.storage import Storage
from snnq.packed.verification import verify
from snnq.schemes.scheme import scheme

_WRITTEN, _SPARSE = {"fixed": "words of a fixed width", "coded": "entropy-coded"}, "mask, and codes of weights not 0"


def to_fixed(folder: Path, out: Path) -> Facts:
    """Write a packed folder whose file holds every tensor as it is, codes in words."""
    return _convert(folder, out, "fixed")


def to_coded(folder: Path, out: Path) -> Facts:
    """Write a packed folder whose file is one coded stream."""
    return _convert(folder, out, "coded")


def _is_plain(name: str, storage: Storage) -> bool:
    return scheme(name).is_float and storage == "fixed"


def _convert(folder: Path, out: Path, storage: Storage) -> Facts:
    convert(folder, out, storage)
    found = verify(out)
    layers = tuple(
        ExportedLayer(
            one.name,
            one.scheme,
            _SPARSE if one.sparse else "float32" if _is_plain(one.scheme, storage) else _WRITTEN[storage],
            round((one.bits_on_disk + one.padding_bits) / one.bits_in_plan * scheme(one.scheme).bits, 3),
        )
        for one in found.layers
    )
    note = f"{found.sizes.total_bytes:,} bytes, {found.file_avg_bits:.3f} bits per weight in the file"
    return Facts(layers, (note,))
