"""A run that is cut off anywhere goes on to the same result; a changed run is refused by the field's name."""

from __future__ import annotations

import copy
import errno
import json
import os
import pickle
import signal
import subprocess
import sys

import pytest
import torch

from snnq.base.errors import InterruptedRun, RunChangedError, SnnqError
from snnq.base.placing import MARK
from snnq.training import loop
from snnq.training.batches import ordered_batches, training_batches
from snnq.training.loop import Best, run_epochs
from snnq.training.run_folder import open_run
from snnq.training.seeding import generator, shuffled

EPOCHS, STEPS = 3, 5


class Cut(Exception):  # noqa: N818
    """Stands for a kill: nothing is saved when it comes."""


def run_small(path, *, cut_at=None, config=None, interrupt_at=None):
    """Train a small linear model with dropout; cut it off before the step ``cut_at``. Return weights and history."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.Linear(4, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    best = Best()

    def step(place, indices):
        if place.overall == cut_at:
            raise Cut
        if place.overall == interrupt_at:
            signal.raise_signal(signal.SIGINT)
        x = torch.randn(len(indices), 4, generator=generator(7, "x", place.overall))
        loss = (model(x) - x[:, :2]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return {"loss": loss.item()}

    def after_epoch(epoch):
        best.offer((-float(epoch == 1),), epoch + 1, model)
        return {"mark": epoch}

    history = run_epochs(
        open_run(path, config or {"command": "test", "seed": 7}),
        {"model": model, "optimizer": optimizer, "best": best},
        stage="test",
        epochs=EPOCHS,
        batches=lambda epoch: training_batches(STEPS * 3, 3, 7, "train", epoch),
        step=step,
        after_epoch=after_epoch,
    )
    return [value.clone() for value in model.state_dict().values()], history, best


@pytest.mark.parametrize("cut_at", range(EPOCHS * STEPS))
def test_a_cut_run_resumes_to_the_same_result(tmp_path, cut_at, monkeypatch):
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0 if cut_at % 2 else 1e9)
    whole, history, best = run_small(tmp_path / "whole")
    with pytest.raises(Cut):
        run_small(tmp_path / "cut", cut_at=cut_at)
    resumed, resumed_history, resumed_best = run_small(tmp_path / "cut")
    assert all(torch.equal(a, b) for a, b in zip(whole, resumed, strict=True))
    assert resumed_history == history
    assert (resumed_best.score, resumed_best.epoch) == (best.score, best.epoch)
    assert (tmp_path / "cut/metrics.jsonl").read_text() == (tmp_path / "whole/metrics.jsonl").read_text()


@pytest.mark.parametrize("interrupt_at", [0, 4, 7])
def test_ctrl_c_saves_and_resumes(tmp_path, interrupt_at):
    whole, history, _ = run_small(tmp_path / "whole")
    with pytest.raises(InterruptedRun) as stopped:
        run_small(tmp_path / "cut", interrupt_at=interrupt_at)
    assert stopped.value.exit_code == 130
    assert torch.load(tmp_path / "cut/state.pt", weights_only=True)["loop"]["step"] == interrupt_at % STEPS + 1
    resumed, resumed_history, _ = run_small(tmp_path / "cut")
    assert all(torch.equal(a, b) for a, b in zip(whole, resumed, strict=True))
    assert resumed_history == history


def test_a_finished_run_does_nothing_again(tmp_path):
    run_small(tmp_path / "run")
    _, history, _ = run_small(tmp_path / "run", cut_at=0)
    assert [line["epoch"] for line in history] == [1, 2, 3]


def test_a_changed_setting_is_refused_by_name(tmp_path):
    run_small(tmp_path / "run", config={"command": "test", "seed": 7, "rate": 0.1})
    with pytest.raises(RunChangedError, match=r"rate = 0.1, now it is 0.2") as refused:
        open_run(tmp_path / "run", {"command": "test", "seed": 7, "rate": 0.2})
    assert refused.value.exit_code == 2
    assert not open_run(tmp_path / "run", {"command": "test", "seed": 7, "rate": 0.2}, force=True).resumed
    assert json.loads((tmp_path / "run/config.json").read_text())["rate"] == 0.2


def test_a_folder_that_is_no_run_is_never_touched(tmp_path):
    (tmp_path / "holiday.jpg").write_text("sea")
    with pytest.raises(RunChangedError, match="not a run folder"):
        open_run(tmp_path, {"command": "test", "seed": 1}, force=True)
    assert (tmp_path / "holiday.jpg").read_text() == "sea"


def test_a_kill_while_the_folder_is_made_or_cleared_loses_nothing(tmp_path):
    """Before config.json stands a run starts at step 0; a new one's replaces the old one's last."""
    (tmp_path / f".config.json{MARK}{'0' * 16}").write_text("{")
    (tmp_path / ".state.pt.123.tmp").write_text("of an early version")
    assert not open_run(tmp_path, {"command": "test", "seed": 7}).resumed
    assert sorted(path.name for path in tmp_path.iterdir()) == [".state.pt.123.tmp", "config.json"]
    whole, history, _ = run_small(tmp_path / "run")
    (tmp_path / "run/state.pt").unlink()  # what --force takes first
    again, again_history, _ = run_small(tmp_path / "run")
    assert again_history == history
    assert all(torch.equal(a, b) for a, b in zip(whole, again, strict=True))


@pytest.mark.parametrize("config", [None, '{"model_type": "bert"}', "[]"])
def test_files_of_the_same_names_that_are_no_run_are_never_touched(tmp_path, config):
    (tmp_path / "state.pt").write_text("years of work")
    if config:
        (tmp_path / "config.json").write_text(config)
    for force in (False, True):
        with pytest.raises(RunChangedError, match=r"not a run folder|no settings of a run"):
            open_run(tmp_path, {"command": "test", "seed": 7}, force=force)
    assert (tmp_path / "state.pt").read_text() == "years of work"


def test_a_damaged_configuration_wants_force(tmp_path):
    run_small(tmp_path / "run")
    (tmp_path / "run/config.json").write_text("{")
    with pytest.raises(RunChangedError, match="cannot be read") as refused:
        open_run(tmp_path / "run", {"command": "test", "seed": 7})
    assert "--force" in refused.value.hint
    assert not open_run(tmp_path / "run", {"command": "test", "seed": 7}, force=True).resumed


def test_two_processes_do_not_work_on_one_run(tmp_path):
    opened = open_run(tmp_path, {"command": "test", "seed": 7})
    assert open_run(tmp_path, {"command": "test", "seed": 7}) == opened  # this process may
    code = """
