"""Numbers that are not finite stop every command that meets them, with the neurons, the statistic or the loss named."""

from __future__ import annotations

import shutil
from pathlib import Path

import broken_networks
import pytest
import torch
from strange_inputs import Row, check, rows

from snnq.cli.main import run
from snnq.models.registry import OWN

SIZES = ["--steps", "3", "--image-size", "8"]
DATA = ["--data", "random,samples=16"]
SHORT = ["--epochs", "2", "--batch-size", "4"]
NOT_FINITE = r"(is infinite|is not a number \(NaN\)|is not finite|is nan|is inf)"


def network(folder: Path, place: str, after: int = 0, by: str = "inf") -> list[str]:
    """Write a checkpoint of a network and return the words that name it."""
    OWN.clear()
    torch.manual_seed(0)
    shutil.copy(broken_networks.__file__, folder / "broken_networks.py")
    torch.save(broken_networks.build().state_dict(), folder / "net.pth")
    arguments = [f"place={place}", f"after={after}", f"by={by}"]
    return [
        "net.pth",
        *SIZES,
        "--model",
        "broken_networks.py:build",
        *(w for a in arguments for w in ("--model-arg", a)),
    ]


def search(place: str, after: int = 0, by: str = "inf"):
    return lambda folder: ["search", *network(folder, place, after, by), *DATA, *SHORT]


def nothing_written(folder: Path, output: str) -> None:
    assert not (folder / "plan.json").exists()
    assert not (folder / "packed").exists()
    if (folder / "plan.run" / "state.pt").exists():
        state = torch.load(folder / "plan.run" / "state.pt", weights_only=True)
        values = state["parts"]["supernet"].values()
        assert all(bool(one.isfinite().all()) for one in values if one.is_floating_point())


TABLE = (
    Row(
        "a float model whose current is infinite",
        search("current"),
        1,
        r"Error: float model on validation: the current of neurons '5' is infinite, first in batch 1",
        nothing_written,
    ),
    Row(
        "a current that is NaN behind a threshold",
        search("current", by="nan"),
        1,
        r"the current of neurons '5' is not a number \(NaN\)",
        nothing_written,
    ),
    Row(
        "a current that breaks in the search's third call",
        search("current", after=3),
        1,
        r"searching: the current of neurons '(model\.)?5' is infinite, first in epoch 1, step 2",
        nothing_written,
    ),
    Row(
        "a statistic that breaks while the loss is finite",
        search("statistic", after=2),
        1,
        rf"(statistic 'running_(mean|var)' of '(model\.)?8'|the loss|the current).*{NOT_FINITE}",
        nothing_written,
    ),
    Row(
        "logits that break in training",
        search("logits", after=2, by="nan"),
        1,
        r"searching: the loss is not a number \(NaN\), first in epoch 1",
        nothing_written,
    ),
    Row(
        "an evaluation of NaN logits",
        lambda folder: ["eval", *network(folder, "logits", by="nan"), *DATA],
        1,
        r"evaluating: the logits is not a number",
    ),
    Row(
        "a measurement of infinite currents",
        lambda folder: ["cost", "measure", *network(folder, "current"), *DATA, "--samples", "2"],
        1,
        r"measuring events: the current of neurons '5' is infinite, first in sample 1",
    ),
    Row(
        "ptq of infinite currents",
        lambda folder: ["ptq", *network(folder, "current"), *DATA, "--scheme", "uniform-4", "--samples", "8"],
        1,
        NOT_FINITE,
        nothing_written,
    ),
)


@rows(*TABLE)
def test_it_stops_and_names_the_place(row: Row, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd) -> None:
    check(row, tmp_path, monkeypatch, capfd)


def test_finetuning_stops_and_a_run_that_goes_on_stops_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = network(tmp_path, "current", after=99)
    assert run(["plan", "uniform", *words, "--scheme", "uniform-4", "--out", "plan.json"]) == 0
    text = Path("plan.json").read_text(encoding="utf-8")
    Path("plan.json").write_text(text.replace('"after": 99', '"after": 3'), encoding="utf-8")
    model = ["--model", "broken_networks.py:build"]
    for _ in range(2):
        OWN.clear()
        assert run(["finalize", *model, *DATA, *SHORT]) == 1
        said = capfd.readouterr().err
        assert "finetuning: the current of neurons '5' is infinite, first in epoch 1, step 3" in said
        assert not Path("packed").exists()
