"""The same model in SpikingJelly 2: which class it is, and what that class is built with."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class SpikingJellyClass:
    """A class ``name`` of the module ``module`` under ``spikingjelly.activation_based.model``.

    ``arguments`` returns what it is built with for a model's sizes; it raises ``UsageError`` where the class has no
    such model. ``every_step``: it puts out logits of every step, whose mean over T is what is put out here.
    """

    module: str
    name: str
    arguments: Callable[[Any], dict[str, Any]]
    every_step: bool = False


def common_arguments(sizes: Any, hidden: int) -> dict[str, Any]:
    """Return the arguments that every class has, of a model with ``hidden`` features inside its (last) MLPs."""
    ratio = hidden / sizes.dim
    return {
        "T": sizes.steps,
        "in_channels": sizes.in_channels,
        "num_classes": sizes.classes,
        "embed_dims": sizes.dim,
        # Theirs, rounded down, must make so many features.
        "mlp_ratio": ratio if int(sizes.dim * ratio) == hidden else math.nextafter(ratio, math.inf),
    }
