"""Strange recordings: what ``snnq eval --input`` makes of them."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from event_writers import (
    EVT2,
    EVT3,
    EVT21,
    draw,
    evt2_words,
    evt21_words,
    write_aedat2,
    write_aedat3,
    write_bin,
    write_dat,
)
from strange_inputs import Row, check, rows

from snnq.data.image_sets import CLASSES

GOOD = draw(500, 30, 34)
RECORDS = np.dtype([("x", "<u2"), ("y", "<u2"), ("p", "<i2"), ("t", "<i8")])
TWO = {"t": [1, 2], "x": [3, 4], "y": [5, 6], "p": [0, 1]}


def typed(name: str, make: Callable[[Path], object], *more: str) -> Callable[[Path], list[str]]:
    """Return what writes the file and returns the words that classify it by the built-in model."""

    def words(folder: Path) -> list[str]:
        make(folder / name)
        return ["eval", "digits", "--input", name, *more]

    return words


def data(content: bytes) -> Callable[[Path], object]:
    return lambda file: file.write_bytes(content)


def raw(header: bytes, words: list[int] | np.ndarray, kind: str = "<u2") -> Callable[[Path], object]:
    return data(header + np.asarray(words, kind).tobytes())


def save(file: Path, arrays: dict[str, Any]) -> None:
    with file.open("wb") as stream:  # of a name, numpy would change the ending
        np.savez(stream, **arrays)


def npz(**arrays: object) -> Callable[[Path], object]:
    return lambda file: save(file, {name: np.asarray(part) for name, part in (TWO | arrays).items()})


def npy(array: object, kind: str = "i8") -> Callable[[Path], object]:
    def make(file: Path) -> None:
        with file.open("wb") as stream:
            np.save(stream, np.array(array, kind))

    return make


def claimed(shape: tuple[int, ...]) -> bytes:
    """A .npy header of that shape, and nothing after it."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return header.getvalue()


def claiming(file: Path) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        for name in "txyp":
            archive.writestr(f"{name}.npy", claimed((10**5, 10**5)))


def bomb(file: Path) -> None:
    zeros = np.zeros(17 * 10**6, np.uint8)
    np.savez_compressed(file, t=zeros, x=zeros, y=zeros, p=zeros)


def hdf5(write: Callable[..., object]) -> Callable[[Path], object]:
    def make(file: Path) -> None:
        import h5py

        with h5py.File(file, "w") as root:
            write(root)

    return make


def filtered(number: int) -> Callable[[Path], object]:
    def write(root) -> None:
        import h5py

        made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        made.set_chunk((200,))
        made.set_filter(number, h5py.h5z.FLAG_OPTIONAL, (0,))
        kind, space = h5py.h5t.py_create(RECORDS), h5py.h5s.create_simple((200,))
        h5py.h5d.create(root.create_group("CD").id, b"events", kind, space, made).write_direct_chunk(
            (0,), bytes(2800), 0
        )

    return hdf5(write)


def linked(root) -> None:
    import h5py

    for name in "txyp":
        root[name] = h5py.ExternalLink("/dev/zero", "/x")


def outside(root) -> None:
    for name in "txyp":
        root.create_dataset(name, (100,), "u1", external=[("/dev/zero", 0, 100)])


def signed(root) -> None:
    records = np.zeros(100, RECORDS)
    records["p"], records["t"], records["x"] = 2 * (np.arange(100) % 2) - 1, np.arange(100), np.arange(100) % 34
    root.create_dataset("CD/events", data=records, chunks=(10,), compression="gzip")


def frames(shape: tuple[int, ...] = (4, 2, 16, 16), value: float = 1, key: str = "frames") -> Callable[[Path], object]:
    return lambda file: save(file, {key: np.full(shape, value)})


def events(number: int) -> Callable[[Path, str], None]:
    def look(folder: Path, output: str) -> None:
        assert json.loads(output[output.index("{") :])["events"] == number

    return look


