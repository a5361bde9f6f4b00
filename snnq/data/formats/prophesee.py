"""``.dat`` and ``.raw``: Prophesee's recordings, a header of lines that begin with '%' and words after it.

Words of EVT 2.0, 2.1 and 3.0 are decoded a whole recording at a time. The rules are those of OpenEB's decoders
(docs.prophesee.ai, "Event formats"; github.com/prophesee-ai/openeb):

- what comes before the first TIME_HIGH has no time, and is left out;
- TIME_HIGH has overflowed where it falls by all of its range but ten steps; by less, the clock went back;
- EVT 3: a TIME_HIGH that differs from the last sets the lower bits to 0, until a TIME_LOW comes. An event whose row
  or, in a vector, whose base was not told yet is left out; so is one of a second camera, or of exposure.

Triggers, monitoring words with their continuation, and what is reserved, are no events and left out.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from snnq.base.errors import DataError
from snnq.base.files import read_regular
from snnq.data.formats.raw import Raw, check_whole, said_sensor, unwrapped, wrong_type

_HIGH = 8
_LOST = 10  # so many TIME_HIGHs may be missing around an overflow


def decode_evt2(words: np.ndarray) -> Raw:
    """Return the events of words (N,) uint32: type 4 | time 6 | x 11 | y 11, or TIME_HIGH 4 | time 28."""
    words, kind = _begun(words, 28)
    seen, is_high = np.flatnonzero(kind <= 1), kind == _HIGH
    base = _overflowed(words[is_high] & 0xFFF_FFFF, 28) << 6
    word = words[seen]
    t = _latest(base, is_high, seen) + (word >> 22 & 63)
    return Raw(t, (word >> 11 & 0x7FF).astype(np.uint16), (word & 0x7FF).astype(np.uint16), kind[seen])


def decode_evt21(words: np.ndarray) -> Raw:
    """Return the events of words (N,) uint64: type 4 | time 6 | x 11 | y 11 | 32 pixels from x on, or TIME_HIGH."""
    words, kind = _begun(words, 60)
    seen, is_high = np.flatnonzero(kind <= 1), kind == _HIGH
    base = _overflowed(words[is_high] >> 32 & 0xFFF_FFFF, 28) << 6
    word = words[seen]
    t = _latest(base, is_high, seen) + (word >> 54 & 63).astype(np.int64)
    which, offset = _pixels(word.astype(np.uint32))
    x, y = ((word >> shift & 0x7FF).astype(np.uint16) for shift in (43, 32))
    return Raw(t[which], x[which] + offset, y[which], kind[seen][which])


def halves_swapped(words: np.ndarray) -> bool:
    """Whether EVT 2.1's words (N,) lie with the lower half last, as old cameras write them ("legacy").

    A TIME_HIGH's other half is empty, so that either order has its own.
    """
    upper, lower = words >> 32, words & 0xFFFF_FFFF
    as_now = int(np.count_nonzero((upper >> 28 == _HIGH) & (lower == 0)))
    return int(np.count_nonzero((lower >> 28 == _HIGH) & (upper == 0))) > as_now


def decode_evt3(words: np.ndarray) -> Raw:
    """Return the events of words (N,) uint16: type 4 | content 12; row, base and time are as told before."""
    words, kind = _begun(words, 12)
    is_row, is_base, single = kind <= 1, kind == 3, kind == 2
    seen = np.flatnonzero(single | (kind == 4) | (kind == 5))
    row = _latest(words[is_row], is_row, seen, none=0xFFFF)
    base = _latest(words[is_base], is_base, seen, none=0)
    known = (row < 0x800) & (single[seen] | (base != 0))
    word, single, size = words[seen], single[seen], np.array([12, 8], np.uint8)[kind[seen] & 1]
    # A vector begins where the one before it ended, counted from the base.
    passed = np.cumsum(np.where(single, 0, size), dtype=np.int64)
    before = passed - np.where(single, 0, size)
    new = np.diff(_latest(np.arange(np.count_nonzero(is_base)), is_base, seen, none=-1), prepend=-2) != 0
    before -= np.maximum.accumulate(np.where(new, before, 0))
    place = np.where(single, word, base)  # both are polarity 1 | x 11
    x = (place & 0x7FF) + np.where(single, 0, before)
    mask = np.where(single, 1, word & (1 << size.astype(np.uint16)) - 1).astype(np.uint16)
    x, row, p, mask = x[known].astype(np.int32), row[known], (place[known] >> 11 & 1).astype(np.uint8), mask[known]
    t = _times(words, kind, seen[known])
    which, offset = _pixels(mask)
    return Raw(t[which], x[which] + offset, row[which], p[which])


def _times(words: np.ndarray, kind: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return the time at ``places`` of EVT 3's words, int64 µs."""
    is_time = (kind == 6) | (kind == _HIGH)
    told, is_high = words[is_time] & 0xFFF, kind[is_time] == _HIGH
    each = np.arange(len(told))
    base = _overflowed(told[is_high], 12) << 12
    changed = np.zeros(len(told), bool)
    changed[is_high] = np.diff(base, prepend=-1) != 0
    low, reset = (np.maximum.accumulate(np.where(marks, each, -1)) for marks in (~is_high, changed))
    return _latest(_latest(base, is_high, each) + np.where(low > reset, told[low], 0), is_time, places)


def _begun(words: np.ndarray, shift: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the words from the first TIME_HIGH on, and their types."""
    kind = (words >> shift).astype(np.uint8)
    first = int((kind == _HIGH).argmax()) if (kind == _HIGH).any() else len(words)
    return words[first:], kind[first:]


def _overflowed(high: np.ndarray, bits: int) -> np.ndarray:
    """Return TIME_HIGHs of so many bits with their overflows before them, int64."""
    high = high.astype(np.int64)
    overflows = np.diff(high, prepend=high[:1]) <= _LOST + 1 - (1 << bits)
    return high + (np.cumsum(overflows) << bits)


def _latest(values: np.ndarray, marks: np.ndarray, places: np.ndarray, none: int = 0) -> np.ndarray:
    """Return the value of the last mark at or before each place, ``none`` where there is none; one value a mark."""
    numbers = np.cumsum(marks, dtype=np.uint32 if len(marks) < 2**32 else np.uint64)
    return np.concatenate([np.array([none], values.dtype), values])[numbers[places]]


def _pixels(masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return, for each bit that is set, from low to high, which mask it is in and its place there."""
    width = 8 * masks.itemsize
    octets = masks.astype(masks.dtype.newbyteorder("<")).view(np.uint8)
    found = np.flatnonzero(np.unpackbits(octets, bitorder="little"))
    return found // width, (found % width).astype(np.uint16)


_DECODERS = {"EVT2": (decode_evt2, "<u4"), "EVT21": (decode_evt21, "<u8"), "EVT3": (decode_evt3, "<u2")}
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
    return Raw(unwrapped(t, 32), x.astype(np.uint16), y.astype(np.uint16), p, said_sensor(file, header))


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
    swapped = order == "legacy" if "endianness" in fields else name == "EVT21" and halves_swapped(words)
    found = decode(words >> 32 | words << 32 if swapped else words)
    return Raw(found.t, found.x, found.y, found.p, said_sensor(file, fields))


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
