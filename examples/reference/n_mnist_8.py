"""N-MNIST recordings from one .npz back into N-MNIST's own folders, split by MNIST index: the data of E1.

The file holds recordings of classes 0-7, one after another: ``t x y p`` (1 ms bins, pixels, polarity), and a recording
an entry in ``n_events``, ``label`` and ``mnist_index``. Of every class the recordings with the highest indices are the
test split, those before them validation. Every recording becomes a .bin of 5 bytes an event (Orchard et al. 2015):
x, y, and 24 bits of polarity (the highest) and time in µs.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

FOLDERS = {"Train": 750, "Validation": 200, "Test": 250}


def convert(file: Path, out: Path, counts: dict[str, int] = FOLDERS) -> None:
    """Write ``<out>/<split>/<class>/<mnist_index>.bin``, the splits in ascending index order, so many of each class."""
    data = np.load(file, allow_pickle=False)
    ends = np.cumsum(data["n_events"])
    starts = ends - data["n_events"]
    events = {name: data[name] for name in ("t", "x", "y", "p")}
    for label in np.unique(data["label"]):
        own = np.flatnonzero(data["label"] == label)
        own = own[np.argsort(data["mnist_index"][own], kind="stable")]
        edges = np.cumsum([0, *counts.values()])
        for (split, _), first, last in zip(counts.items(), edges[:-1], edges[1:], strict=True):
            folder = out / split / str(label)
            folder.mkdir(parents=True, exist_ok=True)
            for i in own[first:last]:
                part = {name: column[starts[i] : ends[i]] for name, column in events.items()}
                (folder / f"{data['mnist_index'][i]:05d}.bin").write_bytes(encode(**part))


def encode(t: np.ndarray, x: np.ndarray, y: np.ndarray, p: np.ndarray) -> bytes:
    """Return one recording's bytes; t in ms."""
    stamps = t.astype(np.uint32) * 1000 | p.astype(np.uint32) << 23
    columns = (x, y, stamps >> 16, stamps >> 8 & 255, stamps & 255)
    return np.stack(columns, 1).astype(np.uint8).tobytes()
