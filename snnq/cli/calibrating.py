"""What is shown of a set that was made to calibrate with."""

from __future__ import annotations

import shlex
import time
from typing import TYPE_CHECKING

from snnq import console
from snnq.cli.building import typed
from snnq.commands import calibrating as commands
from snnq.commands.words import Words

if TYPE_CHECKING:
    from snnq.calibrating.run import Calibrated


def _show_calibrated(done: Calibrated, json: bool, words: Words) -> None:
    found = done.found
    if words["known"] and not words["force"]:
        console.note(f"{words['out']} is already the result of this very run; nothing was done.")
    if json:
        console.emit_json(done.to_dict())
    else:
        shape = "x".join(map(str, found.frames_shape))
        rows = [(found.generator, f"{found.candidates:,}", f"{sum(found.splits.values()):,}", shape)]
        console.table("Calibration set", ("generator", "candidates", "kept", "frames"), rows)
        if found.filters:
            worst = [(name, f"{found.thresholds[name]:.6g}") for name in found.filters]
            console.table("Filters, in their order", ("filter", "worst score kept"), worst)
    if not words["known"] or words["force"]:
        seconds = time.monotonic() - words["began"]
        console.note(
            f"Made in {seconds:,.0f} s, {1000 * seconds / sum(found.splits.values()):,.0f} s for 1,000 samples."
        )
    console.note("It has no labels. Scores, seeds and hashes of all candidates are in samples.jsonl.")
    folder, checkpoint = shlex.quote(f"calib:{done.folder}"), shlex.quote(str(words["checkpoint"]))
    console.next_step(f"snnq ptq {checkpoint} --scheme uniform-4 --data {folder}")


calibrate = typed(commands.calibrate, _show_calibrated)
