"""What a checkpoint is, without training anything: its layout, its configuration, its layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Unpack

from snnq.base.strict_json import Json
from snnq.checkpoints.opening import Checkpoint, load_model, open_checkpoint
from snnq.checkpoints.sizes import Given, shown
from snnq.models.registry import architecture, attention_table
from snnq.network.layers import GROUPS, Layer, frames_shape, layer_table
from snnq.network.products import Products
from snnq.network.wiring import FloatWiring, Wiring
from snnq.structure.edits import STRUCTURE, described, edits_of

FACT_COLUMNS = ("fact", "value")


@dataclass(frozen=True)
class Totals:
    """Sums over the layers of a group, or of all: weights, float32 bytes of them, MACs per time step and sample."""

    layers: int
    weights: int
    bytes_float32: int
    macs: int

    @classmethod
    def of(cls, layers: Sequence[Layer]) -> Totals:
        """Return the sums over ``layers``."""
        weights = sum(layer.weights for layer in layers)
        return cls(len(layers), weights, 4 * weights, sum(layer.macs for layer in layers))


@dataclass(frozen=True)
class Inspection:
    """A checkpoint's facts, its layer table, and totals by group (in the order they run) and of all layers.

    ``others`` are weights of two dimensions and more that are no layer's: they stay in float32. ``attentions``: the
    products inside each attention, its integer range, operand and latency; empty where not known. ``wiring`` says in
    which arithmetic and on which engines the model will run packed.
    """

    checkpoint: Checkpoint
    layers: tuple[Layer, ...]
    groups: dict[str, Totals]
    totals: Totals
    others: tuple[str, ...]
    attentions: tuple[Products, ...]
    wiring: Wiring | FloatWiring

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
        }

    def fact_rows(self) -> list[tuple[str, str]]:
        """Return the checkpoint's facts, for ``FACT_COLUMNS``."""
        found = self.checkpoint
        sizes = {name: value for name, value in found.config.items() if name not in ("layout", STRUCTURE)}
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


def inspect(path: str | Path, **given: Unpack[Given]) -> Inspection:
    """Open a checkpoint, recognise it and trace its layers once.

    ``given`` are the sizes and the model of ``open_checkpoint``; raises ``CheckpointError`` as it does.
    """
    checkpoint = open_checkpoint(path, **given)
    model = load_model(checkpoint)
    layers = layer_table(model, frames_shape(checkpoint.config))
    planned = {f"{layer.name}.weight" for layer in layers}
    groups = {name: tuple(layer for layer in layers if layer.group == name) for name in GROUPS}
    return Inspection(
        checkpoint=checkpoint,
        layers=layers,
        groups={name: Totals.of(members) for name, members in groups.items() if members},
        totals=Totals.of(layers),
        others=tuple(name for name, one in model.named_parameters() if one.ndim > 1 and name not in planned),
        attentions=attention_table(checkpoint.architecture, checkpoint.config),
        wiring=architecture(checkpoint.architecture).wiring(checkpoint.config),
    )