import sys
from pathlib import Path
from snnq.training.run_folder import open_run
open_run(Path(sys.argv[1]), {"command": "test", "seed": 7})
"""
    words = [sys.executable, "-c", code, str(tmp_path)]
    refused = subprocess.run(words, capture_output=True, text=True)
    assert "another process is working on this run" in refused.stderr
    assert pickle.loads(pickle.dumps(opened)) == opened
    del opened
    subprocess.run(words, check=True)


def test_a_full_disk_leaves_the_state_before(tmp_path):
    run = open_run(tmp_path, {"command": "test", "seed": 7})
    run.write_state(lambda path: path.write_text("before"), [])
    for fault in (OSError(errno.ENOSPC, "No space left on device"), RuntimeError("PytorchStreamWriter failed")):

        def fail(path, fault=fault):
            path.write_text("half")
            raise fault

        with pytest.raises(SnnqError, match="the run cannot be saved") as full:
            run.write_state(fail, [])
        assert full.value.exit_code == 1
        assert "Pytorch" not in full.value.message
    assert run.state_path.read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "metrics.jsonl", "state.pt"]


@pytest.mark.parametrize("damage", [b"", b"\x00" * 64])
def test_a_damaged_state_is_one_clear_error(tmp_path, damage):
    run_small(tmp_path / "run")
    (tmp_path / "run/state.pt").write_bytes(damage)
    with pytest.raises(RunChangedError, match="cannot be read"):
        run_small(tmp_path / "run")


def test_best_keeps_a_copy_and_the_earlier_of_a_tie():
    model, best = torch.nn.Linear(1, 1), Best()
    assert best.offer((0.5, 1.0), 1, model)
    kept = best.state["weight"].clone()
    with torch.no_grad():
        model.weight.add_(1)
    assert torch.equal(best.state["weight"], kept)
    assert not best.offer((0.5, 1.0), 2, model)
    assert best.offer((0.5, 1.5), 3, model)
    assert best.epoch == 3


def test_batches_cover_and_never_repeat():
    batches = training_batches(10, 3, 0, "train", 0)
    flat = [i for batch in batches for i in batch]
    assert [len(batch) for batch in batches] == [3, 3, 3]
    assert len(set(flat)) == 9
    assert batches != training_batches(10, 3, 0, "train", 1)
    assert [i for batch in ordered_batches(10, 4) for i in batch] == list(range(10))
    assert training_batches(2, 3, 0, "train", 0) == [shuffled(2, 0, "train", 0)]


def test_randomness_belongs_to_its_place():
    def draw(*place):
        return torch.rand(4, generator=generator(3, *place))

    assert torch.equal(draw("gumbel", 5), draw("gumbel", 5))
    assert not torch.equal(draw("gumbel", 5), draw("gumbel", 6))
    assert not torch.equal(draw("gumbel", 5), draw("weights", 5))


def test_a_state_of_another_shape_is_one_clear_error(tmp_path):
    run_small(tmp_path / "run")
    path = tmp_path / "run/state.pt"
    sound = torch.load(path, weights_only=True)

    def changed(change):
        found = copy.deepcopy(sound)
        change(found)
        return found

    def optimizer(found):
        return found["parts"]["optimizer"]["state"][0]

    for number, other in enumerate(
        (
            [],
            {},
            changed(lambda found: found["parts"].pop("best")),
            changed(lambda found: found["parts"]["model"].update(weight=torch.zeros(1))),
            changed(lambda found: optimizer(found).update(exp_avg=torch.zeros(9))),
            changed(lambda found: optimizer(found).pop("exp_avg_sq")),
            changed(lambda found: found["parts"]["optimizer"]["param_groups"][0].update(lr="much")),
            changed(lambda found: found["parts"]["best"].update(state={"weight": torch.zeros(1)})),
            changed(lambda found: found["parts"]["best"].update(score=["high"])),
            changed(lambda found: found["loop"].update(epoch=10**9)),
            changed(lambda found: found["loop"].update(epoch=True)),
            changed(lambda found: found["loop"].update(step=-1)),
            changed(lambda found: found["loop"].update(history=[])),
            changed(lambda found: found["loop"].update(sums=[])),
        )
    ):
        torch.save(other, path)
        with pytest.raises(RunChangedError, match="cannot be read") as refused:
            run_small(tmp_path / "run")
        assert refused.value.exit_code == 2, number
    torch.save(sound, path)
    run_small(tmp_path / "run")


def test_a_malicious_state_is_not_run_nor_advertised(tmp_path):
    class Evil:
        def __reduce__(self):
            return print, ("run",)

    run_small(tmp_path / "run")
    torch.save(Evil(), tmp_path / "run/state.pt")
    with pytest.raises(RunChangedError, match="nothing of it was run") as refused:
        run_small(tmp_path / "run")
    assert "weights_only" not in refused.value.message


@pytest.mark.parametrize("kind", ["pipe", "zero", "folder"])
def test_a_state_that_is_no_file(tmp_path, kind):
    run_small(tmp_path / "run")
    path = tmp_path / "run/state.pt"
    path.unlink()
    os.mkfifo(path) if kind == "pipe" else path.mkdir() if kind == "folder" else path.symlink_to("/dev/zero")
    with pytest.raises(RunChangedError, match=r"state\.pt cannot be read: (it is no regular file|Is a directory)"):
        run_small(tmp_path / "run")


def test_metrics_are_written_before_the_state(tmp_path):
    """A kill between both must not leave a state whose last epoch has no line."""
    run = open_run(tmp_path / "run", {"command": "search"})

    def killed(_):
        raise OSError("killed here")

    with pytest.raises(SnnqError):
        run.write_state(killed, [{"epoch": 1}])
    assert (run.path / "metrics.jsonl").read_text() == '{"epoch": 1}\n'
    assert not run.state_path.exists()
