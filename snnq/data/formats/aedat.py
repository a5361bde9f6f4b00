"""``.aedat``: AEDAT 2 (jAER), AEDAT 3 (cAER) and AEDAT 4 (iniVation), which the library ``aedat``, an extra, reads."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import numpy as np

from snnq.base.errors import DataError, MissingLibraryError
from snnq.base.files import read_regular
from snnq.data.formats.raw import Raw, check_whole, head, unwrapped, wrong_type

_MAGIC_4 = b"#!AER-DAT4"


def read_4(file: Path) -> Raw:
    """Read the first stream of events; where there are more, as of two cameras, it says so.

    Raises DataError: it is no AEDAT 4 file, it is cut off or damaged, or has no events; MissingLibraryError: ``aedat``
    is not installed.
    """
    if not head(file, len(_MAGIC_4)).startswith(_MAGIC_4):
        raise wrong_type(file, f"an AEDAT 4 file, which begins with '{_MAGIC_4.decode()}'")
    try:
        import aedat
    except ImportError as error:
        raise MissingLibraryError(
            f"{file}: AEDAT 4 files are read_4 by the library 'aedat', which is not installed.",
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
    note = f"Of its {len(numbers)} streams of events the first is read." if len(numbers) > 1 else ""
    return Raw(t, x, y, p, (int(streams[number]["height"]), int(streams[number]["width"])), note)


DVS128 = (128, 128)
_MAGIC = b"#!AER-DAT"
# (height, width) by the chip's name in the header. Of those that are no DVS128, addresses are laid out as the DAVIS'.
_CHIPS = {"DVS128": DVS128, "DAVIS240": (180, 240), "DAVIS346": (260, 346), "DAVIS640": (480, 640)}
_PACKET_BYTES, _POLARITY, _EVENT_BYTES = 28, 1, 8
_COMPRESSED = 0x8000  # a bit of a packet's type; how long it is then stands elsewhere


def read(file: Path) -> Raw:
    """Read a file of version 2, 3 or 4.

    Raises DataError: it is none of them, it is cut off, or its chip is unknown.
    """
    magic = head(file, 16)
    if not magic.startswith(_MAGIC):
        raise wrong_type(file, f"an AEDAT file, which begins with '{_MAGIC.decode()}'")
    version = magic[len(_MAGIC) : len(_MAGIC) + 1]
    readers = {b"2": _read_2, b"3": _read_3, b"4": read_4}
    if version not in readers:
        raise DataError(f"{file}: AEDAT version '{version.decode('latin1')}' found, allowed: 2, 3 and 4.")
    return readers[version](file)


def _read_2(file: Path) -> Raw:
    """Read AEDAT 2: address and time in µs, 32 bits each, high byte first.

    A DVS128's addresses as SpikingJelly's ``CIFAR10DVS`` reads them, with a = address bits 1–7 and b = bits 8–14:
    x = 127 − b, y = 127 − a, p = 1 − bit 0. A DAVIS': x = w − 1 − bits 12–21, y = h − 1 − bits 22–30, p = bit 11, as
    tonic reads the DAVIS346's; frames, inertial and external events (bits 31 and 10) are left out.
    """
    data = read_regular(file)
    start = _header_end(data)
    check_whole(file, len(data) - start, _EVENT_BYTES)
    address, t = np.frombuffer(data, ">u4", offset=start).astype(np.uint32).reshape(-1, 2).T
    t = unwrapped(t, 32)
    height, width = sensor = _chip(file, data[:start])
    if sensor == DVS128:
        # A few may be marked by whatever wrote them; a DAVIS' rows stand in those bits.
        if 2 * np.count_nonzero(address >> 16) > len(address):
            raise DataError(
                f"{file}: its addresses have more bits than a DVS128's, and its header names no other chip.",
                "Save it again with the line '# AEChip: …' of the camera that recorded it.",
            )
        return Raw(t, 127 - (address >> 8 & 0x7F), 127 - (address >> 1 & 0x7F), 1 - (address & 1), sensor)
    seen = (address & 0x8000_0400) == 0
    address, t = address[seen].astype(np.int64), t[seen]
    return Raw(t, width - 1 - (address >> 12 & 0x3FF), height - 1 - (address >> 22 & 0x1FF), address >> 11 & 1, sensor)


def _header_end(data: bytes) -> int:
    """Return where lines of text that begin with '#' end; the first address may begin with that byte, too."""
    start = 0
    while line := re.compile(rb"#[^\x00-\x08\x0a-\x1f]*\r?\n").match(data, start):
        start = line.end()
        if b"end of ascii header" in line[0].lower():
            break
    return start


def _chip(file: Path, header: bytes) -> tuple[int, int]:
    """Return the size of the chip that the header names; a DVS128's, of CIFAR10-DVS, where it names none."""
    named = re.search(rb"(?:AEChip:|#Source \d+:)[ \t]*(\S+)", header)
    if named is None:
        return DVS128
    name = named[1].decode("latin1").rpartition(".")[2]
    for chip, sensor in _CHIPS.items():
        if name.upper().startswith(chip):
            return sensor
    raise DataError(f"{file}: chip '{name}' is unknown; known: {', '.join(_CHIPS)}.")


def _read_3(file: Path) -> Raw:
    """Read AEDAT 3.1: packets of a 28-byte header and events; those of the polarity packets that are marked valid.

    x = bits 17–31, y = bits 2–16, p = bit 1; the time's upper bits are the packet's ``eventTSOverflow``. As
    SpikingJelly's ``load_aedat_v3`` reads DVS128 Gesture's own files; tonic's reader takes every packet for polarity.
    """
    data = read_regular(file)
    ends = b"#!END-HEADER\r\n"
    if ends not in data:
        raise DataError(
            f"{file}: the file is cut off in its header, which does not end with '{ends.decode().strip()}'."
        )
    position = data.index(ends) + len(ends)
    sensor = _chip(file, data[:position])
    words, overflows = [np.zeros((0, 2), "<u4")], [np.zeros(0, np.int64)]
    while position < len(data):
        if len(data) - position < _PACKET_BYTES:
            raise DataError(f"{file}: the file is cut off in the packet at byte {position}.")
        kind, _, size, _, overflow, _, number, _ = struct.unpack_from("<HHIIIIII", data, position)
        if kind & _COMPRESSED:
            raise DataError(
                f"{file}: the packet at byte {position} is compressed, which is not read.",
                "Convert it to AEDAT 4, for instance by iniVation's DV.",
            )
        position += _PACKET_BYTES
        if len(data) - position < size * number:
            raise DataError(f"{file}: the file is cut off in the packet at byte {position - _PACKET_BYTES}.")
        if kind == _POLARITY:
            if size != _EVENT_BYTES:
                raise DataError(f"{file}: polarity events of {size} bytes found, allowed: {_EVENT_BYTES}.")
            words.append(np.frombuffer(data, "<u4", 2 * number, position).reshape(-1, 2))
            overflows.append(np.full(number, overflow, np.int64))
        position += size * number
    (word, t), overflow = np.concatenate(words).T, np.concatenate(overflows)
    valid = (word & 1) == 1
    word, time = word[valid], (overflow[valid] << 31) + t[valid].view(np.int32)
    return Raw(time, word >> 17 & 0x7FFF, word >> 2 & 0x7FFF, word >> 1 & 1, sensor)
