"""A scheme for every time step: do weights that change from step to step pay for the bits they take?

python examples/scheme_per_step/run.py digits --seeds 0,1,2

Every arm starts from the same float model of its seed and is finetuned equally long, the float model too; the epoch of
the least validation loss is kept. A finished cell is skipped. ``scheme-per-step.csv`` has validation and test of all
cells: choose on the first, and look at the second once.
"""

from __future__ import annotations

import copy
import json
import time
from pathlib import Path
from typing import Annotated

import pandas as pd
import torch
import torch.nn.functional as F
import typer
from safetensors.torch import load_model, save_model
from torch import Tensor, nn
from torch.func import functional_call

from snnq import console
from snnq.base.files import write_atomic
from snnq.data import DataSet, open_data
from snnq.models.registry import build
from snnq.network.layers import quantisable
from snnq.schemes.format import round_ste
from snnq.training.batches import load, training_batches
from snnq.training.evaluation import evaluate
from snnq.training.quantized import FakeQuantize, parameter_groups

ARCHITECTURE, HEAD, STEPS = "spikformer-cifar10dvs", "uniform-8", 4
# Of each step its scheme; ``carried``: ternary, each step taking over what the one before has rounded away.
ARMS: dict[str, list[str]] = {
    "float32": ["float32"] * 4,
    "ternary": ["ternary"] * 4,
    "ternary, own scales": ["ternary"] * 4,
    "ternary, carried": ["ternary"] * 4,
    "uniform-6": ["uniform-6"] * 4,
    "uniform-4": ["uniform-4"] * 4,
    "uniform-3": ["uniform-3"] * 4,
    "4, 4, 2, 2": ["uniform-4", "uniform-4", "uniform-2", "uniform-2"],
    "2, 2, 4, 4": ["uniform-2", "uniform-2", "uniform-4", "uniform-4"],
    "4, 2, 2, 4": ["uniform-4", "uniform-2", "uniform-2", "uniform-4"],
}
# Bits a weight that lie in memory, and that a step reads on average; log2(3) of a ternary one. Both widths of a layer
# that has two are kept, since each has a scale of its own.
BITS = {
    **{"float32": (32, 32), "ternary": (1.58, 1.58), "uniform-6": (6, 6), "uniform-4": (4, 4), "uniform-3": (3, 3)},
    **dict.fromkeys(("ternary, own scales", "ternary, carried"), (6.34, 1.58)),
    **dict.fromkeys(("4, 4, 2, 2", "2, 2, 4, 4", "4, 2, 2, 4"), (6, 3)),
}


class Carried(nn.Module):
    """Weights of all steps, each ternary: w_t = s · clamp(round(w/s + e), -1, 1), e what was rounded away before.

    So their mean over T steps has 2T + 1 levels. ``s`` is learned by its logarithm.
    """

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.start: Tensor
        self.register_buffer("start", FakeQuantize("ternary", weight).params()["scale"].detach())
        self.scale_shift = nn.Parameter(torch.zeros_like(self.start))

    def forward(self, weight: Tensor) -> list[Tensor]:
        """Return the weight of every step."""
        scale = self.start * self.scale_shift.exp()
        given, error, found = weight.flatten(1) / scale, torch.zeros_like(weight.flatten(1)), []
        for _ in range(STEPS):
            code = round_ste((given + error).clamp(-1, 1))
            error = (given + error - code).detach()
            found.append((code * scale).view_as(weight))
        return found


class ByStep(nn.Module):
    """A layer whose weight is another one in every time step: (T · B, …) → (T · B, …), steps first."""

    def __init__(self, layer: nn.Module, *parts: nn.Module) -> None:
        """``parts``: a weight → that of a step, one for each or one for all; or → a list of all steps' weights."""
        super().__init__()
        self.layer, self.parts = layer, nn.ModuleList(parts)

    def forward(self, x: Tensor) -> Tensor:
        """Return what the layer gives."""
        made = [part(self.layer.get_parameter("weight")) for part in self.parts]
        weights = made[0] if isinstance(made[0], list) else made
        chunks = x.chunk(len(weights)) if len(weights) > 1 else (x,)
        return torch.cat([functional_call(self.layer, {"weight": w}, c) for w, c in zip(weights, chunks, strict=True)])


