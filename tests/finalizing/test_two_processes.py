"""Finalize on two processes: the packed model of one process, whoever began the run; and the command itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_checkpoints import save_tiny
from two_processes import in_two

from snnq.base.errors import InterruptedRun
from snnq.finalizing.run import finalize
from snnq.finalizing.settings import FinalizeSettings
from snnq.searching.uniform import uniform_plan
from snnq.training import processes
from snnq.training.devices import Compute

SIZES = {"image_size": [16, 16], "dim": 32, "steps": 4, "classes": 4}
SETTINGS = FinalizeSettings(epochs=1, batch_size=8)  # three steps


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("finalize")
    save_tiny(place, "float.safetensors", "random,classes=4,samples=24", **SIZES)
    uniform_plan("uniform-3", checkpoint=place / "float.safetensors").write(place / "plan.json")
    return place


def finalized(folder, out, stop_at=None):
    """Finalize on the processes that are there; with ``stop_at``, the last of them gets Ctrl-C at that step."""

    def progress(stage, done, total, /, **facts):
        if stage == "finetuning" and done == stop_at and processes.rank() == processes.count() - 1:
            signal.raise_signal(signal.SIGINT)

    compute = Compute("cpu", devices=processes.count())
    done = finalize(folder / "plan.json", out=folder / out, settings=SETTINGS, compute=compute, progress=progress)
    return done.results.to_dict()


def on_two(folder):
    """Return what a whole run gave, and how one that was cut off ended."""
    results = finalized(Path(folder), "two")
    try:
        finalized(Path(folder), "cut", stop_at=1)
    except InterruptedRun as stopped:
        return results, stopped.exit_code
    return results, 0


@pytest.fixture(scope="module")
def ran(folder):
    return {"two": in_two(on_two, str(folder)), "one": finalized(folder, "one")}


def same_model(ours, theirs):
    """Codes are equal; what is float is so to tolerance: the same sums in another order."""
    a, b = (load_file(one / "model.safetensors") for one in (ours, theirs))
    assert a.keys() == b.keys()
    for name, value in a.items():
        if value.is_floating_point():
            torch.testing.assert_close(value, b[name], rtol=1e-3, atol=1e-5)
        else:
            assert (value == b[name]).float().mean() > 0.99, name


def same_history(ours, theirs):
    for mine, other in zip(ours["finalize"]["history"], theirs["finalize"]["history"], strict=True):
        assert mine == pytest.approx(other, rel=1e-4)


def test_two_processes_give_the_packed_model_of_one(folder, ran):
    same_model(folder / "one", folder / "two")
    for results, _ in ran["two"]:
        same_history(ran["one"], results)
        assert results["fingerprint"] == ran["one"]["fingerprint"]
        assert results["accuracy"]["float"] == ran["one"]["accuracy"]["float"]
    assert ran["two"][0] == ran["two"][1]
    assert json.loads((folder / "two/report.json").read_text())["accuracy"] == ran["two"][0][0]["accuracy"]


def test_a_run_begun_on_two_processes_ends_on_one(folder, ran):
    assert [code for _, code in ran["two"]] == [130, 130]
    assert torch.load(folder / "cut.run/state.pt", weights_only=True)["loop"]["step"] == 2
    assert not (folder / "cut").exists()
    same_history(finalized(folder, "cut"), ran["one"])
    same_model(folder / "one", folder / "cut")


def command(folder, *words):
    return subprocess.run(
        [sys.executable, "-m", "snnq.cli.main", "finalize", "--device", "cpu", "--devices", "2", *words],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.slow
def test_the_command_starts_the_other_process_itself_and_one_prints(folder):
    done = command(
        folder,
        "--out",
        "typed",
        "--epochs",
        "1",
        "--distillation",
        "0",
        "--batch-size",
        "8",
        "--precision",
        "bf16-mixed",
        "--json",
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["folder"] == "typed"
    assert done.stderr.count("Next: snnq report typed") == 1
    assert json.loads((folder / "typed.run/config.json").read_text())["precision"] == "bf16-mixed"


@pytest.mark.slow
def test_a_bad_batch_size_is_one_message(folder):
    done = command(folder, "--out", "bad", "--batch-size", "7")
    assert done.returncode == 2
    assert done.stderr.count("Error") == 1
    assert "--batch-size 6" in done.stderr
    assert not (folder / "bad").exists()
