"""The block that is being learned, its layers, its norms and the optimizer of the round; and what it becomes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from snnq.packed.coding import Coded
from snnq.reconstructing.layers import LearnedLayer, push
from snnq.reconstructing.norms import Norm
from snnq.reconstructing.settings import PtqSettings
from snnq.schemes.scheme import scheme

# What may stand in a run's state: tensors on the CPU, strings, numbers, and lists and dicts of them.
State = dict[str, Any]


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

    def to_dict(self) -> State:
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
    def from_dict(cls, plain: State) -> Finished:
        """Return what ``to_dict`` was given by."""
        coded = {name: Coded(one["scheme"], one["codes"], one["params"]) for name, one in plain["coded"].items()}
        return cls(coded, {name: Norm(*norm) for name, norm in plain["norms"].items()})


class Work:
    """Variables of one block. ``norms`` are its folded norms as it starts, ``behind`` names the one of each layer."""

    def __init__(
        self,
        layers: Mapping[str, LearnedLayer],
        norms: Mapping[str, Norm],
        behind: Mapping[str, str],
        settings: PtqSettings,
    ) -> None:
        self.layers, self.norms, self.behind, self.settings = dict(layers), dict(norms), dict(behind), settings
        self.shifts = {
            name: nn.Parameter(torch.zeros_like(one.offset), requires_grad=settings.reconstructs and settings.offsets)
            for name, one in norms.items()
        }
        self.optimizer: torch.optim.Optimizer | None = None

    def tensors(self) -> dict[str, Tensor]:
        """Return what stands in for the block's weights and norms, by the names of a state dict."""
        found = {f"{name}.weight": one() for name, one in self.layers.items()}
        for name, one in self.norms.items():
            found |= {f"{name}.multiplier": one.multiplier, f"{name}.offset": one.offset + self.shifts[name]}
        return found

    def harden(self, share: float) -> None:
        """Decide weights until at most ``share`` of every layer is soft."""
        for one in self.layers.values():
            one.harden(share)

    def start_round(self) -> None:
        """Make the optimizer anew: Adam, without what it remembers of the last round."""
        settings, layers = self.settings, self.layers.values()
        groups: list[State] = [
            {"params": [one.nu for one in layers if one.nu.requires_grad], "lr": settings.rounding_rate},
            {
                "params": [one.v for one in layers if one.v.requires_grad],
                "lr": settings.scale_rate,
                "weight_decay": settings.scale_decay,
            },
            {"params": [one for one in self.shifts.values() if one.requires_grad], "lr": settings.scale_rate},
        ]
        groups = [group for group in groups if group["params"]]
        self.optimizer = torch.optim.Adam(groups) if groups else None

    def step(self, loss: Tensor, share: float) -> None:
        """Do one optimizer step after ``share`` of the block's steps."""
        if self.optimizer is None:
            return
        if self.settings.method == "adaround":
            loss = loss + push(torch.cat([one.soft().flatten() for one in self.layers.values()]), share)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def choices(self) -> State:
        """Return everything that was decided, to come back to it by ``choose``."""
        return {
            "layers": {
                name: {key: value.detach().clone() for key, value in one.state_dict().items()}
                for name, one in self.layers.items()
            },
            "norms": {name: (one.multiplier.clone(), one.offset.clone()) for name, one in self.norms.items()},
            "shifts": {name: one.detach().clone() for name, one in self.shifts.items()},
        }

    @torch.no_grad()
    def choose(self, choices: State) -> None:
        """Take back what ``choices`` gave."""
        for name, state in choices["layers"].items():
            self.layers[name].load_state_dict(state)
        self.norms = {name: Norm(*one) for name, one in choices["norms"].items()}
        for name, shift in choices["shifts"].items():
            self.shifts[name].copy_(shift)

    def set_norms(self, norms: Mapping[str, Norm]) -> None:
        """Take norms in place of those the block has, what was learned for their offsets included."""
        for name, norm in norms.items():
            self.norms[name] = norm
            self.shifts[name].data.zero_()

    def choose_nearest(self) -> None:
        """Round every weight to the nearest level."""
        for one in self.layers.values():
            one.choose_nearest()

    def state_dict(self) -> State:
        """Return the choices and the optimizer's state."""
        return {**self.choices(), "optimizer": self.optimizer.state_dict() if self.optimizer else None}

    def load_state_dict(self, state: State) -> None:
        """Take the state back."""
        self.choose(state)
        if state["optimizer"] is not None:
            self.start_round()
            assert self.optimizer is not None
            self.optimizer.load_state_dict(state["optimizer"])

    @torch.no_grad()
    def finish(self) -> Finished:
        """Return the codes and norms; all weights must be decided."""
        norms = {
            name: Norm(one.multiplier, one.offset + self.shifts[name].detach()) for name, one in self.norms.items()
        }
        coded = {}
        for name, one in self.layers.items():
            coded[name], by = one.coded()
            if by is not None:
                norm = norms[self.behind[name]]
                norms[self.behind[name]] = norm._replace(multiplier=norm.multiplier * by.flatten())
        return Finished(coded, norms)
