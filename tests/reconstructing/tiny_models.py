"""Tiny folded models that fire, with batches of frames without labels, and their reconstruction in one call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from snnq.models.registry import architecture, build
from snnq.network.folding import fold_batchnorm
from snnq.network.layers import layer_table
from snnq.reconstructing.reconstruction import Reconstruction
from snnq.reconstructing.settings import PtqSettings
from snnq.training.loop import Position

CONFIG: dict[str, Any] = {
    "in_channels": 2,
    "image_size": [8, 8],
    "dim": 16,
    "depth": 2,
    "heads": 2,
    "steps": 3,
    "classes": 4,
    "pooling": [False, False, True, True],
}
DATA = "random,classes=4,samples=48"


@dataclass(frozen=True)
class Tiny:
    """A folded model, which norm is behind which layer, the layers' groups, and batches of frames."""

    model: nn.Module
    norms: dict[str, str]
    groups: dict[str, str]
    batches: list[Tensor]

    def start(self, scheme: str | dict[str, str] = "uniform-2", **knobs: Any) -> Reconstruction:
        """Return the reconstruction of it, at its beginning."""
        schemes = dict.fromkeys(self.groups, scheme) if isinstance(scheme, str) else scheme
        settings = PtqSettings(**{"method": "tesseraq", "steps": 1, "samples": 8, "batch_size": 4, **knobs})
        return Reconstruction(self.model, self.norms, schemes, self.groups, self.batches, settings)

    def run(self, scheme: str | dict[str, str] = "uniform-2", **knobs: Any) -> tuple[Reconstruction, list[dict]]:
        """Return it reconstructed, and what became of every block."""
        made, facts = self.start(scheme, **knobs), []
        for number in range(len(made.layout.blocks)):
            for step, batch in enumerate(made.order(number)):
                made.step(Position(number, step, step), batch)
            facts.append(made.after_block(number))
        return made, facts


def tiny_of(name: str, config: dict[str, Any], seed: int = 0, batch: int = 4) -> Tiny:
    """Return a model with norms that make its neurons fire, folded."""
    torch.manual_seed(seed)
    model = build(name, config)
    with torch.no_grad():
        for path, parameter in model.named_parameters():
            if "bn" in path:
                parameter.copy_(parameter + torch.rand_like(parameter))
    shape = (config["steps"], config["in_channels"], *config["image_size"])
    frames = torch.poisson(torch.rand(2 * batch, 1, *shape[1:]).expand(-1, shape[0], -1, -1, -1) * 2)
    groups = {layer.name: layer.group for layer in layer_table(model.eval(), shape)}
    norms = architecture(name).wiring(config).norms
    model.train()
    for _ in range(20):  # norms that fit what they see
        model(frames)
    return Tiny(fold_batchnorm(model, norms).eval(), norms, groups, list(frames.split(batch)))
