"""A packed folder of a tiny model with made-up measurements: everything a report reads, in well under a second."""

import shutil

import pytest
import torch
from report_editing import edit

from snnq.assessing.accel import accel
from snnq.assessing.measure import measure_folder
from snnq.cost.table import read_table
from snnq.models.registry import architecture
from snnq.network.folding import fold_batchnorm
from snnq.network.layers import frames_shape, layer_table
from snnq.packed.coding import Coded
from snnq.packed.folder import write_packed
from snnq.packing.results import weight_record
from snnq.plan import DataInfo, ModelInfo, SearchInfo, make_plan
from snnq.plan.records import Baseline
from snnq.reporting.run import report
from snnq.schemes.scheme import scheme

NAME = "spikformer-cifar10dvs"
CONFIG = {
    "in_channels": 2,
    "image_size": [16, 16],
    "dim": 16,
    "depth": 1,
    "heads": 2,
    "classes": 10,
    "steps": 2,
    "pooling": [True, False, True, False],
}
SPACE = ("uniform-2", "uniform-4", "power-of-two-4", "float32")
# All the rest is uniform-2.
CHOSEN = {
    "patch_embed.proj_conv": "uniform-4",
    "block.0.attn.v": "uniform-4",
    "block.0.attn.proj": "float32",
    "head": "power-of-two-4",
}
SCORES = {
    "data": "digits",
    "simulated": True,
    "float": {"validation": 0.975, "validation_loss": 0.1, "test": 0.9722, "test_loss": 0.11},
    "plan": {"validation": 0.97, "validation_loss": 0.12, "test": 0.9667, "test_loss": None},
    "validation_samples": 269,
    "test_samples": 360,
}


FRONT = [
    {"avg_bits": bits, "storage_fraction": bits / 32, "energy_fraction": bits / 30, "predicted_loss": predicted}
    | {"validation_loss": loss, "validation_accuracy": accuracy}
    for bits, predicted, loss, accuracy in (
        (2.0, 0.4, 0.7, 0.6),
        (2.5, 0.2, None, None),
        (3.2, 0.1, 0.52, 0.9),
        (4.0, 0.0, 0.5, 0.91),
    )
]


def search_epochs(schemes):
    """Three epochs over which each layer's scheme gains; the head stays the least certain."""
    epochs = []
    for epoch, share in enumerate((0.4, 0.7, 0.91), start=1):
        rows = {}
        for name, chosen in schemes.items():
            own = share - 0.2 if name == "head" else share
            rows[name] = [own if one == chosen else (1 - own) / 3 for one in SPACE]
        epochs.append(
            {"epoch": epoch, "loss": 1.0, "bits": 8.0 / epoch, "decided": 3 * epoch, "space": list(SPACE)}
            | {"probabilities": rows}
        )
    return epochs


def results(weights, epochs):
    history = [
        {"epoch": i, "loss": 1 / i, "accuracy": 0.9, "validation_accuracy": 0.96 + i / 200, "validation_loss": 0.2}
        for i in (1, 2)
    ]
    tuned = {"epochs": 2, "batch_size": 32, "seed": 5, "distillation": 0.25, "best_epoch": 2}
    return {
        "schema_version": 1,
        "tool": "snnq 0.1.0",
        "fingerprint": "f" * 64,
        "accuracy": SCORES,
        "finalize": tuned | {"batchnorm_reestimated": True, "history": history},
        "search": epochs,
        "front": FRONT if epochs else None,
        "weights": weights,
    }


def make_folder(folder, *, spec="digits", checkpoint="digits", searched=True):
    torch.manual_seed(0)
    model = architecture(NAME).build(CONFIG).eval()
    config = architecture(NAME).config(CONFIG).to_dict()
    layers = layer_table(model, frames_shape(config))
    schemes = {layer.name: CHOSEN.get(layer.name, "uniform-2") for layer in layers}
    epochs = search_epochs(schemes)
    last: dict[str, dict[str, float]] = {
        name: dict(zip(SPACE, row, strict=True)) for name, row in epochs[-1]["probabilities"].items()
    }
    plan = make_plan(
        layers,
        schemes,
        model=ModelInfo(architecture=NAME, layout="cifar10dvs", config=config, checkpoint=checkpoint, sha256="c" * 64),
        data=DataInfo(spec=spec, sha256="d" * 64, classes=tuple("0123456789")),
        search=SearchInfo(
            method="differentiable",
            seed=3,
            epochs=3,
            trade_off=0.5,
            space=SPACE,
            options=("--trade-off", "0.5", "--space", ",".join(SPACE), "--epochs", "3", "--seed", "3"),
            fingerprint="e" * 64,
            validation_accuracy=0.4,
            validation_loss=0.55,
        )
        if searched
        else None,
        table=read_table(),
        probabilities=last if searched else None,
    )
    if searched:
        plan = plan.with_baselines(
            [
                Baseline(scheme=name, validation_accuracy=accuracy, validation_loss=1 - accuracy)
                for name, accuracy in (("float32", 0.975), ("uniform-4", 0.96), ("uniform-2", 0.27))
            ]
        )
    before = {name: model.get_parameter(f"{name}.weight").detach().clone() for name in schemes}
    coded = {}
    for name, chosen in schemes.items():
        one, weight = scheme(chosen), model.get_parameter(f"{name}.weight")
        if not one.is_float:
            params = one.stored(one.fit(weight))
            coded[name] = Coded(chosen, one.encode(weight, params), params)
            weight.data = one.decode(coded[name].codes, params).view_as(weight)
    folded = fold_batchnorm(model, architecture(NAME).wiring(config).norms)
    weights = {name: weight_record(old, folded.get_parameter(f"{name}.weight")).named() for name, old in before.items()}
    write_packed(folder, model=folded, plan=plan, layers=coded, results=results(weights, epochs if searched else None))
    return folder


@pytest.fixture(scope="session")
def make():
    return make_folder


@pytest.fixture(scope="session")
def ready(tmp_path_factory):
    """A packed folder to look at; tests that change one take ``packed``."""
    return make_folder(tmp_path_factory.mktemp("reporting") / "packed")


@pytest.fixture
def packed(ready, tmp_path):
    return shutil.copytree(ready, tmp_path / "packed")


@pytest.fixture(scope="session")
def found(ready):
    return report(ready)


@pytest.fixture(scope="session")
def activity(ready):
    """What the packed model does on two samples; its float checkpoint is made up, so it cannot be measured."""
    own, floats = measure_folder(ready, 2)
    assert floats is None
    return own


@pytest.fixture(scope="session")
def simulated(ready):
    """What the packed model takes on two machines, on two samples."""
    return accel(ready, target="loas,gamma", samples=2)


@pytest.fixture
def recorded(packed, activity):
    """The folder, with both models' activity recorded as finalize records it."""
    both = {name: activity.model_dump(mode="json") for name in ("plan", "float")}
    return edit(packed, lambda data: data.update(activity=both))


@pytest.fixture
def measured(recorded):
    return report(recorded)
