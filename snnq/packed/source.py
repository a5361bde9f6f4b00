"""What has become of the float checkpoint that a packed folder was made from, without opening it."""

from __future__ import annotations

import os

from snnq.checkpoints.opening import BUILTIN
from snnq.packed.config import file_sha256
from snnq.plan.records import ModelInfo

# The folder is right by itself: none of these is an error.
SENTENCES = {
    "there": "A file lies where the plan says that the float checkpoint was; it was not opened.",
    "built-in": "The float checkpoint is the built-in one.",
    "changed": "The float checkpoint was the built-in one of another version; the folder does not need it.",
    "absent": "The float checkpoint that the plan names is not there; the folder does not need it.",
    "unnamed": "The plan names no float checkpoint.",
}


def source_state(model: ModelInfo) -> str:
    """Return a key of ``SENTENCES``; a relative path is looked for from where the command runs, as it was typed.

    The plan may be a stranger's: what it names is not opened by who merely verifies a folder.
    """
    if model.checkpoint is None or model.sha256 is None:
        return "unnamed"
    if model.checkpoint in BUILTIN:
        return "built-in" if file_sha256(BUILTIN[model.checkpoint]) == model.sha256 else "changed"
    return "there" if os.path.isfile(model.checkpoint) else "absent"  # unlike Path's, false for what no path can be
