"""What a checkpoint is, without training anything: its layout, its configuration, its layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from snnq.base.errors import UsageError
from snnq.base.strict_json import Json
from snnq.checkpoints.opening import Checkpoint, load_model, open_checkpoint
from snnq.checkpoints.sizes import Given, shown
from snnq.cost.rate_card import RateCard
from snnq.data.sources import shows_images
from snnq.models.registry import architecture, attention_table
from snnq.network.drawn import Drawn
from snnq.network.graph import Graph
from snnq.network.graph_check import check_graph
from snnq.network.layers import GROUPS, Layer, frames_shape, layer_table, quantisable
from snnq.network.products import Products
from snnq.network.wiring import FloatWiring, Wiring
from snnq.structure.edits import STRUCTURE, described, edits_of

if TYPE_CHECKING:
    from torch import Tensor, nn

FACT_COLUMNS = ("fact", "value")
_NO_FACTS = ("layout", STRUCTURE, "graph", "floating")  # said elsewhere


@dataclass(frozen=True)
class LayerSums:
    """Sums over the layers of a group, or of all: weights, float32 bytes of them, MACs per time step and sample."""

    layers: int
    weights: int
    bytes_float32: int
    macs: int

    @classmethod
    def of(cls, layers: Sequence[Layer]) -> LayerSums:
        """Return the sums over ``layers``."""
        weights = sum(layer.weights for layer in layers)
        return cls(len(layers), weights, 4 * weights, sum(layer.macs for layer in layers))


@dataclass(frozen=True)
class Inspection:
    """A checkpoint's facts, its layer table, and totals by group (in the order they run) and of all layers.

    ``others`` are weights of two dimensions and more that are no layer's: they stay in float32. ``attentions``: the
    products inside each attention, its integer range, operand and latency; empty where not known. ``wiring`` says in
    which arithmetic and on which engines the model will run packed. ``graph``: its operations, where they were asked
    for; ``spikes`` were made on both ways to the same logits when they were checked. ``rates``: its neurons' firing
    rates on real data, where they were measured.
    """

    checkpoint: Checkpoint
    layers: tuple[Layer, ...]
    groups: dict[str, LayerSums]
    totals: LayerSums
    others: tuple[str, ...]
    attentions: tuple[Products, ...]
    wiring: Wiring | FloatWiring
    graph: Graph | None = None
    spikes: int = 0
    rates: RateCard | None = None

    def to_dict(self) -> Json:
        """Return everything but the weights as JSON-ready values."""
        checkpoint = {name: value for name, value in vars(self.checkpoint).items() if name != "state_dict"}
        checkpoint |= {"dropped": list(self.checkpoint.dropped), "notes": list(self.checkpoint.notes)}
        return {
            **checkpoint,
            "arithmetic": self.wiring.arithmetic,
            "engines": list(self.wiring.engines),
            "reason": getattr(self.wiring, "reason", None),
            "layers": [
                {**asdict(layer), "shape": list(layer.shape), "weights": layer.weights} for layer in self.layers
            ],
            "groups": {name: asdict(totals) for name, totals in self.groups.items()},
            "totals": asdict(self.totals),
            "others": list(self.others),
            "attentions": [one.to_dict() for one in self.attentions],
            **({"rates": self.rates.model_dump(mode="json")} if self.rates else {}),
            **({"graph": self.graph.to_dict() | {"checked_spikes": self.spikes}} if self.graph else {}),
        }

    def fact_rows(self) -> list[tuple[str, str]]:
        """Return the checkpoint's facts, for ``FACT_COLUMNS``."""
        found = self.checkpoint
        sizes = {name: value for name, value in found.config.items() if name not in _NO_FACTS}
        rows = [
            ("file", found.path),
            ("sha256", found.sha256),
            ("container", found.container),
            ("architecture", found.architecture),
            ("upstream layout", found.layout),
            *((name.replace("_", " "), shown(name, value)) for name, value in sizes.items()),
        ]
        if edits := edits_of(found.config):
            rows.append((STRUCTURE, described(edits)))
        rows.append(("packed, it will run", self.wiring.where))
        if self.others:
            rows.append(("weights that stay in float32", ", ".join(self.others)))
        if found.dropped:
            rows.append(("unused tensors left out", str(len(found.dropped))))
        if found.weights:
            rows.append(("weights taken", found.weights))
        return [*rows, ("trained on", found.data)] if found.data else rows


def inspect(path: str | Path, *, graph: bool = False, **given: Unpack[Given]) -> Inspection:
    """Open a checkpoint, recognise it and trace its layers once.

    ``graph``: its operations, too, which are run with the checkpoint's weights and must give the model's logits.
    ``given`` are the sizes and the model of ``open_checkpoint``; raises ``CheckpointError`` as it does, ``UsageError``
    for a graph that is not known, ``VerificationError`` for one that computes something else.
    """
    checkpoint = open_checkpoint(path, **given)
    drawn = _graph(checkpoint) if graph else None
    model = load_model(checkpoint)
    drawn = drawn and drawn.resized({name: len(one.weight) for name, (one, _) in quantisable(model).items()})
    shape = frames_shape(checkpoint.config)
    layers = layer_table(model, shape, reals=shows_images(checkpoint.data, shape[1]))
    planned = {f"{layer.name}.weight" for layer in layers}
    groups = {name: tuple(layer for layer in layers if layer.group == name) for name in GROUPS}
    return Inspection(
        checkpoint=checkpoint,
        layers=layers,
        groups={name: LayerSums.of(members) for name, members in groups.items() if members},
        totals=LayerSums.of(layers),
        others=tuple(name for name, one in model.named_parameters() if one.ndim > 1 and name not in planned),
        attentions=attention_table(checkpoint.architecture, checkpoint.config),
        wiring=architecture(checkpoint.architecture).wiring(checkpoint.config),
        graph=drawn,
        spikes=_checked(drawn, model, _counts(checkpoint)) if drawn else 0,
    )


def _checked(drawn: Graph, model: nn.Module, frames: Tensor) -> int:
    return check_graph(drawn, model, frames, Drawn(drawn, model) if drawn.traced else None)


def _graph(checkpoint: Checkpoint) -> Graph:
    one = architecture(checkpoint.architecture)
    found = one.graph(checkpoint.config)
    if found is None:
        reason = getattr(one.wiring(checkpoint.config), "reason", "it is not drawn")
        raise UsageError(f"{checkpoint.path}: no graph is known of {checkpoint.architecture}, because {reason}")
    return found


def _counts(checkpoint: Checkpoint) -> Tensor:
    """Return one sample of random event counts."""
    import torch

    rates = torch.full((1, *frames_shape(checkpoint.config)), 0.5)
    return torch.poisson(rates, generator=torch.Generator().manual_seed(0))
