"""``.dat`` and ``.raw``: Prophesee's recordings, a header of lines that begin with '%' and words after it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from snnq.base.errors import DataError
from snnq.base.files import read_regular
from snnq.data.formats import evt
from snnq.data.formats.raw import Raw, check_whole, unwrapped, wrong_type

_DECODERS = {"EVT2": (evt.decode_evt2, "<u4"), "EVT21": (evt.decode_evt21, "<u8"), "EVT3": (evt.decode_evt3, "<u2")}
_ORDERS = ("little", "legacy")
_DAT_EVENTS = (0, 12)  # Event2d, of the first cameras, and EventCD: the same words
_DAT_BITS = {"1": (9, 8, 1), "2": (14, 14, 4)}  # of x, y and p, by the header's version


def read_dat(file: Path) -> Raw:
    """Read events of 8 bytes: time in µs, then p, y and x in one word. A polarity of −1 is read as it is.

    Raises DataError: it is no such file, it is cut off or damaged, or holds something else than events.
    """
    data = read_regular(file)
    header, start = _header(file, data)
    if len(data) < start + 2:
        raise DataError(f"{file}: the file is cut off after its header.")
    kind, size = data[start : start + 2]
    if kind not in _DAT_EVENTS or size != 8:
        raise DataError(f"{file}: events of type {kind} and {size} bytes found, allowed: types 0 and 12 of 8 bytes.")
    version = header.get("Version", "2")
    if version not in _DAT_BITS:
        raise DataError(f"{file}: version '{version}' found in its header, allowed: {' and '.join(_DAT_BITS)}.")
    check_whole(file, len(data) - start - 2, 8)
    t, word = np.frombuffer(data, "<u4", offset=start + 2).reshape(-1, 2).T
    x_bits, y_bits, p_bits = _DAT_BITS[version]
    x, y = word & (1 << x_bits) - 1, word >> x_bits & (1 << y_bits) - 1
    p = (word >> x_bits + y_bits & (1 << p_bits) - 1).astype(np.int8)
    if p_bits == 4:
        p = (p ^ 8) - np.int8(8)  # −1 is 15
    return Raw(unwrapped(t, 32), x.astype(np.uint16), y.astype(np.uint16), p, _sensor(file, header))


def read_raw(file: Path) -> Raw:
    """Read EVT 2.0, 2.1 or 3.0, as the header says; EVT 2.1 in both orders of its halves.

    Raises DataError: it is no such file, it is cut off or damaged, or of another encoding.
    """
    data = read_regular(file)
    header, start = _header(file, data)
    name, _, options = header.get("format", "").partition(";")
    if not name and "evt" in header:  # older files
        name = "EVT" + header["evt"].removesuffix(".0").replace(".", "")
    if name not in _DECODERS:
        raise DataError(
            f"{file}: encoding '{name}' found in its header, allowed: {', '.join(_DECODERS)}.",
            "Convert it to one of these, for instance by OpenEB's metavision_file_to_dat.",
        )
    fields = header | dict(option.split("=", 1) for option in options.split(";") if "=" in option)
    order = fields.get("endianness", "little")
    if order not in _ORDERS or (order == "legacy" and name != "EVT21"):
        raise DataError(
            f"{file}: endianness '{order}' of {name} found in its header, allowed: {' and '.join(_ORDERS)}."
        )
    decode, kind = _DECODERS[name]
    check_whole(file, len(data) - start, np.dtype(kind).itemsize, "data")
    words = np.frombuffer(data, kind, offset=start)
    swapped = order == "legacy" if "endianness" in fields else name == "EVT21" and evt.halves_swapped(words)
    found = decode(words >> 32 | words << 32 if swapped else words)
    return Raw(found.t, found.x, found.y, found.p, _sensor(file, fields))


def _header(file: Path, data: bytes) -> tuple[dict[str, str], int]:
    """Return the lines "% key value" up to "% end" or the first other one, and where the data begin."""
    found, start = {}, 0
    while data[start : start + 2] == b"% ":
        end = data.find(b"\n", start)
        if end < 0:
            raise DataError(f"{file}: the file is cut off in its header.")
        key, _, value = data[start + 2 : end].decode("latin1").strip().partition(" ")
        start = end + 1
        if key == "end":
            break
        found[key] = value.strip()
    if not start:
        raise wrong_type(file, "a Prophesee file, which begins with '% '")
    return found, start


def _sensor(file: Path, header: dict[str, str]) -> tuple[int, int] | None:
    """Return (height, width) where the header says them, in one of its three ways; they must agree."""
    named = {key.lower(): value for key, value in header.items()}
    width, _, height = named.get("geometry", "").partition("x")
    found = {(h, w) for h, w in ((height, width), (named.get("height", ""), named.get("width", ""))) if h or w}
    if not found:
        return None
    sizes = {(_number(height), _number(width)) for height, width in found}
    if len(sizes) > 1 or 0 in (size := sizes.pop()):
        said = " and ".join(f"{width}x{height}" for height, width in sorted(found))
        raise DataError(f"{file}: its header says {said} pixels.")
    return size


def _number(text: str) -> int:
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else 0
