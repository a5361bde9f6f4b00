from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from event_writers import (
    AEDAT2,
    REAL,
    draw,
    write_aedat2,
    write_aedat3,
    write_bin,
    write_dat,
    write_evt2,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from snnq.base.errors import DataError, MissingLibraryError
from snnq.data.event_files import READERS, Recording, read_events

REAL = REAL / "recordings"
real_files = pytest.mark.skipif(not REAL.is_dir(), reason="needs the recordings in ../shared/data")
with_aedat = pytest.mark.skipif(find_spec("aedat") is None, reason="needs the extra aedat4")


def columns(recording: Recording) -> dict[str, list[int]]:
    return {name: np.asarray(getattr(recording.events, name)).astype(int).tolist() for name in "txyp"}


def lists(events: dict[str, np.ndarray]) -> dict[str, list[int]]:
    return {name: part.tolist() for name, part in events.items()}


def write_npz(file: Path, e: dict[str, Any]) -> None:
    np.savez(file, **e)


def write_npy(file: Path, e: dict[str, np.ndarray]) -> None:
    records = np.zeros(len(e["t"]), [(name, np.int64) for name in "pxyt"])
    for name, part in e.items():
        records[name] = part
    np.save(file, records)


def write_hdf5(file: Path, e: dict[str, np.ndarray]) -> None:
    import h5py

    with h5py.File(file, "w") as root:
        for name, part in {"ts": e["t"], "x": e["x"], "y": e["y"], "pol": e["p"]}.items():
            root[f"events/{name}"] = part


WRITERS = {
    ".bin": (write_bin, (34, 34)),
    ".aedat": (write_aedat2, (128, 128)),
    ".dat": (write_dat, None),
    ".raw": (write_evt2, (30, 40)),
    ".npz": (write_npz, None),
    ".npy": (write_npy, None),
    ".h5": (write_hdf5, None),
    ".hdf5": (write_hdf5, None),
}


def test_every_format_but_aedat4_has_a_writer_here() -> None:
    assert READERS.keys() - WRITERS.keys() == {".aedat4"}


@pytest.mark.parametrize("suffix", WRITERS)
def test_what_is_written_is_read(tmp_path: Path, suffix: str) -> None:
    write, sensor = WRITERS[suffix]
    events = draw(500, 30, 34)
    write(tmp_path / f"a{suffix}", events)
    recording = read_events(tmp_path / f"a{suffix}")
    assert columns(recording) == lists(events)
    assert recording.events.t.dtype == np.int64
    assert recording.sensor == (sensor or (events["y"].max() + 1, events["x"].max() + 1))
    assert recording.sensor_known == (sensor is not None)


def test_a_large_bin_is_n_caltech101s(tmp_path: Path) -> None:
    write_bin(tmp_path / "a.bin", draw(500, 180, 240))
    assert read_events(tmp_path / "a.bin").sensor == (180, 240)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 239), st.integers(0, 255), st.integers(0, 255)), min_size=1, max_size=40))
def test_bin_is_read_as_tonic_reads_it(tmp_path_factory: pytest.TempPathFactory, rows: list) -> None:
    """Overflow events (y = 240) too. Times are kept small, so that the order stays."""
    from tonic.io import events_struct, read_mnist_file

    from snnq.data.formats.atis import read

    file = tmp_path_factory.mktemp("bin") / "a.bin"
    file.write_bytes(b"".join(bytes([x, 240 if y > 200 else y % 180, (y & 1) << 7, 0, t]) for x, y, t in rows))
    ours, theirs = read(file), read_mnist_file(str(file), dtype=events_struct)
    for name in "txyp":
        assert np.array_equal(getattr(ours, name), theirs[name])


@pytest.mark.parametrize("overflow", [0, 3])
def test_aedat_3(tmp_path: Path, overflow: int) -> None:
    events = draw(250, 128, 128)
    write_aedat3(tmp_path / "a.aedat", events, overflow)
    events["t"] = events["t"] + (overflow << 31)
    recording = read_events(tmp_path / "a.aedat")
    assert columns(recording) == lists(events)
    assert recording.sensor == (128, 128)


def test_a_davis_without_its_chips_name_is_no_dvs128(tmp_path: Path) -> None:
    """Its events, x in bits 12 to 21 and y in bits 22 to 30, would all be places of a DVS128, too."""
    e = draw(250, 180, 240)
    words = np.stack([(179 - e["y"]) << 22 | (239 - e["x"]) << 12 | e["p"] << 11, e["t"]], axis=1).astype(">u4")
    for header, named in ((b"#!AER-DAT2.0\r\n# AEChip: eu.seebetter.ini.chips.davis.Davis240C\r\n", True),
                          (b"#!AER-DAT2.0\r\n", False)):  # fmt: skip
        (tmp_path / "a.aedat").write_bytes(header + words.tobytes())
        if named:
            assert columns(read_events(tmp_path / "a.aedat")) == lists(e)
        else:
            assert "more bits than a DVS128's" in refused(tmp_path / "a.aedat")


