"""The edit ``masked``: weights that were pruned, are exactly zero and stay it.

    {"edit": "masked", "layers": {"block.0.mlp.fc1": 1638, …}}

The mask of a layer is the zeros of its weight: no second copy of it can disagree with the weight. The edit names the
masked layers and says how many of their weights are left, which shows damage. A later one replaces an earlier one.
Whoever trains holds the masks (``hold``), whoever chooses a grid takes one with a level at zero (``schemes.holding``),
and whoever packs looks whether the masks were kept (``check_kept``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from snnq.base.errors import PlanError, UsageError, VerificationError
from snnq.base.strict_json import Config
from snnq.schemes.holding import has_zero
from snnq.structure.edits import STRUCTURE

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn
else:
    from snnq.base.lazy import torch

MASKED = "masked"


def masked(model: nn.Module, layers: Mapping[str, int]) -> nn.Module:
    """Return the model as it is; raises ``UsageError`` for layers or counts of weights that it cannot have."""
    for name, left in layers.items():
        try:
            shape = model.get_submodule(name).get_parameter("weight").shape
        except AttributeError:
            raise UsageError(f"{STRUCTURE}: masked layer '{name}' is none of the model's") from None
        if type(left) is not int or not 0 <= left <= math.prod(shape):
            raise UsageError(f"{STRUCTURE}: {left!r} weights of masked layer '{name}' {list(shape)} cannot be left")
    return model


def described(layers: Mapping[str, int]) -> str:
    """Return the edit in words."""
    return f"{len(layers)} layers are masked, {sum(layers.values()):,} of their weights are left"


def weights_left(edits: Iterable[Config]) -> dict[str, int]:
    """Return how many weights each masked layer has left, after all edits."""
    found: dict[str, int] = {}
    for one in edits:
        found |= one["layers"] if one["edit"] == MASKED else {}
    return found


def masked_layers(model: nn.Module) -> frozenset[str]:
    """Return the names of a model's masked layers."""
    return frozenset(weights_left(getattr(model, STRUCTURE, ())))


def masked_edit(model: nn.Module, names: Iterable[str]) -> Config:
    """Return the edit that says of these layers what their weights are: how many are not zero."""
    weights = {name: model.get_submodule(name).get_parameter("weight") for name in names}
    return {"edit": MASKED, "layers": {name: int((one != 0).sum()) for name, one in weights.items()}}


def hold(model: nn.Module) -> nn.Module:
    """Let no gradient reach a masked weight from now on; changes and returns the model.

    With no gradient ever, no momentum and a value of zero, which weight decay keeps, an optimizer leaves it at zero.
    The masks are those of the weights as they stand. Call it before parametrizations are put on the weights: these
    keep the parameter.
    """
    for name in sorted(masked_layers(model)):
        weight = model.get_submodule(name).get_parameter("weight")
        weight.register_hook(_Held(weight.detach() != 0))
    return model


class _Held:
    """A hook on a gradient: only the weights of a mask get any."""

    def __init__(self, mask: Tensor) -> None:
        self.mask = mask

    def __call__(self, gradient: Tensor) -> Tensor:
        self.mask = self.mask.to(gradient.device)
        return torch.where(self.mask, gradient, torch.zeros_like(gradient))


def check_masked(schemes: Mapping[str, str], edits: Iterable[Config]) -> None:
    """Raise ``PlanError`` naming the first masked layer whose scheme has no level at zero."""
    masked = weights_left(edits)
    for name, scheme in schemes.items():
        if name in masked and not has_zero(scheme):
            raise PlanError(
                f"layer {name}: {scheme} has no level at zero, and weights of this layer are masked",
                "give it another scheme, such as uniform-2 or ternary",
            )


def check_counts(weights: Mapping[str, Tensor], edits: Iterable[Config]) -> str | None:
    """Return what is wrong with the masked layers of a state dict, in words; None where they are as the edits say."""
    for name, left in weights_left(edits).items():
        found = int((weights[f"{name}.weight"] != 0).sum())
        if found != left:
            return f"masked layer '{name}' has {found:,} weights that are not zero, {left:,} are left by its mask"
    return None


def check_kept(before: Mapping[str, Tensor], after: Mapping[str, Tensor], edits: Iterable[Config]) -> None:
    """Raise ``VerificationError`` naming the first layer with a weight that was masked ``before`` and is not zero."""
    for name in weights_left(edits):
        key = f"{name}.weight"
        lost = int(((before[key] == 0) & (after[key].cpu() != 0)).sum())
        if lost:
            said = f"layer {name}: {lost:,} masked weights are not zero any more"
            raise VerificationError(said, "please report this")
