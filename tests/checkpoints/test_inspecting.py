"""What inspect finds, in Python and on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner
from upstream_files import PUBLISHED, dvs_container, filled, tiny, upstream_shapes

from snnq.checkpoints.grafting import graft
from snnq.checkpoints.inspecting import inspect
from snnq.checkpoints.opening import save_checkpoint
from snnq.cli import looking as command
from snnq.cli.main import run
from snnq.models.registry import build


def test_the_papers_layer_table(tmp_path: Path) -> None:
    # docs/method.md §1, the model of the paper.
    state = filled(upstream_shapes("cifar10dvs", **PUBLISHED["cifar10dvs"]))
    torch.save(dvs_container(state, T=1), tmp_path / "a.pth")
    found = inspect(tmp_path / "a.pth", heads=16)
    assert len(found.layers) == 18
    assert {name: part.weights for name, part in found.groups.items()} == {
        "tokenizer": 977_472,
        "attention": 524_288,
        "mlp": 1_048_576,
        "head": 2_560,
    }
    assert (found.totals.weights, found.totals.bytes_float32) == (2_552_896, 4 * 2_552_896)
    millions = {name: round(part.macs / 1e6, 2) for name, part in found.groups.items()}
    assert millions == {"tokenizer": 273.68, "attention": 33.55, "mlp": 67.11, "head": 0.0}
    assert [layer.input for layer in found.layers if layer.name in ("patch_embed.proj_conv", "head")] == [
        "counts",
        "reals",
    ]


@pytest.mark.parametrize("layout", PUBLISHED)
def test_the_command_names_the_layout(layout: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(tiny(layout, tokens=4), tmp_path / "a.pth")
    sizes = ["--steps", "2", "--heads", "4", "--image-size", "32"]
    assert run(["inspect", str(tmp_path / "a.pth"), *sizes, "--json"]) == 0
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    assert (found["layout"], found["architecture"]) == (layout, f"spikformer-{layout}")
    assert len(found["layers"]) == 5 + 2 * 6 + 1
    assert found["totals"]["layers"] == 18
    assert "state_dict" not in found
    assert f"snnq search {tmp_path / 'a.pth'} --data SPEC --steps 2 --heads 4 --image-size 32" in shown.err


def test_tables_and_options(tmp_path: Path) -> None:
    torch.save(tiny("cifar10"), tmp_path / "a.pth")
    app = typer.Typer()
    app.command()(command.inspect)
    result = CliRunner().invoke(
        app,
        [str(tmp_path / "a.pth"), "--steps", "2", "--heads", "4", "--image-size", "16x24", "--pooling", "0001"],
        env={"COLUMNS": "140"},
    )
    assert result.exit_code == 0, result.output
    for words in ("cifar10", "16x24", "0001", "block.1.mlp.fc2", "tokenizer", "unused tensors left out"):
        assert words in result.stdout


def test_it_says_on_which_engines_the_packed_model_will_run(tmp_path: Path) -> None:
    rows = dict(inspect("digits").fact_rows())
    assert rows["packed, it will run"] == "in whole numbers, on torch, on the integer engine and in C"
    found = inspect("digits").to_dict()
    assert (found["arithmetic"], found["engines"], found["reason"]) == ("integer", ["torch", "integer"], None)
    graft("digits", chunk=2, out=tmp_path / "statten.safetensors")
    found = inspect(tmp_path / "statten.safetensors").to_dict()
    assert (found["arithmetic"], found["engines"], found["reason"]) == ("integer", ["torch", "integer"], None)
    sizes = {"dim": 16, "depth": 1, "heads": 2, "image_size": [16, 16], "steps": 2, "neuron": "plif"}
    save_checkpoint(tmp_path / "plif.safetensors", build("sdt-static", sizes), architecture="sdt-static", facts={})
    found = inspect(tmp_path / "plif.safetensors").to_dict()
    assert (found["arithmetic"], found["engines"], found["reason"]) == ("integer", ["torch", "integer"], None)
