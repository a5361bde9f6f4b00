"""Writers of event files, from the formats' descriptions: what readers are tested on where there is no real file."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

REAL = Path(__file__).resolve().parents[1] / "../shared/data"


def draw(count: int, height: int, width: int, seed: int = 0, span_us: int = 300_000) -> dict[str, np.ndarray]:
    """Return random events in time order: t, x, y, p."""
    rng = np.random.default_rng(seed)
    return {
        "t": np.sort(rng.integers(0, span_us, count)),
        "x": rng.integers(0, width, count),
        "y": rng.integers(0, height, count),
        "p": rng.integers(0, 2, count),
    }


def write_bin(file: Path, e: dict[str, np.ndarray]) -> None:
    """N-MNIST's and N-Caltech101's records of five bytes."""
    parts = [struct.pack(">BBI", x, y, p << 23 | t)[:2] + struct.pack(">I", p << 23 | t)[1:]
             for t, x, y, p in zip(*(e[k].tolist() for k in "txyp"), strict=True)]  # fmt: skip
    file.write_bytes(b"".join(parts))


AEDAT2 = b"#!AER-DAT2.0\r\n# This is a raw AE data file - do not edit\r\n# Timestamps tick is 1 us\r\n"


def write_aedat2(file: Path, e: dict[str, np.ndarray], header: bytes = AEDAT2) -> None:
    """CIFAR10-DVS' files: a DVS128's 16-bit addresses, so that SpikingJelly's reader gives back these x, y and p."""
    address = (127 - e["x"]) << 8 | (127 - e["y"]) << 1 | (1 - e["p"])
    file.write_bytes(header + np.stack([address, e["t"]], axis=1).astype(">u4").tobytes())


def write_aedat3(file: Path, e: dict[str, np.ndarray], overflow: int = 0, chip: bytes = b"DVS128") -> None:
    """AEDAT 3.1 with a special packet among polarity packets of up to 100 events; the last event is marked invalid."""
    blocks = [b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: " + chip + b"\r\n#!END-HEADER\r\n"]
    blocks.append(struct.pack("<HHIIIIII", 0, 1, 8, 4, overflow, 1, 1, 1) + bytes(8))
    for start in range(0, len(e["t"]), 100):
        t, x, y, p = (e[k][start : start + 100] for k in "txyp")
        words = np.stack([x << 17 | y << 2 | p << 1 | 1, t], axis=1).astype("<u4")
        blocks.append(struct.pack("<HHIIIIII", 1, 1, 8, 4, overflow, len(t), len(t), len(t)) + words.tobytes())
    blocks.append(struct.pack("<HHIIIIII", 1, 1, 8, 4, overflow, 1, 1, 0) + struct.pack("<II", 5 << 17 | 5 << 2, 0))
    file.write_bytes(b"".join(blocks))


def write_dat(file: Path, e: dict[str, np.ndarray], header: bytes = b"% Data file\n% Version 2\n") -> None:
    """Prophesee's DAT: time, then x, y and p in one word."""
    words = np.stack([e["t"], e["p"] << 28 | e["y"] << 14 | e["x"]], axis=1).astype("<u4")
    file.write_bytes(header + b"\x00\x08" + words.tobytes())


def runs(e: dict[str, np.ndarray], width: int) -> Iterator[tuple[int, int, int, list[int]]]:
    """Yield (t, y, p, xs) of events in a row that one vector of so many pixels can hold, in their order."""
    kept: tuple[int, int, int, list[int]] | None = None
    for t, x, y, p in zip(*(e[k].tolist() for k in "txyp"), strict=True):
        if kept and kept[:3] == (t, y, p) and kept[3][-1] < x < kept[3][0] + width:
            kept[3].append(x)
            continue
        if kept:
            yield kept
        kept = (t, y, p, [x])
    if kept:
        yield kept


def highs(last: int | None, new: int) -> range:
    """The TIME_HIGHs that a camera sends until ``new``, that one also where it was sent already."""
    return range(new if last is None or new < last else min(last + 1, new), new + 1)


def evt2_words(e: dict[str, np.ndarray], noise: int = 0) -> np.ndarray:
    """EVT 2.0: TIME_HIGHs with the time's upper 28 bits, then a word an event.

    ``noise`` of some hundred words are triggers, monitoring words with their continuation, and reserved ones.
    """
    rng = np.random.default_rng(noise)
    words: list[int] = []
    high = None
    for t, y, p, xs in runs(e, 1):
        words += [8 << 28 | (each & 0xFFF_FFFF) for each in highs(high, t >> 6)]
        high = t >> 6
        while rng.integers(1000) < noise:
            words.append(int(rng.choice([10, 14, 15, 2, 7])) << 28 | int(rng.integers(2**28)))
        words.append(p << 28 | (t & 63) << 22 | xs[0] << 11 | y)
    return np.array(words, "<u4")


def evt21_words(e: dict[str, np.ndarray], noise: int = 0, legacy: bool = False) -> np.ndarray:
    """EVT 2.1: as EVT 2.0, in 64 bits with a mask of 32 pixels; ``legacy`` has the halves the other way round."""
    rng = np.random.default_rng(noise)
    words: list[int] = []
    high = None
    for t, y, p, xs in runs(e, 32):
        words += [8 << 60 | (each & 0xFFF_FFFF) << 32 for each in highs(high, t >> 6)]
        high = t >> 6
        while rng.integers(1000) < noise:
            words.append(int(rng.choice([10, 14, 15, 2, 7])) << 60 | int(rng.integers(2**60)))
        words.append(p << 60 | (t & 63) << 54 | xs[0] << 43 | y << 32 | sum(1 << x - xs[0] for x in xs))
    found = np.array(words, "<u8")
    return found >> 32 | found << 32 if legacy else found


def evt3_words(e: dict[str, np.ndarray], noise: int = 0) -> np.ndarray:
    """EVT 3.0: what changes of time, row and place, then an event or a vector of 12, 12 and 8 pixels."""
    rng = np.random.default_rng(noise)
    words: list[int] = []
    high = low = row = base = None
    for t, y, p, xs in runs(e, 32):
        if t >> 12 != high:
            words += [0x8000 | each & 0xFFF for each in highs(high, t >> 12)]
            high, low = t >> 12, None
        if t & 0xFFF != low or rng.random() < 0.05:
            low = t & 0xFFF
            words.append(0x6000 | low)
        if y != row:
            row = y
            words.append(y)
        while rng.integers(1000) < noise:
            words += [[0xA001], [0xE123, 0xF456, 0xF789, 0x7001], [0xB000], [0xD321], [0xC777]][rng.integers(5)]
        if len(xs) == 1 and rng.random() < 0.8:
            words.append(0x2000 | p << 11 | xs[0])
            continue
        if base != (p, xs[0]):
            words.append(0x3000 | p << 11 | xs[0])
        mask = sum(1 << x - xs[0] for x in xs)
        words += [0x4000 | mask & 0xFFF, 0x4000 | mask >> 12 & 0xFFF, 0x5000 | mask >> 24]
        base = (p, xs[0] + 32)
    return np.array(words, "<u2")


EVT2, EVT21, EVT3 = (
    f"% date 2023-04-03 11:36:26\n% evt {version}\n% format {name};height=30;width=40\n% end\n".encode()
    for name, version in (("EVT2", "2.0"), ("EVT21", "2.1"), ("EVT3", "3.0"))
)


def write_evt2(file: Path, e: dict[str, np.ndarray], header: bytes = EVT2) -> None:
    """Prophesee's EVT 2.0."""
    file.write_bytes(header + evt2_words(e).tobytes())
