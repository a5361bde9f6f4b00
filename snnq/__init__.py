"""snnq compresses pretrained spiking transformers: a number format of its own for every layer.

Every command is one function of the same name here; each is imported when it is first used, so that
``import snnq`` and ``snnq --help`` stay instant.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from snnq.base.version import __version__

if TYPE_CHECKING:
    from snnq.base.progress import silent
    from snnq.commands.adapting import adapt_eval, adapt_fit, adapt_list
    from snnq.commands.calibrating import calibrate
    from snnq.commands.compressing import compress, finalize, ptq, search
    from snnq.commands.editing import decompose, graft, quantise_activations
    from snnq.commands.imc import imc_eval, imc_map, imc_report
    from snnq.commands.looking import (
        classify,
        compare,
        doctor,
        eval,
        export,
        inspect,
        measure,
        prepare,
        report,
        verify,
    )
    from snnq.commands.planning import solve, uniform_plan
    from snnq.commands.pruning import mask_silent, profile, prune
    from snnq.commands.reusing import reuse_plan, reuse_train
    from snnq.commands.simulating import accel
    from snnq.models.architecture import Architecture
    from snnq.models.registry import register_architecture, register_model
    from snnq.packed.loading import load_packed
    from snnq.plan import Plan
    from snnq.structure.edits import Edit, apply_edits, register_edit

_ADAPTING = "snnq.commands.adapting"
_COMPRESSING = "snnq.commands.compressing"
_IMC = "snnq.commands.imc"
_PRUNING = "snnq.commands.pruning"
_REUSING = "snnq.commands.reusing"
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
    "calibrate": "snnq.commands.calibrating",
    "register_architecture": "snnq.models.registry",
    "register_edit": _STRUCTURE,
    "load_packed": "snnq.packed.loading",
    "register_model": "snnq.models.registry",
    "compress": _COMPRESSING,
    "quantise_activations": "snnq.commands.editing",
    "decompose": "snnq.commands.editing",
    "finalize": _COMPRESSING,
    "graft": "snnq.commands.editing",
    "imc_eval": _IMC,
    "imc_map": _IMC,
    "imc_report": _IMC,
    "mask_silent": _PRUNING,
    "profile": _PRUNING,
    "prune": _PRUNING,
    "ptq": _COMPRESSING,
    "reuse_plan": _REUSING,
    "reuse_train": _REUSING,
    "search": _COMPRESSING,
    "silent": "snnq.base.progress",
    "solve": "snnq.commands.planning",
    "uniform_plan": "snnq.commands.planning",
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
    "calibrate",
    "classify",
    "compare",
    "compress",
    "decompose",
    "doctor",
    "eval",
    "export",
    "finalize",
    "graft",
    "imc_eval",
    "imc_map",
    "imc_report",
    "inspect",
    "load_packed",
    "mask_silent",
    "measure",
    "prepare",
    "profile",
    "prune",
    "ptq",
    "quantise_activations",
    "register_architecture",
    "register_edit",
    "register_model",
    "report",
    "reuse_plan",
    "reuse_train",
    "search",
    "silent",
    "solve",
    "uniform_plan",
    "verify",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'snnq' has no attribute '{name}'")
    return getattr(import_module(_PLACES.get(name, "snnq.commands.looking")), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
