"""snnq compresses pretrained spiking transformers: a number format of its own for every layer.

Every command is one function of the same name here; each is imported when it is first used, so that
``import snnq`` and ``snnq --help`` stay instant.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from snnq.base.version import __version__

if TYPE_CHECKING:
    from snnq.base.progress import silent
    from snnq.commands.adapting import adapt_eval, adapt_fit, adapt_list
    from snnq.commands.compressing import compress, finalize, ptq, search
    from snnq.commands.editing import decompose
    from snnq.commands.looking import (
        classify,
        compare,
        doctor,
        eval,
        export,
        graft,
        inspect,
        measure,
        prepare,
        report,
        solve,
        uniform_plan,
        verify,
    )
    from snnq.commands.pruning import mask_silent, profile, prune
    from snnq.commands.simulating import accel
    from snnq.models.architecture import Architecture
    from snnq.models.registry import register_architecture, register_model
    from snnq.packed.loading import load_packed
    from snnq.plan import Plan
    from snnq.structure.edits import Edit, apply_edits, register_edit

_ADAPTING = "snnq.commands.adapting"
_COMPRESSING = "snnq.commands.compressing"
_PRUNING = "snnq.commands.pruning"
_STRUCTURE = "snnq.structure.edits"
_PLACES = {
    "Architecture": "snnq.models.architecture",
    "Edit": _STRUCTURE,
    "Plan": "snnq.plan",
    "accel": "snnq.commands.simulating",
    "adapt_eval": _ADAPTING,
    "adapt_fit": _ADAPTING,
    "adapt_list": _ADAPTING,
    "apply_edits": _STRUCTURE,
    "register_architecture": "snnq.models.registry",
    "register_edit": _STRUCTURE,
    "load_packed": "snnq.packed.loading",
    "register_model": "snnq.models.registry",
    "compress": _COMPRESSING,
    "decompose": "snnq.commands.editing",
    "finalize": _COMPRESSING,
    "mask_silent": _PRUNING,
    "profile": _PRUNING,
    "prune": _PRUNING,
    "ptq": _COMPRESSING,
    "search": _COMPRESSING,
    "silent": "snnq.base.progress",
}

__all__ = [
    "Architecture",
    "Edit",
    "Plan",
    "__version__",
    "accel",
    "adapt_eval",
    "adapt_fit",
    "adapt_list",
    "apply_edits",
    "classify",
    "compare",
    "compress",
    "decompose",
    "doctor",
    "eval",
    "export",
    "finalize",
    "graft",
    "inspect",
    "load_packed",
    "mask_silent",
    "measure",
    "prepare",
    "profile",
    "prune",
    "ptq",
    "register_architecture",
    "register_edit",
    "register_model",
    "report",
    "search",
    "silent",
    "solve",
    "uniform_plan",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'snnq' has no attribute '{name}'")
    return getattr(import_module(_PLACES.get(name, "snnq.commands.looking")), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
