"""A run that is cut off anywhere goes on to the same result; a changed run is refused by the field's name."""

from __future__ import annotations

import json
import signal

import pytest
import torch

from snnq.errors import InterruptedRun, RunChangedError
from snnq.training import loop
from snnq.training.batches import ordered_batches, training_batches
from snnq.training.loop import Best, run_epochs
from snnq.training.run_folder import open_run
from snnq.training.seeding import generator, shuffled

EPOCHS, STEPS = 3, 5


class Cut(Exception):  # noqa: N818
    """Stands for a kill: nothing is saved when it comes."""


def run_small(path, *, cut_at=None, config=None, interrupt_at=None):
    """Train a small linear model; cut it off before the step ``cut_at``. Return weights and history."""
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 2)
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
        open_run(path, config or {"seed": 7}),
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
    run_small(tmp_path / "run", config={"seed": 7, "rate": 0.1})
    with pytest.raises(RunChangedError, match=r"rate = 0.1, now it is 0.2") as refused:
        open_run(tmp_path / "run", {"seed": 7, "rate": 0.2})
    assert refused.value.exit_code == 2
    assert not open_run(tmp_path / "run", {"seed": 7, "rate": 0.2}, force=True).resumed
    assert json.loads((tmp_path / "run/config.json").read_text())["rate"] == 0.2


def test_a_folder_that_is_no_run_is_never_touched(tmp_path):
    (tmp_path / "holiday.jpg").write_text("sea")
    with pytest.raises(RunChangedError, match="not a run folder"):
        open_run(tmp_path, {"seed": 1}, force=True)
    assert (tmp_path / "holiday.jpg").read_text() == "sea"


def test_a_kill_while_the_folder_is_made_or_cleared_loses_nothing(tmp_path):
    """Before config.json stands, and after it is gone: what lies there is left over, and a run starts at step 0."""
    (tmp_path / ".config.json.123.tmp").write_text("{")
    assert not open_run(tmp_path, {"seed": 7}).resumed
    whole, history, _ = run_small(tmp_path / "run")
    (tmp_path / "run/config.json").unlink()  # the state of another run, say
    again, again_history, _ = run_small(tmp_path / "run")
    assert again_history == history
    assert all(torch.equal(a, b) for a, b in zip(whole, again, strict=True))
    (tmp_path / "run/config.json").unlink()
    assert not open_run(tmp_path / "run", {"seed": 8}).resumed


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
