"""The arms of the experiment: what is learned beside a frozen packed folder, and how."""

from __future__ import annotations

from typing import Any

PROMPTS = ("l2p", "coda", "os", "os++", "os++embeddings", "joint-os")
# Words of ``snnq.adapt_fit`` by arm. A joint one sees all classes at once: what nothing that learns by tasks can beat.
ARMS: dict[str, dict[str, Any]] = {
    "lda": {"method": "lda"},
    "head": {"method": "head"},
    "full": {"method": "full", "learning_rate": 1e-3},
    "l2p": {"method": "l2p"},
    "coda": {"method": "coda"},
    "os": {"method": "os"},
    "os++": {"method": "os++", "regulariser": "scores"},
    "os++embeddings": {"method": "os++", "regulariser": "embeddings"},
    "joint-head": {"method": "head", "tasks": "joint"},
    "joint-os": {"method": "os", "tasks": "joint"},
}


def words_of(arm: str, tasks: str, prompts: dict[str, Any]) -> dict[str, Any]:
    """Return the words of an arm; ``prompts`` are those that only arms with prompts take."""
    return {"tasks": tasks} | (prompts if arm in PROMPTS else {}) | ARMS[arm]
