"""The whole way: a checkpoint in, a verified packed folder out; the same bytes after being cut off."""

from __future__ import annotations

import dataclasses
import json
import signal
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import CONFIG, DATA

import snnq
from snnq.base.errors import CheckpointError, InterruptedRun, OutputExistsError, PlanError, RunChangedError, UsageError
from snnq.base.placing import MARK
from snnq.checkpoints.opening import save_checkpoint
from snnq.cli.main import run as command
from snnq.data.dataset import Frames
from snnq.models.registry import build
from snnq.packed.verification import verify
from snnq.reconstructing import run as ptq_run
from snnq.reconstructing.norms import divergence
from snnq.reconstructing.run import calibration
from snnq.reconstructing.run import ptq as run_ptq
from snnq.reconstructing.settings import METHODS, PtqSettings
from snnq.reporting.run import report
from snnq.searching.uniform import uniform_plan
from snnq.training.job import open_job

QUICK = PtqSettings(method="tesseraq", samples=16, batch_size=8, steps=1, rounds=10)
FILES = ("config.json", "model.safetensors", "plan.json", "report.json", "README.md")


def bytes_of(folder):
    return [(folder / name).read_bytes() for name in FILES]


QUICKLY = ("quantease", "tesseraq")


# All of them through the command: cli/test_few_bits.py.
@pytest.mark.parametrize(
    "method", [pytest.param(one, marks=() if one in QUICKLY else pytest.mark.slow) for one in METHODS]
)
def test_every_method_gives_a_verified_folder(checkpoint, tmp_path, method):
    settings = dataclasses.replace(QUICK, method=method)
    done = run_ptq(checkpoint, scheme="uniform-2", settings=settings, out=tmp_path / "packed")
    verify(done.folder)
    assert done.results.made()["method"] == method
    assert snnq.load_packed(done.folder)(torch.zeros(1, 3, 2, 8, 8)).shape == (1, 4)
    found = report(done.folder)
    assert [row.block for row in found.blocks] == [one["block"] for one in done.results.made()["blocks"]]
    weights = {layer.name: layer.weights for layer in uniform_plan("uniform-2", checkpoint=checkpoint).layer_table()}
    for row, one in zip(found.blocks, done.results.made()["blocks"], strict=True):
        changed = sum(layer["flipped"] * weights[name] for name, layer in one["layers"].items())
        assert row.flipped == pytest.approx(changed / sum(weights[name] for name in one["layers"]))
    assert found.finetuning == ()
    assert any(line.startswith(f"snnq ptq --method {method} --samples 16") for line in found.commands)


def test_a_plan_of_many_schemes(checkpoint, tmp_path):
    plan = uniform_plan("uniform-2", checkpoint=checkpoint)
    plan = plan.with_schemes({"head": "uniform-4", "block.0.attn.q": "power-of-two-2", "block.1.mlp.fc1": "float32"})
    plan.write(tmp_path / "plan.json")
    done = run_ptq(plan=tmp_path / "plan.json", settings=QUICK, out=tmp_path / "packed", data=DATA)
    assert snnq.Plan.read(done.folder / "plan.json").schemes() == plan.schemes()
    verify(done.folder)


def test_labels_are_never_looked_at(checkpoint, tmp_path, monkeypatch):
    job = open_job(checkpoint, None)
    assert not calibration(job, QUICK).labels.any()
    shifted = Frames(job.data.train.frames, (job.data.train.labels + 1) % 4)
    first = run_ptq(checkpoint, scheme="uniform-3", settings=QUICK, out=tmp_path / "one")
    other = dataclasses.replace(job, data=dataclasses.replace(job.data, train=shifted))
    monkeypatch.setattr(ptq_run, "open_job", lambda *_, **__: other)
    second = run_ptq(checkpoint, scheme="uniform-3", settings=QUICK, out=tmp_path / "two")
    assert bytes_of(first.folder) == bytes_of(second.folder)


def test_the_samples_belong_to_the_seed(checkpoint):
    job = open_job(checkpoint, None)
    one, same = (calibration(job, QUICK).frames for _ in range(2))
    other = calibration(job, dataclasses.replace(QUICK, seed=1)).frames
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    assert len(calibration(job, dataclasses.replace(QUICK, samples=10))) == 8  # full batches
    assert len(calibration(job, dataclasses.replace(QUICK, samples=10**6))) == len(job.data.train) // 8 * 8