def test_compressed_packets_of_aedat_3_are_named(tmp_path: Path) -> None:
    write_aedat3(tmp_path / "a.aedat", draw(250, 128, 128))
    data = bytearray((tmp_path / "a.aedat").read_bytes())
    first = data.index(b"#!END-HEADER\r\n") + len(b"#!END-HEADER\r\n")
    data[first + 1] |= 0x80  # of the 16 bits of its type, low byte first
    (tmp_path / "a.aedat").write_bytes(data)
    assert f"the packet at byte {first} is compressed" in refused(tmp_path / "a.aedat")


@pytest.mark.parametrize(("streams", "note"), [(1, ""), (2, "Of its 2 streams of events the first is read.")])
def test_aedat_4_of_two_cameras_says_which_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, streams: int, note: str
) -> None:
    """A stand-in for the library, which has no writer."""
    made = np.array([(5, 1, 2, True), (9, 3, 4, False)], [("t", "u8"), ("x", "u2"), ("y", "u2"), ("on", "?")])

    class Decoder:
        def __init__(self, path: str) -> None:
            self.packets = iter([{"stream_id": 0, "events": made}, {"stream_id": 1, "events": made[:1]}])

        def id_to_stream(self) -> dict[int, dict[str, object]]:
            return {number: {"type": "events", "height": 8, "width": 9} for number in range(streams)}

        def __iter__(self) -> Iterator[dict[str, object]]:
            return self.packets

    monkeypatch.setitem(sys.modules, "aedat", SimpleNamespace(Decoder=Decoder))
    (tmp_path / "a.aedat4").write_bytes(b"#!AER-DAT4.0\r\n")
    found = read_events(tmp_path / "a.aedat4")
    assert (found.note, found.sensor, columns(found)["t"], columns(found)["p"]) == (note, (8, 9), [5, 9], [1, 0])


@pytest.mark.parametrize("kind", ["f8", "f4", "u2", "i8", "u8"])
def test_tonics_gesture_columns_are_x_y_p_and_milliseconds(tmp_path: Path, kind: str) -> None:
    np.save(tmp_path / "a.npy", np.array([[3, 4, 1, 7], [5, 6, 0, 9]], kind))
    assert columns(read_events(tmp_path / "a.npy")) == {"t": [7000, 9000], "x": [3, 5], "y": [4, 6], "p": [1, 0]}


