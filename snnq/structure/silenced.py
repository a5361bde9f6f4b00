"""The edit ``silenced``: neurons that fire only once, or seldom, are silent instead.

    {"edit": "silenced", "most": 1, "neurons": ["patch_embed.proj_lif1", …]}

    s'_t = s_t · [Σ_t s_t > most]

for each neuron and sample: what it put out over all T steps is dropped where it fired ``most`` times or less (LoAS,
Yin et al. 2024, MICRO, "silent neurons": hardware that packs a neuron's T spikes in one word stores and reads none for
a silent neuron). It changes the function. The gradient of what is kept is that of the neuron.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from snnq.base.errors import UsageError
from snnq.structure.edits import STRUCTURE

if TYPE_CHECKING:
    from torch import Tensor, nn

SILENCED = "silenced"


def silenced(model: nn.Module, most: int, neurons: Sequence[str]) -> nn.Module:
    """Put the filter behind neurons, in place; raises ``UsageError`` for other modules and neurons that run by step."""
    if type(most) is not int or most < 1:
        raise UsageError(f"{STRUCTURE}: neurons that fire {most!r} times are to be silenced, it must be at least 1")
    modules = dict(model.named_modules())
    for name in neurons:
        module = modules.get(name)
        if module is None or getattr(module, "step_mode", None) != "m":
            raise UsageError(
                f"{STRUCTURE}: '{name}' is no neuron of the model that is given all its steps at once, (T, …)",
                "neurons that are run step by step do not know how often they will fire",
            )
        module.register_forward_hook(partial(_drop, most))
    return model


def described(most: int, neurons: Sequence[str]) -> str:
    """Return the edit in words."""
    often = "once" if most == 1 else f"{most} times or less"
    return f"neurons of {len(neurons)} layers that fire {often} are silent"


def _drop(most: int, module: nn.Module, given: tuple[Tensor, ...], spikes: Tensor) -> Tensor:
    """Return the spikes (T, …) without those of neurons that fired ``most`` times or less."""
    return spikes * ((spikes != 0).sum(0) > most)
