"""The one place that prints. Data goes to stdout; progress, hints and errors go to stderr.

On a terminal, long work shows a live bar; elsewhere one sparse line now and then. ``NO_COLOR`` and terminals
without UTF-8 are respected. Of several processes that work on one run, the first one prints.
"""

from snnq.console.printing import (
    blocks,
    document,
    emit_json,
    error,
    next_step,
    note,
    out,
    remarks_shown,
    say,
    speaks,
    table,
)
from snnq.console.progress import progress_view

__all__ = [
    "blocks",
    "document",
    "emit_json",
    "error",
    "next_step",
    "note",
    "out",
    "progress_view",
    "remarks_shown",
    "say",
    "speaks",
    "table",
]
