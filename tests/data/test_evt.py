"""Prophesee's event words: vectors typed by hand, whose values OpenEB's decoders give, and writer → decoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from event_writers import EVT2, EVT3, EVT21, evt2_words, evt3_words, evt21_words
from hypothesis import given, settings
from hypothesis import strategies as st

from snnq.base.errors import DataError
from snnq.data.event_files import read_events
from snnq.data.formats.prophesee import decode_evt2, decode_evt3, decode_evt21, halves_swapped, read_dat, read_raw
from snnq.data.formats.raw import Raw


def rows(found: Raw) -> list[tuple[int, ...]]:
    return listed({name: getattr(found, name) for name in "xypt"})


def listed(e: dict[str, np.ndarray]) -> list[tuple[int, ...]]:
    return list(zip(*(e[name].astype(int).tolist() for name in "xypt"), strict=True))


@pytest.mark.parametrize(
    ("words", "events"),
    [
        # a trigger and two monitoring words lie between
        ([0x8000_0001, 0x0A80_3806, 0xA000_0101, 0x1000_0000, 0xE123_4567, 0xF000_0005, 0x8000_0002, 0x1000_1001],
         [(7, 6, 0, 64 + 42), (0, 0, 1, 64), (2, 1, 1, 128)]),
        ([0x0A80_3806, 0x8000_0001, 0x0A80_3806], [(7, 6, 0, 106)]),  # no time yet
        ([0x8FFF_FFFF, 0x1000_1001, 0x8000_0000, 0x1000_1001], [(2, 1, 1, 2**34 - 64), (2, 1, 1, 2**34)]),
        ([0x8FFF_FFFF, 0x1000_1001, 0x8000_000A, 0x1000_1001], [(2, 1, 1, 2**34 - 64), (2, 1, 1, 2**34 + 640)]),
        ([0x8FFF_FFFF, 0x1000_1001, 0x8000_000B, 0x1000_1001], [(2, 1, 1, 2**34 - 64), (2, 1, 1, 704)]),
        ([0x8000_0005, 0x1000_1001, 0x8000_0003, 0x1000_1001], [(2, 1, 1, 320), (2, 1, 1, 192)]),  # the clock went back
        ([0x2000_1001, 0xA000_0001], []),
        ([], []),
    ],
)  # fmt: skip
def test_evt2(words: list[int], events: list[tuple[int, ...]]) -> None:
    assert rows(decode_evt2(np.array(words, "<u4"))) == events


HIGH21 = 8 << 60


@pytest.mark.parametrize(
    ("words", "events"),
    [
        ([HIGH21 | 1 << 32, 1 << 60 | 5 << 54 | 64 << 43 | 10 << 32 | 0b1011, 6 << 54 | 96 << 43 | 11 << 32 | 1],
         [(64, 10, 1, 69), (65, 10, 1, 69), (67, 10, 1, 69), (96, 11, 0, 70)]),
        ([HIGH21, 0xA << 60 | 1 << 32, 0xE << 60 | 3, 0xF << 60, 1 << 60 | 8 << 43 | 0x8000_0001],
         [(8, 0, 1, 0), (39, 0, 1, 0)]),
        ([1 << 60 | 1, HIGH21, 1 << 60], []),  # before the first TIME_HIGH; no pixel at all
        ([HIGH21 | 0xFFF_FFFF << 32, 1, HIGH21, 1], [(0, 0, 0, 2**34 - 64), (0, 0, 0, 2**34)]),
        ([HIGH21 | 9 << 32, 1, HIGH21 | 7 << 32, 1], [(0, 0, 0, 576), (0, 0, 0, 448)]),
    ],
)  # fmt: skip
def test_evt21(words: list[int], events: list[tuple[int, ...]]) -> None:
    found = np.array(words, "<u8")
    assert rows(decode_evt21(found)) == events
    assert not halves_swapped(found)
    assert halves_swapped(found >> 32 | found << 32)


@pytest.mark.parametrize(
    ("words", "events"),
    [
        # What one library reads as 8193, 12296 and 16396 µs.
        ([0x8000, 0x6064, 5, 0x2007, 0x6FFF, 0x2007, 0x8001, 0x6001, 0x2007, 0x8002, 0x6008, 0x2007, 0x8003, 0x600C,
          0x2807],
         [(7, 5, 0, 100), (7, 5, 0, 4095), (7, 5, 0, 4097), (7, 5, 0, 8200), (7, 5, 1, 12300)]),
        ([0x8000, 0x6064, 5, 0x2007, 0xA001, 0x6065, 0xE014, 0xF123, 0xF456, 0x7003, 0xB000, 0xC000, 0xD000, 0x2008],
         [(7, 5, 0, 100), (8, 5, 0, 101)]),
        # Base 10, then 12 + 8 + 12 pixels, and a single event between; VECT_8 has no more than 8 bits.
        ([0x8000, 0x6001, 0, 0x380A, 0x4805, 0x5F80, 0x2003, 0x4001],
         [(10, 0, 1, 1), (12, 0, 1, 1), (21, 0, 1, 1), (29, 0, 1, 1), (3, 0, 0, 1), (30, 0, 1, 1)]),
        ([0x8000, 0, 0x300A, 0x4000, 0x300A, 0x4001], [(10, 0, 0, 0)]),  # the same base again
        ([0x8001, 0x6064, 5, 0x2007, 0x8002, 0x2008, 0x6001, 0x2009],
         [(7, 5, 0, 4196), (8, 5, 0, 8192), (9, 5, 0, 8193)]),
        ([0x8001, 0x6064, 5, 0x2007, 0x8001, 0x2008], [(7, 5, 0, 4196), (8, 5, 0, 4196)]),  # the same TIME_HIGH again
        ([5, 0x6001, 0x2007, 0x8001, 6, 0x2008], [(8, 6, 0, 4096)]),  # before the first TIME_HIGH
        ([0x8001, 0x2007, 6, 0x2008], [(8, 6, 0, 4096)]),  # no row yet
        ([0x8001, 6, 0x4001, 0x5001, 0x3020, 0x4001], [(32, 6, 0, 4096)]),  # no base yet
        ([0x8001, 0x0805, 0x2007, 0x1005, 0x2008, 6, 0x2009], [(9, 6, 0, 4096)]),  # a second camera's, an exposure's
        ([0x8FFF, 6, 0x2001, 0x8000, 0x2002], [(1, 6, 0, 2**24 - 4096), (2, 6, 0, 2**24)]),
        ([0x8FFF, 6, 0x2001, 0x8000, 0x8FFF, 0x8000, 0x2002], [(1, 6, 0, 2**24 - 4096), (2, 6, 0, 2**25)]),
        ([0x8FFF, 6, 0x2001, 0x800A, 0x2002], [(1, 6, 0, 2**24 - 4096), (2, 6, 0, 2**24 + 40960)]),  # ten are missing
        ([0x8FFF, 6, 0x2001, 0x800B, 0x2002], [(1, 6, 0, 2**24 - 4096), (2, 6, 0, 11 << 12)]),  # the clock went back
        ([0x8064, 6, 0x2001, 0x8063, 0x2002, 0x8065, 0x2003],
         [(1, 6, 0, 409600), (2, 6, 0, 405504), (3, 6, 0, 413696)]),
        ([0x6064, 5, 0x2007], []),
        ([], []),
    ],
)  # fmt: skip
def test_evt3(words: list[int], events: list[tuple[int, ...]]) -> None:
    assert rows(decode_evt3(np.array(words, "<u2"))) == events


@st.composite
def recordings(draw: st.DrawFn) -> dict[str, np.ndarray]:
    """Return events in order, with neighbours of one time and row, in a window of time that may hold an overflow."""
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    count, span = draw(st.integers(1, 120)), draw(st.sampled_from([40, 5000, 3_000_000]))
    start = draw(st.sampled_from([0, 2**24 - 2000, 2**24 - 90, 5_000_000]))
    t = rng.integers(0, span, count) // draw(st.sampled_from([1, 60]))
    t += start - t.min()  # a counter cannot tell how often it overflowed before
    y, p, x = rng.integers(0, 3, count), rng.integers(0, 2, count), rng.integers(0, 90, count)
    order = np.lexsort((x, p, y, t))
    return {"t": t[order], "x": x[order], "y": y[order], "p": p[order]}


@settings(max_examples=60, deadline=None)
@given(recordings(), st.sampled_from([0, 300]))
def test_what_is_written_is_decoded(e: dict[str, np.ndarray], noise: int) -> None:
    assert rows(decode_evt3(evt3_words(e, noise))) == listed(e)
    late = e | {"t": e["t"] + 2**34 - 2**24}  # so that the longer counters overflow, too
    assert rows(decode_evt2(evt2_words(late, noise))) == listed(late)
    words = evt21_words(late, noise)
    assert rows(decode_evt21(words)) == listed(late)
    assert np.array_equal(evt21_words(late, noise, legacy=True), words >> 32 | words << 32)


ONE = {"t": np.array([70]), "x": np.array([9]), "y": np.array([4]), "p": np.array([1])}


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (b"% evt 2.0\n", evt2_words(ONE)),
        (b"% evt 2.1\n", evt21_words(ONE)),
        (b"% evt 2.1\n", evt21_words(ONE, legacy=True)),
        (b"% evt 3.0\r\n% end\r\n", evt3_words(ONE)),
        (b"% format EVT21;endianness=little;height=30;width=40\n% end\n", evt21_words(ONE)),
        (b"% format EVT21;endianness=legacy;height=30;width=40\n% end\n", evt21_words(ONE, legacy=True)),
        (b"% format EVT21;height=30;width=40\n% endianness legacy\n% end\n", evt21_words(ONE, legacy=True)),
        (b"% format EVT21;height=30;width=40\n% geometry 40x30\n", evt21_words(ONE, legacy=True)),
        (b"% evt 2.0\n% format EVT3\n% end\n", evt3_words(ONE)),  # as OpenEB: format says it
        (EVT2, evt2_words(ONE)),
        (EVT21, evt21_words(ONE)),
        (EVT3, evt3_words(ONE)),
    ],
)
def test_headers(tmp_path: Path, header: bytes, words: np.ndarray) -> None:
    (tmp_path / "a.raw").write_bytes(header + words.tobytes())
    found = read_raw(tmp_path / "a.raw")
    assert rows(found) == [(9, 4, 1, 70)]
    assert found.sensor == ((30, 40) if b"40" in header else None)


def test_data_may_begin_with_the_header_s_sign(tmp_path: Path) -> None:
    """The words 0x2025 and 0x0A0A are "% " and two line ends."""
    words = np.array([0x2025, 0x0A0A, 0x8000, 6, 0x2001], "<u2")
    (tmp_path / "a.raw").write_bytes(EVT3 + words.tobytes())
    assert rows(read_raw(tmp_path / "a.raw")) == [(1, 6, 0, 0)]


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (b"% evt 4.0\n", "encoding 'EVT4' found"),
        (b"% format HISTO3D;height=320;width=320\n", "encoding 'HISTO3D' found"),
        (b"% date 2020-01-01\n", "encoding '' found"),
        (b"% format EVT21;endianness=big\n", "endianness 'big' of EVT21"),
        (b"% format EVT3;endianness=legacy\n", "endianness 'legacy' of EVT3"),
        (b"% format EVT3;height=720;width=1280\n% geometry 640x480\n", "says 640x480 and 1280x720 pixels"),
        (b"% evt 3.0\n% geometry 640\n", "says 640x pixels"),
        (b"% evt 3.0\n% geometry 0x0\n", "says 0x0 pixels"),
        (b"% evt 3.0\n% geometry 100000x100000\n", "sensor of 100000x100000 pixels"),
    ],
)
def test_headers_that_cannot_be_followed(tmp_path: Path, header: bytes, said: str) -> None:
    (tmp_path / "a.raw").write_bytes(header + evt3_words(ONE).tobytes())
    with pytest.raises(DataError, match=said):
        read_events(tmp_path / "a.raw")


def dat(file: Path, t: list[int], words: list[int], header: bytes = b"% Version 2\n", kind: int = 12) -> Path:
    file.write_bytes(header + bytes([kind, 8]) + np.array([t, words], "<u4").T.tobytes())
    return file


def test_dat(tmp_path: Path) -> None:
    word = 1 << 28 | 200 << 14 | 300
    found = read_dat(dat(tmp_path / "a.dat", [5, 2**32 - 1, 3], [word, 0, word], b"% Height 240\n% Width 304\n"))
    assert rows(found) == [(300, 200, 1, 5), (0, 0, 0, 2**32 - 1), (300, 200, 1, 2**32 + 3)]  # 32 bits are 71 minutes
    assert found.sensor == (240, 304)
    old = read_dat(dat(tmp_path / "b.dat", [5], [1 << 17 | 200 << 9 | 300], b"% Version 1\n", 0))
    assert rows(old) == [(300, 200, 1, 5)]
    assert rows(read_dat(dat(tmp_path / "c.dat", [5], [15 << 28]))) == [(0, 0, -1, 5)]


@pytest.mark.parametrize(
    ("header", "kind", "said"),
    [
        (b"% Version 2\n", b"\x0e\x08", "events of type 14"),  # triggers
        (b"% Version 2\n", b"\x28\x1c", "type 40 and 28 bytes"),  # optical flow
        (b"% Version 3\n", b"\x0c\x08", "version '3'"),
        (b"% Version 2\n", b"", "cut off after its header"),
    ],
)
def test_dat_of_another_content(tmp_path: Path, header: bytes, kind: bytes, said: str) -> None:
    (tmp_path / "a.dat").write_bytes(header + kind)
    with pytest.raises(DataError, match=said):
        read_events(tmp_path / "a.dat")


@pytest.mark.parametrize("name", ["a.dat", "a.raw"])
def test_a_recording_without_events(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.dat").write_bytes(b"% Version 2\n\x0c\x08")
    (tmp_path / "a.raw").write_bytes(EVT3 + np.array([0x8000, 0x6001, 0xA001], "<u2").tobytes())
    with pytest.raises(DataError, match="there is no event in it"):
        read_events(tmp_path / name)
