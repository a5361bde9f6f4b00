"""A finished block: codes and norms, which are what is stored, installed and resumed from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from snnq.packed.coding import Coded
from snnq.reconstructing.norms import Norm
from snnq.schemes.scheme import scheme


@dataclass(frozen=True)
class Finished:
    """The codes of a block's layers and its folded norms, by module path."""

    coded: Mapping[str, Coded]
    norms: Mapping[str, Norm]

    @torch.no_grad()
    def install(self, model: nn.Module) -> None:
        """Put the weights that the codes decode to, and the norms, into a folded model."""
        for name, one in self.coded.items():
            weight = model.get_parameter(f"{name}.weight")
            params = {key: value.to(weight.device) for key, value in one.params.items()}
            weight.copy_(scheme(one.scheme).decode(one.codes.to(weight.device), params).view_as(weight))
        for name, norm in self.norms.items():
            model.get_buffer(f"{name}.multiplier").copy_(norm.multiplier)
            model.get_buffer(f"{name}.offset").copy_(norm.offset)

    def to_dict(self) -> dict[str, Any]:
        """Return tensors on the CPU, strings and dicts: what may stand in a run's state."""
        return {
            "coded": {
                name: {
                    "scheme": one.scheme,
                    "codes": one.codes.cpu(),
                    "params": {key: value.detach().cpu() for key, value in one.params.items()},
                }
                for name, one in self.coded.items()
            },
            "norms": {name: [one.detach().cpu() for one in norm] for name, norm in self.norms.items()},
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Finished:
        """Return what ``to_dict`` was given by."""
        coded = {name: Coded(one["scheme"], one["codes"], one["params"]) for name, one in plain["coded"].items()}
        return cls(coded, {name: Norm(*norm) for name, norm in plain["norms"].items()})
