"""A tiny folded model with different schemes in its layers, its plan and its codes: what these tests pack."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import torch
from lively import MIXED
from torch import Tensor, nn

from snnq.cost.table import read_table
from snnq.models.registry import architecture
from snnq.models.staged.sizes import LAYOUTS as STAGED
from snnq.network.folding import fold_batchnorm
from snnq.network.layers import frames_shape, layer_table
from snnq.packed.coding import Coded
from snnq.packed.folder import write_packed
from snnq.plan import DataInfo, ModelInfo, Plan, make_plan
from snnq.schemes.holding import candidate
from snnq.schemes.scheme import scheme

RESULTS: dict[str, Any] = {
    "schema_version": 1,
    "accuracy": {
        "data": "random",
        "simulated": True,
        "validation_samples": 8,
        "test_samples": 4,
        "float": {"validation": 0.5, "test": 0.25},
        "plan": {"validation": 0.375, "test": 0.25},
    },
    "losses": [0.5, 0.25],
}


@dataclass(frozen=True)
class Sample:
    model: nn.Module
    plan: Plan
    layers: dict[str, Coded]
    frames: Tensor

    def write(self, folder: Path, *, force: bool = False, **changes: Any) -> Path:
        given = {"model": self.model, "plan": self.plan, "layers": self.layers, "results": RESULTS} | changes
        write_packed(folder, **given, force=force)
        return folder

    def with_layer(self, name: str, **changes: Any) -> dict[str, Coded]:
        return self.layers | {name: self.layers[name]._replace(**changes)}


def make_sample(
    layout: str = "cifar10dvs", schemes: tuple[str, ...] = MIXED, seed: int = 0, sparsity: float = 0
) -> Sample:
    """A model whose layers take ``schemes`` in turn; every value in it is random. A Spikformer, or one of stages.

    A share of the weights, ``sparsity``, is exactly zero.
    """
    one = architecture(layout if layout in STAGED else f"spikformer-{layout}")
    sizes = {"dim": 16, "depth": 1, "heads": 2, "steps": 2, "image_size": [16, 16], "classes": 3}
    config = one.default_config() | sizes | ({"depth": 4} if layout in STAGED else {})
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = one.build(config)
        for name, value in model.state_dict().items():
            if value.is_floating_point() and "_bn" in name:
                value.copy_(torch.rand_like(value) + 0.5)
            elif sparsity and value.ndim > 1:
                value.masked_fill_(torch.rand_like(value) < sparsity, 0)
        frames = torch.randint(0, 4, (2, *frames_shape(config))).float()
    table = layer_table(model, frames_shape(config))
    chosen = {layer.name: name for layer, name in zip(table, cycle(schemes), strict=False)}
    folded = fold_batchnorm(model, one.wiring(config).norms).eval()
    coded = {name: encode(folded, name, which, sparsity > 0) for name, which in chosen.items() if which != "float32"}
    plan = make_plan(
        table,
        chosen,
        model=ModelInfo(architecture=one.name, layout=layout, config=config),
        data=DataInfo(spec="random", sha256="0" * 64, classes=("zero", "one", "two")),
        table=read_table("horowitz-45nm"),
    )
    return Sample(folded, plan, coded, frames)


@torch.no_grad()
def encode(model: nn.Module, name: str, scheme_name: str, masked: bool = False) -> Coded:
    """Quantise one layer in place, and return its codes."""
    weight, one = model.get_submodule(name).get_parameter("weight"), candidate(scheme(scheme_name), masked)
    params = one.stored(one.fit(weight))
    codes = one.encode(weight, params)
    weight.copy_(one.decode(codes, params).view_as(weight))
    return Coded(scheme_name, codes, params)