# Independent of our readers: the files' bytes, by the formats' descriptions.
def aedat2_by_hand(file: Path) -> dict[str, list[int]]:
    data = file.read_bytes()
    start = 0
    while data[start : start + 1] == b"#":
        start = data.index(b"\n", start) + 1
    words = np.frombuffer(data[start:], ">u4").astype(np.int64).reshape(-1, 2)
    words = words[words[:, 0] < 2**31]
    address = words[:, 0]
    assert not (address // 2**10 % 2).any()
    return {"t": words[:, 1].tolist(), "x": (239 - address // 2**12 % 2**10).tolist(),
            "y": (179 - address // 2**22).tolist(), "p": (address // 2**11 % 2).tolist()}  # fmt: skip


def dat_by_hand(file: Path) -> dict[str, list[int]]:
    data = file.read_bytes()
    start = data.rindex(b"%", 0, 200)
    words = np.frombuffer(data[data.index(b"\n", start) + 3 :], "<u4").astype(np.int64).reshape(-1, 2)
    word = words[:, 1]
    return {"t": words[:, 0].tolist(), "x": (word % 2**14).tolist(), "y": (word // 2**14 % 2**14).tolist(),
            "p": (word // 2**28 % 2).tolist()}  # fmt: skip


@real_files
def test_the_real_aedat2() -> None:
    file = REAL / "aedat2_davis240c_IMU_translBoxes.aedat"
    recording = read_events(file)
    assert (len(recording.events), recording.sensor) == (162_771, (180, 240))
    assert (recording.events.t[0], recording.events.t[-1]) == (294_976_755, 297_049_406)
    assert columns(recording) == aedat2_by_hand(file)


@real_files
def test_the_real_dat() -> None:
    file = REAL / "tonic_sample_ncars.dat"
    recording = read_events(file)
    assert (len(recording.events), recording.sensor, recording.sensor_known) == (2009, (42, 78), False)
    assert (recording.events.t[0], recording.events.t[-1]) == (0, 99_952)
    assert columns(recording) == dat_by_hand(file)


@real_files
def test_the_real_gesture() -> None:
    import h5py

    file = REAL / "dvs128_gesture_0_0.hdf5"
    recording = read_events(file)
    assert (len(recording.events), recording.sensor) == (213_025, (128, 128))
    assert (recording.events.t[0], recording.events.t[-1]) == (28, 5_044_461)
    with h5py.File(file) as root:
        data: Any = root["data/0"]
        events = np.asarray(data[()])
    assert columns(recording) == {name: events[name].astype(int).tolist() for name in "txyp"}


@real_files
@with_aedat
def test_the_real_aedat4() -> None:
    recording = read_events(REAL / "tonic_sample.aedat4")
    assert (len(recording.events), recording.sensor) == (111_954, (240, 320))
    assert recording.events.t[0] == 1_605_537_493_718_345
    assert recording.events.t[-1] - recording.events.t[0] == 589_917


@real_files
@pytest.mark.skipif(find_spec("aedat") is not None, reason="the extra aedat4 is installed")
def test_aedat4_without_its_library() -> None:
    with pytest.raises(MissingLibraryError, match="'aedat', which is not installed") as caught:
        read_events(REAL / "tonic_sample.aedat4")
    assert "snnq[aedat4]" in caught.value.hint


def refused(file: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_events(file)
    assert str(file) in caught.value.message
    assert "\n" not in caught.value.message
    return caught.value.message


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_file_cut_in_the_middle(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"a{suffix}"
    WRITERS[suffix][0](file, draw(500, 30, 34))
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2 | 1])
    assert "cut off" in refused(file)


@pytest.mark.parametrize("name", ["aedat2_davis240c_IMU_translBoxes.aedat", "tonic_sample_ncars.dat",
                                  "dvs128_gesture_0_0.hdf5"])  # fmt: skip
@real_files
def test_a_real_file_cut_in_the_middle(tmp_path: Path, name: str) -> None:
    data = (REAL / name).read_bytes()
    file = tmp_path / name
    file.write_bytes(data[: len(data) * 3 // 5 | 1])
    assert "cut off" in refused(file)


@real_files
@with_aedat
def test_a_real_aedat4_cut_in_the_middle(tmp_path: Path) -> None:
    data = (REAL / "tonic_sample.aedat4").read_bytes()
    for share in (0.001, 0.1, 0.6):
        (tmp_path / "a.aedat4").write_bytes(data[: int(len(data) * share)])
        assert "cut off" in refused(tmp_path / "a.aedat4")


def test_aedat3_cut_anywhere_is_named_or_shorter(tmp_path: Path) -> None:
    write_aedat3(tmp_path / "a.aedat", draw(250, 128, 128))
    data = (tmp_path / "a.aedat").read_bytes()
    for length in range(20, len(data), 37):
        (tmp_path / "b.aedat").write_bytes(data[:length])
        assert "cut off" in refused(tmp_path / "b.aedat")


@pytest.mark.parametrize("suffix", sorted(READERS.keys() - {".bin"}))
@pytest.mark.parametrize("content", [b"no such file at all", b"%" * 100, b"PK\x03\x04" + bytes(60), bytes(300)])
def test_a_file_of_another_type(tmp_path: Path, suffix: str, content: bytes) -> None:
    file = tmp_path / f"a{suffix}"
    file.write_bytes(content)
    assert any(words in refused(file) for words in ("is not a", "cut off"))


@pytest.mark.parametrize("suffix", sorted(READERS))
def test_empty_files_pipes_and_folders_do_not_hang(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"empty{suffix}").touch()
    assert "empty" in refused(tmp_path / f"empty{suffix}")
    os.mkfifo(tmp_path / f"pipe{suffix}")
    assert "no regular file" in refused(tmp_path / f"pipe{suffix}")
    (tmp_path / f"folder{suffix}").mkdir()
    assert "directory" in refused(tmp_path / f"folder{suffix}")
    assert "No such file" in refused(tmp_path / f"gone{suffix}")


@pytest.mark.parametrize("suffix", [".aedat", ".npz", ".npy", ".h5", ".bin"])
def test_events_that_go_back_in_time(tmp_path: Path, suffix: str) -> None:
    events = draw(100, 30, 34)
    events["t"][50:] -= events["t"][50] - events["t"][49] + 5000
    events["t"] -= events["t"].min()
    WRITERS[suffix][0](tmp_path / f"a{suffix}", events)
    assert "goes back in time by" in refused(tmp_path / f"a{suffix}")


def test_a_little_disorder_is_sorted(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", t=[10, 1500, 900, 1500], x=[0, 1, 2, 3], y=[0, 0, 0, 0], p=[0, 1, 0, 1])
    recording = read_events(tmp_path / "a.npz")
    assert recording.events.t.tolist() == [10, 900, 1500, 1500]
    assert recording.events.x.tolist() == [0, 2, 1, 3]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"t": [1], "x": [1], "y": [1]}, "no 'p' in it, found t, x, y"),
        ({"t": [1, 2], "x": [1], "y": [1], "p": [1]}, "of one length"),
        ({"t": [1], "x": [1.5], "y": [1], "p": [1]}, "no whole numbers"),
        ({"t": [1], "x": [-1], "y": [1], "p": [1]}, "x=-1"),
        ({"t": [1], "x": [1], "y": [1], "p": [2]}, "p=2"),
        ({"t": ["a"], "x": [1], "y": [1], "p": [1]}, "must be whole numbers"),
        ({"t": [], "x": [], "y": [], "p": []}, "no event"),
        ({"t": [1], "x": [9999], "y": [1], "p": [1]}, "x=9999"),
    ],
)
def test_arrays_of_another_content(tmp_path: Path, content: dict, words: str) -> None:
    arrays: dict[str, Any] = {name: np.array(part) for name, part in content.items()}
    np.savez(tmp_path / "a.npz", **arrays)
    assert words in refused(tmp_path / "a.npz")


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple:
            return (os.mkdir, (str(tmp_path / "sprung"),))

    np.savez(tmp_path / "a.npz", t=np.array([Trap()], object), x=[1], y=[1], p=[1])
    np.save(tmp_path / "a.npy", np.array([Trap()], object))
    for name in ("a.npz", "a.npy"):
        refused(tmp_path / name)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.npy", np.zeros((3, 5)), "(N, 4)"),
        ("a.npy", np.full((3, 4), np.nan), "no whole numbers"),
        ("a.npy", np.full((3, 4), 0.5), "no whole numbers"),
    ],
)
def test_npy_of_another_content(tmp_path: Path, name: str, content: np.ndarray, words: str) -> None:
    np.save(tmp_path / name, content)
    assert words in refused(tmp_path / name)


def test_unknown_endings_chips_encodings_and_versions(tmp_path: Path) -> None:
    (tmp_path / "a.aedat5").write_bytes(b"x")
    assert "known: .aedat" in refused(tmp_path / "a.aedat5")
    write_aedat2(tmp_path / "a.aedat", draw(9, 9, 9), AEDAT2 + b"# AEChip: ch.cochlea\r\n")
    assert "'cochlea' is unknown" in refused(tmp_path / "a.aedat")
    (tmp_path / "a.aedat").write_bytes(b"#!AER-DAT7.0\r\n" + bytes(80))
    assert "version '7'" in refused(tmp_path / "a.aedat")
    write_evt2(tmp_path / "a.raw", draw(9, 9, 9), b"% evt 4.0\n")
    assert "'EVT4' found" in refused(tmp_path / "a.raw")


def test_the_sensor_that_an_hdf5_file_says(tmp_path: Path) -> None:
    import h5py

    for name, said in (("geometry", {"geometry": "640x480"}), ("sides", {"height": 480, "width": np.array([640])})):
        write_hdf5(tmp_path / f"{name}.hdf5", draw(100, 120, 160))
        with h5py.File(tmp_path / f"{name}.hdf5", "a") as root:
            root.attrs.update(said)
        found = read_events(tmp_path / f"{name}.hdf5")
        assert (found.sensor, found.sensor_known) == ((480, 640), True)
    with h5py.File(tmp_path / "sides.hdf5", "a") as root:
        root.attrs["geometry"] = b"346x260"
    with pytest.raises(DataError, match="its header says"):
        read_events(tmp_path / "sides.hdf5")


def test_hdf5_with_several_recordings(tmp_path: Path) -> None:
    import h5py

    with h5py.File(tmp_path / "a.h5", "w") as root:
        for name in ("a", "b"):
            root[name] = np.zeros(3, [(part, int) for part in "txyp"])
    assert "one recording with t, x, y and p, found /a, /b" in refused(tmp_path / "a.h5")


def test_tonic_is_imported_only_where_a_file_needs_it(tmp_path: Path) -> None:
    write_bin(tmp_path / "a.bin", draw(20, 20, 20))
    code = f"import sys; from pathlib import Path; from snnq.data.event_files import read_events; read_events(Path({str(tmp_path / 'a.bin')!r})); assert not {{'tonic', 'h5py', 'expelliarmus', 'torch'}} & sys.modules.keys()"  # fmt: skip  # noqa: E501
    subprocess.run([sys.executable, "-c", code], check=True)
