"""A packed folder with the same model in the other storage."""

from __future__ import annotations

import json
from pathlib import Path

from snnq.base.files import read_text
from snnq.packed.config import PLAN_FILE, REPORT_FILE, check_hash, read_config
from snnq.packed.folder import contents
from snnq.packed.loading import as_tensors
from snnq.packed.opening import open_tensors
from snnq.packed.storage import Storage, write_tensors
from snnq.plan import Plan


def convert(folder: Path, out: Path, storage: Storage) -> None:
    """Write a packed folder anew at ``out``, which is not there yet: the same tensors, plan and report.

    Raises PackedError and VerificationError for a folder that is damaged.
    """
    config = read_config(folder)
    for name in config.sha256:
        if name in (PLAN_FILE, REPORT_FILE):
            check_hash(folder, name, config)
    written = write_tensors(as_tensors(open_tensors(folder, config).tensors), config.layers, storage)
    results = json.loads(read_text(folder / REPORT_FILE))
    said = config.quantization_config  # as it was evaluated
    how = said.arithmetic, said.pixels, said.leaks, said.activations
    files = contents(Plan.read(folder / PLAN_FILE), written, storage, config.layers, results, *how)
    files[PLAN_FILE] = (folder / PLAN_FILE).read_bytes()
    out.mkdir()
    for name, content in files.items():
        (out / name).write_bytes(content)
