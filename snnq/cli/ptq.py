"""``snnq ptq``: quantise without labels and without finetuning, pack and verify."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from snnq.cli.building import typed
from snnq.cli.finalize import show_packed
from snnq.commands.compressing import ptq as run_ptq

if TYPE_CHECKING:
    from snnq.packing.finish import Finalized


def _shown(done: Finalized, json: bool, words: dict[str, Any]) -> None:
    seconds = time.monotonic() - words["began"]
    show_packed(done, json, words, f"Packed and verified in {seconds:.0f} s")


ptq = typed(run_ptq, _shown)
