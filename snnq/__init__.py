"""snnq compresses pretrained spiking transformers: a number format of its own for every layer.

Every command is one function of the same name here; each is imported when it is first used, so that
``import snnq`` and ``snnq --help`` stay instant.
"""

from __future__ import annotations

from importlib import import_module
from types import FunctionType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from snnq.checkpoints.grafting import graft
    from snnq.checkpoints.inspecting import inspect
    from snnq.classifying import classify
    from snnq.evaluating import eval
    from snnq.exporting.run import export
    from snnq.finalizing.run import finalize
    from snnq.measuring.run import measure
    from snnq.models.registry import register_model
    from snnq.packed.loading import load_packed
    from snnq.plan import Plan
    from snnq.reconstructing.run import ptq
    from snnq.reporting.compare import compare
    from snnq.reporting.run import report
    from snnq.searching.run import search
    from snnq.searching.uniform import uniform_plan
    from snnq.verifying import verify

__version__ = "0.1.0"

_EXPORTS = {
    "Plan": "snnq.plan",
    "classify": "snnq.classifying",
    "compare": "snnq.reporting.compare",
    "eval": "snnq.evaluating",
    "export": "snnq.exporting.run",
    "finalize": "snnq.finalizing.run",
    "graft": "snnq.checkpoints.grafting",
    "inspect": "snnq.checkpoints.inspecting",
    "load_packed": "snnq.packed.loading",
    "ptq": "snnq.reconstructing.run",
    "register_model": "snnq.models.registry",
    "measure": "snnq.measuring.run",
    "report": "snnq.reporting.run",
    "search": "snnq.searching.run",
    "uniform_plan": "snnq.searching.uniform",
    "verify": "snnq.verifying",
}

__all__ = [
    "Plan",
    "__version__",
    "classify",
    "compare",
    "eval",
    "export",
    "finalize",
    "graft",
    "inspect",
    "load_packed",
    "measure",
    "ptq",
    "register_model",
    "report",
    "search",
    "uniform_plan",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        found = getattr(import_module(_EXPORTS[name]), name)
        # What sizes uniform_plan takes depends on its architecture, which refuses others itself.
        if not isinstance(found, FunctionType) or name == "uniform_plan":
            return found
        from snnq.words import checked

        return checked(found)
    raise AttributeError(f"module 'snnq' has no attribute '{name}'")
