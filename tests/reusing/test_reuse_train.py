"""A plan of reuse is trained, goes on where it was cut off, and what comes of it goes the whole way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from agreeing import engines_agree
from test_reuse_plan import CONFIG, LAYOUT, QUIET, save

import snnq
from snnq.assessing.variation import Varied
from snnq.base.errors import OutputExistsError, PlanError, UsageError
from snnq.checkpoints.opening import load_model, open_checkpoint
from snnq.cli.main import run
from snnq.network.layers import frames_shape
from snnq.training.finetuning import Finetuning
from snnq.training.loop import Position

SHORT: Any = {"epochs": 1, "batch_size": 4, "partial": 0.5, **QUIET}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    save("float.safetensors")
    snnq.reuse_plan("float.safetensors", blocks=1, **QUIET)
    return tmp_path


@pytest.mark.timeout(300)
def test_plan_train_prune_ptq_verify_every_engine(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = snnq.reuse_train("float.safetensors", **SHORT)
    assert [one.pattern for one in made.tried] == ["strided", "continuous"]
    best = max(made.tried, key=lambda one: (one.validation, -one.validation_loss))
    assert made.pattern == best.pattern
    opened = open_checkpoint("reused.safetensors")
    assert opened.config["structure"] == [{"edit": "reused", "attentions": made.attentions}]
    found = snnq.imc_report("reused.safetensors", target="trex-32nm").mapped
    assert made.costs.delay_ns == found.latency_ns  # predicted before, counted after
    assert snnq.reuse_train("float.safetensors", **SHORT) == made  # known
    snnq.reuse_plan("float.safetensors", blocks=1, target="spikesim-65nm", out="other.json", **QUIET)
    other = snnq.reuse_train("float.safetensors", plan="other.json", **SHORT)  # the same training, of other costs
    assert other.after == made.after
    assert other.target.target == "spikesim-65nm"
    assert other.costs.delay_ns == snnq.imc_report("reused.safetensors").mapped.latency_ns
    with pytest.raises(OutputExistsError, match="not from this checkpoint and settings"):
        snnq.reuse_train("float.safetensors", **{**SHORT, "seed": 1})
    snnq.prune("reused.safetensors", sparsity=0.5, rounds=0, batch_size=8, **QUIET)
    assert run(["ptq", "pruned.safetensors", "--method", "rtn", "--scheme", "uniform-2", "--batch-size", "8"]) == 0
    assert run(["verify", "packed"]) == 0
    engines_agree(place / "packed", frames_shape(CONFIG), capsys)
    assert snnq.imc_report("packed", target="trex-32nm").mapped.latency_ns <= found.latency_ns


@pytest.mark.timeout(300)
def test_a_run_that_was_cut_off_goes_on_to_the_same_bytes(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut in the second pattern, and again in the full training; each step is on a chip of its own."""
    words = {**SHORT, "noise": "write-noise=0.2"}
    snnq.reuse_train("float.safetensors", out="whole.safetensors", **words)
    own, steps = Finetuning.step, {"left": 3}

    def cut(self: Finetuning, place: Position, indices: list[int]) -> Any:
        steps["left"] -= 1
        if steps["left"] < 0:
            raise RuntimeError("cut off")
        return own(self, place, indices)

    monkeypatch.setattr(Finetuning, "step", cut)
    for left in (3, 3):  # two steps of a half of 16 samples, then one; the rest of it, then one in full
        steps["left"] = left
        with pytest.raises(RuntimeError, match="cut off"):
            snnq.reuse_train("float.safetensors", out="cut.safetensors", **words)
    monkeypatch.setattr(Finetuning, "step", own)
    snnq.reuse_train("float.safetensors", out="cut.safetensors", **words)
    one, other = (open_checkpoint(f"{name}.safetensors") for name in ("whole", "cut"))
    assert one.config == other.config
    assert all(torch.equal(one.state_dict[name], other.state_dict[name]) for name in one.state_dict)


def test_noise_of_arrays_is_trained_with(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn, own = set(), Varied.draw
    monkeypatch.setattr(Varied, "draw", lambda self, *which: drawn.add((*self.place, which[0])) or own(self, *which))
    made = snnq.reuse_train("float.safetensors", **{**SHORT, "noise": "write-noise=0.1"})
    assert not made.batchnorm_reestimated
    with pytest.raises(OutputExistsError):  # the chips of another target are others
        snnq.reuse_train("float.safetensors", **{**SHORT, "noise": "write-noise=0.1,target=spikesim-65nm"})
    assert {
        (where, number, "block.0.mlp.fc1") for where, number in [("step", 0), ("step", 1), ("validation", 0)]
    } <= drawn
    model = load_model(open_checkpoint("reused.safetensors"))  # a float model, without what was in its place
    assert snnq.eval("reused.safetensors", progress=snnq.silent).accuracy == made.after.test
    assert model.get_parameter("block.0.mlp.fc1.weight").unique().numel() > 2**8  # not rounded


def test_what_cannot_be_trained_is_refused_before_the_hours(place: Path) -> None:
    save("other.safetensors", depth=4)
    with pytest.raises(PlanError, match="it was made for another checkpoint"):
        snnq.reuse_train("other.safetensors", **SHORT)
    snnq.reuse_plan("float.safetensors", delay=1.0, out="none.json", **QUIET)
    with pytest.raises(PlanError, match="no attention reuses in this plan"):
        snnq.reuse_train("float.safetensors", plan="none.json", **SHORT)
    for words, said in (
        ({"partial": 0.0}, "--partial 0: a share"),
        ({"noise": "on"}, "--noise on: give WORD=VALUE once each, of write-noise"),
        ({"noise": "write-noise=0"}, "--noise write-noise=0: there is no noise to train with"),
        ({"epochs": 0}, "--epochs 0: a block that reuses has to be trained"),
    ):
        with pytest.raises(UsageError, match=said):
            snnq.reuse_train("float.safetensors", **{**SHORT, **words})
    assert not Path("reused.safetensors.run").exists()
    assert open_checkpoint("float.safetensors").architecture == LAYOUT