def quantised(model: nn.Module, arm: str) -> nn.Module:
    """Return a copy of a float model under an arm's schemes."""
    model, schemes = copy.deepcopy(model), ARMS[arm]
    for name, (layer, _) in quantisable(model).items():
        weight = layer.get_parameter("weight").detach()
        if arm == "float32":
            continue
        if name == "head":  # it sees the mean over time
            parts: list[nn.Module] = [FakeQuantize(HEAD, weight)]
        elif arm == "ternary, carried":
            parts = [Carried(weight)]
        else:
            parts = [FakeQuantize(scheme, weight) for scheme in schemes]
            parts = parts if arm.endswith("own scales") or len(set(schemes)) > 1 else parts[:1]
        parent, _, last = name.rpartition(".")
        model.get_submodule(parent).register_module(last, ByStep(layer, *parts))
    return model


def train(model: nn.Module, data: DataSet, seed: int, epochs: int, rate: float) -> nn.Module:
    """Return the model as it was after the epoch of the least validation loss."""
    optimizer = torch.optim.AdamW(parameter_groups(model, 0.01), lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    best, least = copy.deepcopy(model), float("inf")
    for epoch in range(epochs):
        model.train()
        for frames, labels in load(data.train, training_batches(len(data.train), 32, seed, epoch)):
            optimizer.zero_grad()
            F.cross_entropy(model(frames), labels).backward()
            optimizer.step()
        schedule.step()
        loss = evaluate(model, data.validation, 128).loss
        if loss < least:
            best, least = copy.deepcopy(model), loss
    return best


def main(
    data: Annotated[str, typer.Argument(help="Data spec.")] = "digits",
    out: Annotated[Path, typer.Option(help="Where cells and scheme-per-step.csv go.")] = Path("scheme-per-step"),
    seeds: Annotated[str, typer.Option(help="Paired: every arm has them.")] = "0,1,2",
    dim: Annotated[int, typer.Option(help="Features.")] = 32,
    side: Annotated[int, typer.Option(help="Height and width of frames.")] = 16,
    float_epochs: Annotated[int, typer.Option(help="Of every float model.")] = 30,
    epochs: Annotated[int, typer.Option(help="Of every arm.")] = 10,
    arms: Annotated[str, typer.Option(help="Some of the arms, separated by semicolons.")] = ";".join(ARMS),
) -> None:
    """Run the cells, print one line each, and write <out>/scheme-per-step.csv."""
    opened = open_data(data, steps=STEPS, image_size=(side, side))
    sizes = {"dim": dim, "depth": 1, "heads": 2, "steps": STEPS, "image_size": [side, side]}
    sizes |= {"classes": len(opened.classes), "in_channels": opened.frames_shape[1]}
    for seed in map(int, seeds.split(",")):
        model = None
        for arm in arms.split(";"):
            file = out / str(seed) / f"{arm.replace(', ', '-').replace(' ', '-')}.json"
            if not file.exists():
                model = model or _float_model(out / str(seed) / "float.safetensors", sizes, opened, seed, float_epochs)
                begun = time.perf_counter()
                found = train(quantised(model, arm), opened, seed, epochs, 5e-4)
                seen = {split: evaluate(found, getattr(opened, split), 128) for split in ("validation", "test")}
                cell = {split: one.accuracy for split, one in seen.items()}
                cell |= {f"{split}_loss": one.loss for split, one in seen.items()}
                cell |= {"seconds": time.perf_counter() - begun}
                stored, read = BITS[arm]
                said = {"arm": arm, "seed": seed, "stored_bits": stored, "read_bits": read, **cell}
                write_atomic(file, json.dumps(said, indent=2) + "\n")
            cell = json.loads(file.read_text(encoding="utf-8"))
            console.note(f"seed {seed}, {arm}: validation {cell['validation']:.4f}, loss {cell['validation_loss']:.4f}")
    rows = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(out.glob("*/*.json"))]
    pd.DataFrame(rows).to_csv(out / "scheme-per-step.csv", index=False, float_format="%.6g")


def _float_model(file: Path, sizes: dict[str, object], data: DataSet, seed: int, epochs: int) -> nn.Module:
    torch.manual_seed(seed)
    model = build(ARCHITECTURE, sizes)
    if file.exists():
        load_model(model, file)
        return model
    model = train(model, data, seed, epochs, 2e-3)
    file.parent.mkdir(parents=True, exist_ok=True)
    save_model(model, str(file))
    return model


if __name__ == "__main__":
    typer.run(main)
