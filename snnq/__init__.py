"""snnq compresses pretrained spiking transformers: a number format of its own for every layer.

Every command is one function of the same name here; each is imported when it is first used, so that
``import snnq`` and ``snnq --help`` stay instant.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_EXPORTS = {
    "Plan": "snnq.plan",
    "eval": "snnq.evaluating",
    "finalize": "snnq.finalizing.run",
    "inspect": "snnq.checkpoints.inspecting",
    "load_packed": "snnq.packed.loading",
    "report": "snnq.reporting.run",
    "search": "snnq.searching.run",
    "verify": "snnq.packed.verification",
}

__all__ = ["__version__", *_EXPORTS]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module 'snnq' has no attribute '{name}'")
