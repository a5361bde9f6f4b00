"""One cell: the model of an arm and seed is trained, tested once, and its energy is told by branch."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from arms import SIZES, Arm
from cnn3d import CNN3D, macs, register

import snnq
from snnq.base.files import write_atomic
from snnq.checkpoints.opening import load_model, open_checkpoint, save_checkpoint
from snnq.cost.table import read_table
from snnq.data import DataSet, open_data
from snnq.data.moving import MOTIONS
from snnq.models.registry import build
from snnq.training.evaluation import predict

sys.path.append(str(Path(__file__).resolve().parents[1]))
import train_float

BATCH = 32


@dataclass(frozen=True)
class Setting:
    """What all cells share: the folder of Fashion-MNIST, how many clips, how long, and where results go."""

    images: Path
    limit: str
    epochs: int
    still_epochs: int
    out: Path

    @property
    def spec(self) -> str:
        """The clips as a data spec."""
        return f"moving-fashion:{self.images},limit={self.limit}"

    def data(self) -> DataSet:
        """Open the clips."""
        return open_data(self.spec, steps=int(SIZES["steps"]), image_size=(32, 32))


def train(setting: Setting, arm: Arm, seed: int, folder: Path) -> Path:
    """Train an arm's model, from where it was cut off; return its checkpoint."""
    register()
    out, words = folder / "float.safetensors", _recipe(setting.epochs, seed)
    if arm.pretrained:
        start = folder / "start.safetensors"
        if not start.exists():
            _save_started(setting, arm, seed, start)
        train_float.main(setting.spec, out, start=str(start), **words)
    else:
        sizes = [f"{key}={value}" for key, value in arm.sizes.items()]
        train_float.main(setting.spec, out, architecture=arm.architecture, size=sizes, **words)
    return out


def _recipe(epochs: int, seed: int) -> dict[str, Any]:
    rates = {"rate": 3e-3, "start_rate": 3e-4, "floor_rate": 3e-5}
    return {"epochs": epochs, "batch_size": BATCH, "augment": "", "device": "cpu", "seed": seed, **rates}


def _save_started(setting: Setting, arm: Arm, seed: int, path: Path) -> None:
    """Write a new model of the arm whose ResNet has the weights of one trained on still frames of as many classes."""
    still = open_checkpoint(_still(setting, seed))
    torch.manual_seed(seed)
    config = {key: value for key, value in arm.sizes.items() if key != "image_size"}
    model = build(
        arm.architecture, config | {"image_size": [32, 32], "in_channels": 1, "classes": still.config["classes"]}
    )
    own = model.state_dict()
    taken = {key: value for key, value in still.state_dict.items() if key.startswith("ann.")}
    model.load_state_dict(own | taken)
    save_checkpoint(path, model, architecture=arm.architecture, facts={"data": setting.spec})


def _still(setting: Setting, seed: int) -> Path:
    """Return a ResNet that was trained on single frames, four times as many as there are clips."""
    out = setting.out / "still" / f"{seed}.safetensors"
    sizes = SIZES | {"steps": 1, "key_stride": 1}
    words = [f"{key}={value}" for key, value in sizes.items()]
    train, *others = setting.limit.split("+")
    spec = f"moving-fashion:{setting.images},limit={'+'.join((str(4 * int(train)), *others))}"
    if not out.exists():
        train_float.main(spec, out, architecture="respike-key", size=words, **_recipe(setting.still_epochs, seed))
    return out


def run_cell(setting: Setting, arm: Arm, seed: int) -> dict[str, Any]:
    """Return what a cell's file says; trains and tests the model where there is none."""
    folder = setting.out / "float" / arm.name / str(seed)
    file = folder / "cell.json"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        begun = time.monotonic()
        checkpoint, data = train(setting, arm, seed, folder), setting.data()
        model = load_model(open_checkpoint(checkpoint))
        cell = {"arm": arm.name, "seed": seed, "epochs": setting.epochs, "clips": len(data.train), "simulated": True}
        cell |= {f"validation_{key}": value for key, value in accuracies(model, data, "validation").items()}
        cell |= {f"test_{key}": value for key, value in accuracies(model, data, "test").items()}
        cell |= {"parameters": sum(one.numel() for one in model.parameters())} | energies(checkpoint, arm, setting)
        cell["seconds"] = time.monotonic() - begun
        write_atomic(file, json.dumps(cell, indent=2) + "\n")
    return json.loads(file.read_text(encoding="utf-8"))


def accuracies(model: torch.nn.Module, data: DataSet, split: str) -> dict[str, float]:
    """Return how often both, what moves and how it moves are told right; each by the sum over the other's classes."""
    logits, labels = predict(model, getattr(data, split), BATCH)
    both = logits.softmax(1).unflatten(1, (-1, len(MOTIONS)))
    things, ways = labels // len(MOTIONS), labels % len(MOTIONS)
    return {
        "joint": float((logits.argmax(1) == labels).double().mean()),
        "appearance": float((both.sum(2).argmax(1) == things).double().mean()),
        "motion": float((both.sum(1).argmax(1) == ways).double().mean()),
    }


def energies(checkpoint: Path, arm: Arm, setting: Setting, samples: int = 32) -> dict[str, float]:
    """Return the event energy in pJ of one clip by branch; of the 3D network its multiplications in float32."""
    if arm.architecture == CNN3D:
        model = load_model(open_checkpoint(checkpoint))
        count = macs(model, (int(SIZES["steps"]), 1, 32, 32))
        table, weights = read_table(), sum(one.numel() for one in model.parameters())
        compute = count * table.operation_pj("float32")
        memory = weights * 32 * table.weight_bit_pj
        return {"macs": count, "event_pj": compute + memory, "event_pj_all_compute": compute}
    found = snnq.measure(checkpoint, data=setting.spec, samples=samples, progress=snnq.silent).events
    named = {part.name.replace(" ", "_"): part.energy_pj for part in found.parts}
    computed = {f"{part.name.replace(' ', '_')}_compute": part.compute_pj for part in found.parts}
    whole = {"event_pj": found.total.energy_pj, "event_pj_all_compute": found.total.compute_pj}
    return whole | {f"event_pj_{name}": value for name, value in (named | computed).items()}
