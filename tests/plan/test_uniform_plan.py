import hashlib
import json

import pytest
from safetensors.torch import save_file

from snnq.base.errors import CheckpointError, UsageError
from snnq.models.registry import architecture, build
from snnq.network.layers import layer_table
from snnq.searching.uniform import uniform_plan


def test_a_published_architecture(make):
    plan = uniform_plan("uniform-2", architecture="spikformer-cifar10dvs")
    assert plan.totals == make("uniform-2").totals
    assert plan.groups == make("uniform-2").groups
    assert {layer.scheme for layer in plan.layers} == {"uniform-2"}
    assert (plan.model.architecture, plan.model.layout) == ("spikformer-cifar10dvs", "cifar10dvs")
    assert plan.model.config["image_size"] == [128, 128]
    assert plan.model.checkpoint is None


def test_given_sizes_replace_the_published_ones():
    plan = uniform_plan("float32", architecture="spikformer-cifar10", steps=1, heads=6, image_size=(8, 16))
    assert (plan.model.config["steps"], plan.model.config["heads"]) == (1, 6)
    assert plan.model.config["image_size"] == [8, 16]
    assert plan.layers[0].macs == plan.layers[0].shape[0] * 3 * 9 * 8 * 16


def test_a_checkpoint_is_opened_and_recorded(tmp_path):
    config = {"image_size": [16, 16], "dim": 32, "depth": 1, "heads": 4, "classes": 5, "steps": 2, "in_channels": 2}
    model = build("spikformer-cifar10dvs", config)
    path = tmp_path / "float.safetensors"
    facts = {
        "architecture": "spikformer-cifar10dvs",
        "config": architecture("spikformer-cifar10dvs").config(config).to_dict(),
    }
    save_file(model.state_dict(), path, {"snnq": json.dumps(facts)})
    plan = uniform_plan("power-of-two-4", checkpoint=path, steps=None)
    assert plan.model.checkpoint == str(path)
    assert plan.model.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert plan.layer_table() == layer_table(model, (2, 2, 16, 16))
    with pytest.raises(CheckpointError, match="steps"):
        uniform_plan("power-of-two-4", checkpoint=path, steps=3)


def test_a_model_is_wanted():
    with pytest.raises(UsageError, match="for an architecture or for a checkpoint"):
        uniform_plan("uniform-2")
    assert (
        uniform_plan("uniform-2", architecture="spikformer-cifar10dvs", checkpoint="digits").model.config["dim"] == 64
    )
    with pytest.raises(CheckpointError, match="--architecture spikformer-cifar10 contradicts the file"):
        uniform_plan("uniform-2", architecture="spikformer-cifar10", checkpoint="digits")


def test_unknown_names_get_the_nearest():
    with pytest.raises(UsageError, match=r"unknown scheme 'uniform2' \(did you mean 'uniform-2'\?\)"):
        uniform_plan("uniform2", architecture="spikformer-cifar10")
    with pytest.raises(UsageError, match="spikformer-cifar10dvs"):
        uniform_plan("uniform-2", architecture="spikformer-cifar10dv")
