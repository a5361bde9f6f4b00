"""snnq compresses pretrained spiking transformers: a number format of its own for every layer.

Every command is one function of the same name here; each is imported when it is first used, so that
``import snnq`` and ``snnq --help`` stay instant.
"""

from __future__ import annotations

from importlib import import_module
from types import FunctionType
from typing import TYPE_CHECKING, Any

from snnq.base.version import __version__

if TYPE_CHECKING:
    from snnq.assessing.classify import classify
    from snnq.assessing.eval import eval
    from snnq.assessing.measure import measure
    from snnq.assessing.verify import verify
    from snnq.checkpoints.grafting import graft
    from snnq.checkpoints.inspecting import inspect
    from snnq.exporting.run import export
    from snnq.finalizing.run import finalize
    from snnq.models.architecture import Architecture
    from snnq.models.registry import register_architecture, register_model
    from snnq.packed.loading import load_packed
    from snnq.plan import Plan
    from snnq.reconstructing.run import ptq
    from snnq.reporting.compare import compare
    from snnq.reporting.run import report
    from snnq.searching.run import search
    from snnq.searching.uniform import uniform_plan
    from snnq.structure.edits import Edit, apply_edits, register_edit

_EXPORTS = {
    "Architecture": "snnq.models.architecture",
    "Edit": "snnq.structure.edits",
    "Plan": "snnq.plan",
    "apply_edits": "snnq.structure.edits",
    "classify": "snnq.assessing.classify",
    "compare": "snnq.reporting.compare",
    "eval": "snnq.assessing.eval",
    "export": "snnq.exporting.run",
    "finalize": "snnq.finalizing.run",
    "graft": "snnq.checkpoints.grafting",
    "inspect": "snnq.checkpoints.inspecting",
    "load_packed": "snnq.packed.loading",
    "ptq": "snnq.reconstructing.run",
    "register_architecture": "snnq.models.registry",
    "register_edit": "snnq.structure.edits",
    "register_model": "snnq.models.registry",
    "measure": "snnq.assessing.measure",
    "report": "snnq.reporting.run",
    "search": "snnq.searching.run",
    "uniform_plan": "snnq.searching.uniform",
    "verify": "snnq.assessing.verify",
}

__all__ = [
    "Architecture",
    "Edit",
    "Plan",
    "__version__",
    "apply_edits",
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
    "register_architecture",
    "register_edit",
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
