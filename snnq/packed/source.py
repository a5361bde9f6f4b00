"""What has become of the float checkpoint that a packed folder was made from."""

from __future__ import annotations

import os
from pathlib import Path

from snnq.checkpoints.opening import BUILTIN
from snnq.errors import PackedError
from snnq.packed.config import file_sha256
from snnq.plan.records import ModelInfo

# The folder is right by itself: none of these is an error.
SENTENCES = {
    "same": "The float checkpoint that the plan names lies there still, unchanged.",
    "built-in": "The float checkpoint is the built-in one.",
    "changed": "The float checkpoint that the plan names is another file by now; the folder does not need it.",
    "absent": "The float checkpoint that the plan names is not there; the folder does not need it.",
    "unnamed": "The plan names no float checkpoint.",
}


def source_state(model: ModelInfo) -> str:
    """Return a key of ``SENTENCES``; a relative path is looked for from where the command runs, as it was typed."""
    if model.checkpoint is None or model.sha256 is None:
        return "unnamed"
    builtin = BUILTIN.get(model.checkpoint)
    path = builtin or Path(model.checkpoint)
    if not os.path.isfile(path):  # unlike Path's, false too for a path that no file can have
        return "absent"
    try:
        found = file_sha256(path)
    except PackedError:
        return "absent"
    if found != model.sha256:
        return "changed"
    return "built-in" if builtin else "same"
