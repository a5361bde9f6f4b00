"""Finalize with augmentations, on noisy arrays: recorded, resumed to the same bytes, and on two processes as on one."""

from __future__ import annotations

import hashlib
import json
import signal
from pathlib import Path

import pytest
import torch
from lively import wake
from safetensors.torch import load_file
from two_processes import in_two

from snnq.base.errors import InterruptedRun, OutputExistsError, RunChangedError, UsageError
from snnq.checkpoints.opening import save_checkpoint
from snnq.cli.main import run
from snnq.finalizing.run import finalize
from snnq.finalizing.settings import FinalizeSettings
from snnq.hardware.crossbars import target as target_module
from snnq.hardware.crossbars.target import read_target
from snnq.models.registry import build
from snnq.searching.uniform import uniform_plan
from snnq.training import processes
from snnq.training.devices import Compute

CONFIG = {"in_channels": 2, "image_size": [16, 16], "dim": 16, "depth": 1, "heads": 2, "steps": 2, "classes": 4}
VAT = "write-noise=0.3,read-noise=0.1,dynamic=sram"  # attention's noise is another one in every process
AUGMENT = "flip,snn-wide,mixup:probability=1:until=0.5"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("augmented")
    torch.manual_seed(3)
    model = build("spikformer-cifar10dvs", CONFIG | {"pooling": [False, False, True, True]})
    wake(model, torch.poisson(torch.ones(8, 2, 2, 16, 16)))
    facts = {"data": "random,classes=4,samples=24"}
    save_checkpoint(place / "float.safetensors", model, architecture="spikformer-cifar10dvs", facts=facts)
    uniform_plan("uniform-3", checkpoint=place / "float.safetensors").write(place / "plan.json")
    return place


def finalized(folder, out, augment=AUGMENT, stop_at=None):
    """Finalize for two epochs of three steps on the processes that are there; with ``stop_at``, Ctrl-C at that step."""

    def progress(stage, done, total, /, **facts):
        if stage == "finetuning" and done == stop_at:
            signal.raise_signal(signal.SIGINT)

    settings = FinalizeSettings(epochs=2, batch_size=8, augment=augment, vat=VAT if augment else "")
    compute = Compute("cpu", devices=processes.count())
    plan = Path(folder) / "plan.json"
    return finalize(
        plan, out=Path(folder) / out, settings=settings, compute=compute, progress=progress
    ).results.to_dict()


@pytest.fixture(scope="module")
def whole(folder):
    return finalized(folder, "whole")


def test_it_is_recorded_and_changes_the_result(folder, whole):
    assert whole["finalize"]["augment"] == AUGMENT
    assert (
        json.loads((folder / "whole/report.json").read_text())["finalize"] | {"augment": AUGMENT, "vat": VAT}
        == (whole["finalize"])
    )
    assert json.loads((folder / "whole.run/config.json").read_text())["vat"] == VAT
    plain = finalized(folder, "plain", "")
    assert plain["finalize"]["augment"] == ""
    assert plain["fingerprint"] != whole["fingerprint"]
    assert plain["finalize"]["history"][0]["loss"] != whole["finalize"]["history"][0]["loss"]


def test_a_resumed_run_gives_the_same_bytes(folder, whole):
    for step in (2, 4):  # in the epoch that mixes, and after it
        with pytest.raises(InterruptedRun):
            finalized(folder, "cut", stop_at=step)
    assert finalized(folder, "cut")["finalize"]["history"] == whole["finalize"]["history"]
    assert (folder / "cut/model.safetensors").read_bytes() == (folder / "whole/model.safetensors").read_bytes()


def test_another_augmentation_refuses_to_go_on(folder):
    with pytest.raises(InterruptedRun):
        finalized(folder, "changed", stop_at=1)
    with pytest.raises(RunChangedError, match=r'augment = "flip,snn-wide.*now it is "flip"'):
        finalized(folder, "changed", "flip")


def test_two_processes_do_as_one(folder, whole):
    for results in in_two(finalized, str(folder), "two"):
        for ours, theirs in zip(results["finalize"]["history"], whole["finalize"]["history"], strict=True):
            # A process' accuracy on mixed samples is by its share of them, and their mean is that of one process.
            assert ours == pytest.approx(theirs, rel=1e-4)
    one, two = (load_file(folder / name / "model.safetensors") for name in ("whole", "two"))
    for name, value in one.items():
        if not value.is_floating_point():
            assert (value == two[name]).float().mean() > 0.99, name
            continue
        # A bias before a norm has no gradient but rounding, and Adam makes steps of a full rate of that.
        moved = name.endswith(("proj_bn.offset", "fc1_bn.offset", "fc2_bn.offset"))
        torch.testing.assert_close(value, two[name], rtol=1e-4, atol=5e-3 if moved else 1e-5)


def test_settings_keep_the_shortest_form_and_refuse_mistakes():
    assert FinalizeSettings(augment=" flip:probability=0.5 , mixup ").augment == "flip,mixup"
    with pytest.raises(UsageError, match="did you mean 'snn-wide'"):
        FinalizeSettings(augment="snn-wild")


def test_the_command(folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    words = ["--epochs", "1", "--batch-size", "8", "--device", "cpu", "--out", "typed", "--json"]
    assert run(["finalize", "--augment", "flip,mixup:alpha=0.2", *words]) == 0
    assert json.loads(capsys.readouterr().out)["finalize"]["augment"] == "flip,mixup:alpha=0.2"
    assert run(["report", "typed"]) == 0
    assert "--augment flip,mixup:alpha=0.2" in (folder / "typed/report.html").read_text(encoding="utf-8")
    assert run(["finalize", "--augment", "flop", *words]) == 2
    assert "did you mean 'flip'" in capsys.readouterr().err


def test_a_target_whose_file_has_changed_is_another_run(folder, tmp_path):
    """What a fingerprint has of a target that comes with snnq is its name; of a file of one's own, its bytes."""
    own, target = tmp_path / "chip.toml", read_target("trex-32nm")
    text = (Path(target_module.__file__).parent / "targets" / "trex-32nm.toml").read_text(encoding="utf-8")
    own.write_text(text, encoding="utf-8")
    settings = FinalizeSettings(epochs=1, batch_size=24, vat=f"write-noise=0.1,target={own}")

    def mark() -> str | None:
        return finalize(folder / "plan.json", out=tmp_path / "packed", settings=settings, measure=0).results.fingerprint

    assert mark() == mark()
    own.write_text(text + "\n# with other constants\n", encoding="utf-8")
    with pytest.raises(OutputExistsError, match="is not from this plan and settings"):
        mark()
    assert target.file_mark == {}
    assert read_target(own).file_mark == {"target_sha256": hashlib.sha256(own.read_bytes()).hexdigest()}