def capitals(spec: str, names: list[str], write: Callable[[Path], object], *size: str) -> Callable[[Path], list[str]]:
    """Return what fills a data set's folder with files of these names, their endings in capitals, and prepares it."""

    def words(folder: Path) -> list[str]:
        for name in names:
            for number in range(12):
                file = folder / "set" / name.format(number)
                file.parent.mkdir(parents=True, exist_ok=True)
                write(file)
        return ["data", "prepare", f"{spec}:set", "--steps", "4", *size, "--workers", "1"]

    return words


def everywhere(*endings: str) -> list[str]:
    return [f"{split}/{label}/{{}}{ending}" for split in ("Train", "Test") for label in "01" for ending in endings]


GESTURES = [f"ibmGesture{split}/user0{{}}_led/{gesture}.NPY" for split in ("Train", "Test") for gesture in range(11)]
TIMES = [word for t in (100, 4097, 8200) for word in (0x8000 | t >> 12, 0x6000 | t & 0xFFF, 5, 0x2007)]
WORDS21 = evt21_words(GOOD)
MISSING = r"of.h5: '/CD/events' is compressed by the HDF5 filter "

TABLE = (
    Row("evt 3", typed("a.raw", raw(EVT3, TIMES)), 0, r"3 events in 8.1 ms"),
    Row(
        "evt 3 with triggers",
        typed("a.raw", raw(EVT3, [*TIMES, 0xA001, 0xE014, 0xF123, 0xF456, 0x7003, 0x2008])),
        0,
        "4 events in 8.1 ms",
    ),
    Row("evt 3 with nothing but triggers", typed("a.raw", raw(EVT3, [0x8000, 0x6001, 0xA001])), 2, "no event in it"),
    Row(
        "evt 3 whose clock goes back",
        typed("a.raw", raw(EVT3, [*TIMES, 0x8000, 0x2008])),
        2,
        "event 3 goes back in time by 8200 µs",
    ),
    Row(
        "evt 3 past the sensor",
        typed("a.raw", raw(EVT3, [0x8000, 5, 0x3000 | 39, 0x4003])),
        2,
        "x=40, allowed: 0 to 39",
    ),
    Row("evt 2", typed("a.raw", raw(EVT2, evt2_words(GOOD), "<u4")), 0, "500 events in"),
    Row("evt 2.1", typed("a.raw", raw(EVT21, WORDS21, "<u8")), 0, "500 events in"),
    Row(
        "evt 2.1 with its halves swapped",
        typed("a.RAW", raw(EVT21, evt21_words(GOOD, 0, True), "<u8")),
        0,
        "500 events",
    ),
    Row(
        "evt 2.1 that says so",
        typed("a.raw", raw(EVT21.replace(b"EVT21;", b"EVT21;endianness=legacy;"), evt21_words(GOOD, 0, True), "<u8")),
        0,
        "500 events",
    ),
    Row(
        "evt 2.1 in an unknown order",
        typed("a.raw", raw(EVT21.replace(b"EVT21;", b"EVT21;endianness=big;"), WORDS21, "<u8")),
        2,
        "endianness 'big' of EVT21 found in its header, allowed: little and legacy",
    ),
    Row(
        "evt 4", typed("a.raw", raw(b"% evt 4.0\n", WORDS21, "<u8")), 2, "encoding 'EVT4' .*allowed: EVT2, EVT21, EVT3"
    ),
    Row("evt cut in a word", typed("a.raw", data(EVT21 + WORDS21.tobytes()[:-3])), 2, "cut off: .* multiple of 8"),
    Row(
        "a header of two sizes",
        typed("a.raw", raw(EVT3.replace(b"% end", b"% geometry 640x480\n% end"), TIMES)),
        2,
        "header says 40x30 and 640x480 pixels|header says 640x480 and 40x30 pixels",
    ),
    Row(
        "a sensor of any size",
        typed("a.raw", raw(b"% evt 3.0\n% geometry 99999x99999\n", TIMES)),
        2,
        "sensor of 99999x99999 pixels, allowed: to 4096x4096",
        memory_mib=600,
    ),
    Row("a dat without events", typed("a.dat", data(b"% Version 2\n\x0c\x08")), 2, "a.dat: there is no event in it"),
    Row("a dat of triggers", typed("a.dat", data(b"% Version 2\n\x0e\x08" + bytes(16))), 2, "events of type 14"),
    Row("a dat that ends with its header", typed("a.dat", data(b"% Version 2\n")), 2, "cut off after its header"),
    Row(
        "a dat that lasts more than 71 minutes",
        typed("a.dat", lambda file: write_dat(file, GOOD | {"t": GOOD["t"] - GOOD["t"][250] & 0xFFFF_FFFF})),
        0,
        r"500 events in 29\d.\d ms",
    ),
    Row("an ending in capitals", typed("A.DAT", lambda file: write_dat(file, GOOD)), 0, "500 events in"),
    Row(
        "stamps above 2^63",
        typed("a.npz", npz(t=np.array([1, 2**63 + 5], np.uint64))),
        2,
        "t=9223372036854775813, allowed",
    ),
    Row(
        "times whose difference overflows",
        typed("a.npz", npz(t=np.array([-(2**63), 2**63 - 1]))),
        2,
        "t=9223372036854775807",
    ),
    Row("times of 1e30", typed("a.npz", npz(t=[1.0, 1e30])), 2, "it holds 1e[+]30, which is no time or place"),
    Row("times that are infinite", typed("a.npz", npz(t=[1.0, np.inf])), 2, "it holds inf"),
    Row("a column of 2^32 + 3", typed("a.npz", npz(x=[1, 2**32 + 3])), 2, "x=4294967299, allowed"),
    Row("a gesture at 2^32 + 3", typed("a.npy", npy([[2**32 + 3, 1, 1, 5], [1, 1, 1, 6]])), 2, "x=4294967299, allowed"),
    Row("a gesture at 2^60 ms", typed("a.npy", npy([[3, 1, 1, 2**60]])), 2, "1152921504606846976 ms, which no clock"),
    Row("a gesture of unsigned 2^63", typed("a.npy", npy([[3, 1, 1, 2**63]], "u8")), 2, "it holds 9.22337e[+]18"),
    Row("polarity -1 and 1", typed("a.npz", npz(p=[-1, 1])), 0, "2 events"),
    Row("polarity -1.0 and 1.0", typed("a.npz", npz(p=[-1.0, 1.0])), 0, "2 events"),
    Row("polarity -1 in a gesture", typed("a.npy", npy([[3, 1, -1, 5], [4, 1, 1, 6]])), 0, "2 events"),
    Row("polarity -1 in HDF5", typed("a.h5", hdf5(signed)), 0, "100 events"),
    Row(
        "polarity -1 in a dat",
        typed("a.dat", lambda file: write_dat(file, GOOD | {"p": GOOD["p"] * 2 - 1 & 15})),
        0,
        "500 ev",
    ),
    Row(
        "polarity -1 and 0",
        typed("a.npz", npz(p=[-1, 0])),
        2,
        "polarities of -1 and of 0 found, allowed: 0 and 1, or -1 and 1",
    ),
    Row("polarity 2", typed("a.npz", npz(p=[1, 2])), 2, "p=2, allowed: 0 to 1"),
    Row("HDF5 behind ECF", typed("of.h5", filtered(36559)), 1, MISSING + r"36559 \(ECF.*hdf5_ecf.*HDF5_PLUGIN_PATH"),
    *(
        ()
        if find_spec("hdf5plugin")
        else (
            Row(
                "HDF5 behind Blosc",
                typed("of.h5", filtered(32001)),
                1,
                MISSING + r"32001 \(Blosc\).*pip install hdf5plugin",
            ),
        )
    ),
    Row(
        "HDF5 behind a filter nobody knows",
        typed("of.h5", filtered(65000)),
        1,
        MISSING + "65000, which is not installed",
    ),
    Row(
        "HDF5 that claims more than it holds",
        typed("a.h5", hdf5(lambda root: root.create_dataset("events", (10**12,), RECORDS, chunks=(1000,)))),
        2,
        "14,000,000,000,000 bytes, but 0 are stored",
        memory_mib=600,
    ),
    Row(
        "compressed HDF5 that claims it",
        typed(
            "a.h5",
            hdf5(lambda root: root.create_dataset("events", (10**12,), RECORDS, chunks=(1000,), compression="gzip")),
        ),
        2,
        "unpack to 14,000,000,000,000",
        memory_mib=600,
    ),
    Row("HDF5 that points to other files", typed("a.h5", hdf5(linked)), 2, "'t' lies in another file", seconds=20),
    Row("HDF5 whose data are a device", typed("a.h5", hdf5(outside)), 2, "'/t' lies in another file", seconds=20),
    Row(
        "HDF5 without events",
        typed("a.h5", hdf5(lambda root: root.create_dataset("events", (0,), RECORDS))),
        2,
        "no event",
    ),
    Row(
        "an npz that claims 10^10 numbers",
        typed("a.npz", claiming),
        2,
        r"a.npz: .*float32 of shape \(100000, 100000\)",
        memory_mib=600,
    ),
    Row(
        "an npz bomb",
        typed("a.npz", bomb),
        2,
        "a.npz: its .* bytes unpack to 68,000,512, more than 128 times",
        memory_mib=600,
    ),
    Row(
        "an npy that claims 10^10 numbers",
        typed("a.npy", data(claimed((10**10, 4)))),
        2,
        "a.npy: .*cut off",
        memory_mib=600,
    ),
    Row(
        "an npz that is encrypted or worse",
        typed("a.npz", data(b"PK\x03\x04\x14\x00\x01" + bytes(99))),
        2,
        "cut off or damaged",
    ),
    Row("frames", typed("a.npz", frames()), 0, "2,048 events, 4 frames; float model"),
    Row("frames in an ending of capitals", typed("A.NPZ", frames(), "--json"), 0, '"by": null', check=events(2048)),
    Row(
        "frames of another T",
        typed("a.npz", frames((8, 2, 16, 16))),
        2,
        r"'frames' is \(8, 2, 16, 16\), the model takes \(4, ",
    ),
    Row(
        "frames of three channels",
        typed("a.npz", frames((4, 3, 16, 16))),
        2,
        "'frames' has 3 channels, the model digits takes 2",
    ),
    Row("frames that are no counts", typed("a.npz", frames(value=0.5)), 2, "no counts"),
    Row("an array of another name", typed("a.npz", frames(key="data")), 2, "no 't' in it, found data"),
    Row(
        "a named pipe as npz", typed("a.npz", os.mkfifo), 2, "a.npz: cannot be read .it is no regular file", seconds=20
    ),
    Row(
        "a device as raw",
        typed("a.raw", lambda file: file.symlink_to("/dev/zero")),
        2,
        "it is no regular file",
        seconds=20,
    ),
    Row(
        "an AEDAT 2 whose clock overflows",
        typed("a.aedat", lambda file: write_aedat2(file, GOOD | {"t": GOOD["t"] - GOOD["t"][250] & 0xFFFF_FFFF})),
        0,
        r"500 events in 29\d.\d ms",
    ),
    Row(
        "an AEDAT 3 with negative times",
        typed("a.aedat", lambda file: write_aedat3(file, GOOD | {"t": GOOD["t"] + 2**31 + 7})),
        0,
        r"500 events in 29\d.\d ms",
    ),
    Row(
        "a bin that is cut", typed("A.BIN", lambda file: (write_bin(file, GOOD), os.truncate(file, 2498))), 2, "cut off"
    ),
    Row(
        "frames in files of capitals",
        capitals("frames", everywhere(".NPZ"), frames(), "--image-size", "16x16"),
        0,
        r"\+ 24 test, 2 classes",
    ),
    Row(
        "N-MNIST in capitals",
        capitals("n-mnist", everywhere(".BIN"), lambda file: write_bin(file, GOOD)),
        0,
        r"\+ 24 test, 2 classes",
    ),
    Row(
        "CIFAR10-DVS in capitals",
        capitals("cifar10-dvs", [f"{name}/{{}}.AEDAT" for name in CLASSES], lambda file: write_aedat2(file, GOOD)),
        0,
        "10 classes",
    ),
    Row(
        "DVS128 Gesture in capitals",
        capitals("dvs128-gesture", GESTURES, npy([[3, 4, 1, 7], [5, 6, 0, 9]], "f8")),
        0,
        "11 classes",
    ),
)


@rows(*TABLE)
def test_it_is_read_or_refused_in_words(row, tmp_path, monkeypatch, capfd):
    check(row, tmp_path, monkeypatch, capfd)