@pytest.mark.parametrize("at", [13, *(pytest.param(at, marks=pytest.mark.slow) for at in (1, 40))])
def test_a_run_cut_off_by_ctrl_c_gives_the_same_bytes(checkpoint, tmp_path, at):
    def progress(stage, done, total, /, **facts):
        if stage == "tesseraq" and done == at:
            signal.raise_signal(signal.SIGINT)

    whole = run_ptq(checkpoint, scheme="uniform-2", settings=QUICK, out=tmp_path / "whole")
    with pytest.raises(InterruptedRun):
        run_ptq(checkpoint, scheme="uniform-2", settings=QUICK, out=tmp_path / "cut", progress=progress)
    cut = run_ptq(checkpoint, scheme="uniform-2", settings=QUICK, out=tmp_path / "cut")
    assert bytes_of(whole.folder) == bytes_of(cut.folder)
    # A process that was killed just after writing leaves its folder beside it: the same command takes it away.
    left = tmp_path / f".cut{MARK}{'0' * 16}"
    left.mkdir()
    run_ptq(checkpoint, scheme="uniform-2", settings=QUICK, out=tmp_path / "cut")
    assert not left.exists()


def test_it_refuses_what_it_must(checkpoint, tmp_path):
    with pytest.raises(UsageError, match="a plan or a scheme"):
        run_ptq(checkpoint, out=tmp_path / "packed")
    with pytest.raises(UsageError, match="did you mean 'uniform-2'"):
        run_ptq(checkpoint, scheme="unifrom-2", out=tmp_path / "packed")
    refused: tuple[tuple[dict[str, Any], str], ...] = (
        ({"method": "teseraq"}, "did you mean 'tesseraq'"),
        ({"rounds": 7}, "schedules of 10 and 20"),
        ({"samples": 0}, "at least 1"),
        ({"target": "spikes"}, "output, current, both"),
        ({"start": "tesseraq"}, "rtn, clip, awq"),
    )
    for knobs, words in refused:
        with pytest.raises(UsageError, match=words):
            PtqSettings(**knobs)
    out = tmp_path / "packed"
    run_ptq(checkpoint, scheme="uniform-2", settings=dataclasses.replace(QUICK, method="rtn"), out=out)
    with pytest.raises(OutputExistsError):
        run_ptq(checkpoint, scheme="uniform-3", settings=dataclasses.replace(QUICK, method="rtn"), out=out)
    with pytest.raises(RunChangedError, match="method"):
        run_ptq(checkpoint, scheme="uniform-2", settings=QUICK, out=tmp_path / "other", run=tmp_path / "packed.run")
    plan = uniform_plan("uniform-2", architecture="spikformer-cifar10dvs")
    plan.write(tmp_path / "plan.json")
    with pytest.raises(CheckpointError, match="contradicts the file"):
        run_ptq(checkpoint, plan=tmp_path / "plan.json", out=tmp_path / "third", data=DATA)
    other, config = tmp_path / "other.safetensors", CONFIG | {"image_size": [16, 16]}
    save_checkpoint(other, build("spikformer-cifar10dvs", config), architecture="spikformer-cifar10dvs", facts={})
    with pytest.raises(PlanError, match=r"other.safetensors is not the checkpoint the plan was made for"):
        run_ptq(other, plan=out / "plan.json", out=tmp_path / "third", data=DATA)
    with pytest.raises(UsageError, match=r"^steps, heads: the plan says what the model is"):
        run_ptq(checkpoint, plan=out / "plan.json", out=tmp_path / "third", steps=2, heads=4)
    with pytest.raises(UsageError, match=r"^out: '\.' has no name of its own"):
        run_ptq(checkpoint, scheme="uniform-2", out=".")


def test_the_divergence_by_hand():
    floating, other = torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, float(np.log(3.0))]])
    assert divergence(floating, floating) == pytest.approx(0)
    assert divergence(floating, other) == pytest.approx(0.5 * np.log(0.5 / 0.25) + 0.5 * np.log(0.5 / 0.75))


def test_the_command(checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["ptq", str(checkpoint), "--scheme", "power-of-two-2", "--samples", "16", "--batch-size", "8"]
    assert command([*words, "--steps-per-round", "1"]) == 2
    assert "Hint: add --method tesseraq" in capsys.readouterr().err
    words += ["--json"]
    assert command(words) == 0
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    assert found["folder"] == "packed"
    assert found["ptq"]["method"] == "quantease"
    assert found["ptq"]["batchnorm_reestimated"] in (True, False)
    assert len(found["ptq"]["blocks"]) == 8
    assert "Next: snnq report" in shown.err
    assert command(words) == 0
    assert "nothing was done" in capsys.readouterr().err
