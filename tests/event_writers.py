"""Writers of event files, from the formats' descriptions: what readers are tested on where there is no real file."""

from __future__ import annotations

import struct
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


def write_evt2(file: Path, e: dict[str, np.ndarray], header: bytes = b"% evt 2.0\n% geometry 40x30\n") -> None:
    """Prophesee's EVT 2: a word with the time's upper 28 bits whenever they change, then a word an event."""
    words, high = [], -1
    for t, x, y, p in zip(*(e[k].tolist() for k in "txyp"), strict=True):
        if t >> 6 != high:
            high = t >> 6
            words.append(8 << 28 | high)
        words.append(p << 28 | (t & 63) << 22 | x << 11 | y)
    file.write_bytes(header + np.array(words, "<u4").tobytes())
