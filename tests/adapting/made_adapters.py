"""Adapters of random numbers, for any packed folder: what they are made of is known, and nothing was learned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from snnq.arithmetic.prompts import Slots, slots_of
from snnq.packed.adapter import AdapterFacts, folder_hash, tensors_hash, write_adapter
from snnq.packed.adapter_sites import head_width, packed_sites, whole_wiring
from snnq.packed.config import read_config

QUERY = {"head": None, "lda": None, "full": None, "os": "block", "os++": "block", "l2p": "features", "coda": "features"}
KNOWN = {
    "samples": [4, 4],
    "class_incremental": [[1.0], [0.5, 0.75]],
    "task_incremental": [[1.0], [1.0, 0.75]],
}


def random_slots(seed: int, slots: int, length: int, channels: int, *, coda: bool, top: int | None) -> Slots:
    draw = np.random.default_rng(seed)
    keys, attention = (draw.normal(size=(slots, channels)) for _ in range(2))
    keys = np.abs(keys) if seed % 2 else keys  # so that weights are large, or of both signs
    prompts = draw.normal(size=(slots, length, channels)) + 0.3
    return slots_of(keys, prompts, attention if coda else None, top, 0.3)


def write_random(
    folder: Path, out: Path, method: str, *, blocks: slice = slice(None), seed: int = 1, **changes: Any
) -> Path:
    config = read_config(folder)
    wiring, sites = whole_wiring(folder, config), packed_sites(folder, config)[blocks]
    draw, classes = np.random.default_rng(seed), 4
    width, top = head_width(wiring), 2 if method == "l2p" else None
    tensors: dict[str, np.ndarray] = {
        "head.weight": draw.normal(size=(classes, width)).astype(np.float16),
        "head.bias": draw.normal(size=classes).astype(np.float16),
    }
    prompted = []
    for number, site in enumerate(sites if QUERY[method] else ()):
        pool = random_slots(seed + number, 5, 6, site.channels, coda=method == "coda", top=top)
        tensors |= {f"{site.module}.keys": pool.keys, f"{site.module}.prompts": pool.prompts}
        tensors |= {} if pool.attention is None else {f"{site.module}.attention": pool.attention}
        prompted.append(
            {"module": site.module, "slots": 5, "length": 6, "channels": site.channels, "threshold": pool.threshold}
            | {"top": top, "attended": method == "coda"}
        )
    said: dict[str, Any] = {
        "schema_version": 1,
        "tool": "snnq test",
        "method": method,
        "folder_sha256": folder_hash(config),
        "architecture": config.architecture,
        "classes": ["a", "b", "c", "d"],
        "tasks": [2, 2],
        "query": QUERY[method],
        "prompted": prompted,
        "data": "random",
        "data_sha256": "",
        "simulated": True,
        "overlap": False,
        "settings": {"order": 0},
        "known": KNOWN,
        "training": {"forwards": 0, "backwards": 0, "once": 0, "sample": 0},
        "fingerprint": "",
        "sha256": tensors_hash(tensors),
    }
    write_adapter(out, AdapterFacts(**(said | changes)), tensors, overwrite=True)
    return out
