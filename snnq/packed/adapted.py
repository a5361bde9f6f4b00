"""A packed folder with an adapter as a torch module: packed weights untouched, another head, prompts beside keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from snnq.arithmetic.integer_form import put_module
from snnq.arithmetic.prompts import Slots, prefix
from snnq.arithmetic.whole_modules import IntegerHead
from snnq.base.errors import PackedError
from snnq.network.prefixes import Site
from snnq.packed.adapter import Adapter, check_bound, read_adapter
from snnq.packed.adapter_sites import adapter_sites, whole_wiring
from snnq.packed.arrays import open_arrays
from snnq.packed.config import read_config
from snnq.packed.loading import load_packed
from snnq.packed.prompting import Features, Give, Prompting


class Adapted(nn.Module):
    """``backbone`` in whole numbers, prompted by ``pools``: frames (B, T, C, H, W) → logits (B, classes).

    Without a ``query`` of the last features one pass is run; with it a frozen one comes first, every time.
    """

    def __init__(
        self,
        backbone: nn.Module,
        head_path: str,
        head: IntegerHead,
        sites: Sequence[Site],
        pools: Mapping[str, Slots],
        *,
        twice: bool,
    ) -> None:
        super().__init__()
        self.backbone, self.head_path, self.pools, self.twice = backbone, head_path, pools, twice
        self.arithmetic = "integer"
        # Called with an attention's module, its query's sums (B, C) and what stands beside its keys and values.
        self.watch: Callable[[str, np.ndarray, np.ndarray, np.ndarray], None] | None = None
        self.set_head(head)
        steps = int(backbone.config.steps)  # pyright: ignore[reportAttributeAccessIssue, reportArgumentType]
        self.prompting = Prompting(backbone, sites, steps)

    def set_head(self, head: IntegerHead) -> None:
        """Put a head in the place of the backbone's."""
        put_module(self.backbone, self.head_path, head)
        self.features = Features(head)

    def forward(self, frames: Tensor) -> Tensor:
        """Return the logits."""
        query = None
        if self.twice:
            self.prompting.give = None
            self.backbone(frames)
            query = self.sums()
        self.prompting.give = self._give(query) if self.pools else None
        try:
            return self.backbone(frames)
        finally:
            self.prompting.give = None

    def sums(self) -> Tensor:
        """Return the whole numbers (B, n), float64, whose mean the head saw last."""
        return (self.features.take().double() * self.summands).round()

    @property
    def summands(self) -> Tensor:
        """How many whole numbers each of the head's inputs is the mean of, float64 (n,), or (1,)."""
        head = self.backbone.get_submodule(self.head_path)
        assert isinstance(head, IntegerHead)
        return head.summands

    def _give(self, query: Tensor | None) -> Give:
        def give(site: Site, own: Tensor) -> tuple[Tensor, Tensor]:
            if site.module not in self.pools:
                empty = torch.zeros(len(own), 0, site.channels, device=own.device)
                return empty, empty
            sums = (own if query is None else query).double().round().cpu().numpy().astype(np.int64)
            found = prefix(self.pools[site.module], sums)
            if self.watch is not None:
                self.watch(site.module, sums, *found)
            keys, values = (torch.from_numpy(np.ascontiguousarray(part)).to(own.device) for part in found)
            return keys, values

        return give


def load_adapted(path: str | Path, adapter: str | Path | Adapter) -> nn.Module:
    """Return the model of a packed folder with an adapter, in eval mode; frames (B, T, C, H, W) → logits (B, classes).

    It computes in whole numbers, as every engine does bit for bit; for the method ``full`` in floating point. Raises
    VerificationError for an adapter of another folder, and what opening both raises.
    """
    found = adapter if isinstance(adapter, Adapter) else read_adapter(adapter)
    if found.facts.method == "full":
        return _finetuned(path, found)
    sites = adapter_sites(path, found)
    model, where = load_packed(path, "integer"), head_path(path)
    head = whole_head(path, model, *found.head)
    return Adapted(model, where, head, sites, found.pools, twice=found.facts.query == "features")


def head_path(path: str | Path) -> str:
    """Return the module path of a folder's head."""
    return whole_wiring(path, read_config(Path(path))).head


def whole_head(path: str | Path, model: nn.Module, weight: np.ndarray, bias: np.ndarray) -> IntegerHead:
    """Return a head of float32 weight (classes, n) and bias in the fixed point that the folder's own head has."""
    old = model.get_submodule(head_path(path))
    assert isinstance(old, IntegerHead)
    network = open_arrays(path).network
    made = IntegerHead(network.heads(weight, bias), network.read_parts, network.wiring.graph.steps)
    return made.to(old.weight.device)


def _finetuned(path: str | Path, adapter: Adapter) -> nn.Module:
    """Return the float model of the method ``full``."""
    check_bound(path, adapter)
    model, where, (weight, bias) = load_packed(path, "float"), head_path(path), adapter.head
    state = {name: torch.from_numpy(one) for name, one in adapter.weights.items()}
    _check_names(adapter, model, where, state)
    put_module(model, where, float_head(torch.from_numpy(weight), torch.from_numpy(bias)))
    model.load_state_dict(state, strict=False)
    return model.eval().requires_grad_(False)


def float_head(weight: Tensor, bias: Tensor) -> nn.Linear:
    """Return a linear layer of these values."""
    head = nn.Linear(weight.shape[1], weight.shape[0])
    head.load_state_dict({"weight": weight, "bias": bias})
    return head


def _check_names(adapter: Adapter, model: nn.Module, head: str, state: Mapping[str, Tensor]) -> None:
    own = {name: one for name, one in model.state_dict().items() if not name.startswith(f"{head}.")}
    for name in [*own, *state]:
        if name not in own or name not in state or own[name].shape != state[name].shape:
            raise PackedError(f"{adapter.path}: tensor 'model.{name}' does not fit the model")
