"""The bench measures what it says, on a folder small enough for a test."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from lively import write_lively

from snnq.base.errors import DataError, UsageError
from snnq.bench import peers
from snnq.bench.peers import write_reference
from snnq.bench.runtime import bench_runtime
from snnq.cli.main import run
from snnq.packed.loading import load_packed
from snnq.packed.verification import verify


@pytest.mark.parametrize("layout", ["cifar10dvs", "cifar10", "imagenet"])
def test_peers_compute_the_same_model(layout: str, tmp_path: Path) -> None:
    frames = torch.from_numpy(write_lively(tmp_path / "packed", ["uniform-4"], layout).clip(0, 9).astype("float32"))
    due = load_packed(tmp_path / "packed", "float")(frames)
    for name in ("float32", "bfloat16", "int8"):
        found = peers.open_peer(name, tmp_path / "packed", frames)(frames).float()
        assert torch.allclose(found, due, atol={"float32": 1e-6}.get(name, 0.3 * float(due.abs().max()))), name


def test_the_command_prints_what_was_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_lively(tmp_path / "packed", ["uniform-2"], classes=10)
    words = ["bench", "runtime", str(tmp_path / "packed"), "--data", "random", "--repeats", "3", "--threads", "1"]
    assert run([*words, "--peer", "float32", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["speedup"]["float32"].keys() == {"batch1", "batch16"}
    assert all(ms > 0 for times in found["median_ms"].values() for ms in times.values())
    assert found["weights"]["bytes"] > 0
    assert found["growth_ms"]["steps"].keys() == {"1", "2", "4", "8", "16", "32"}
    assert len(found["firing_rates"]) == 19
    assert 0 < found["kernel"]["share_of_limit"] < 1.5
    if sys.platform == "linux":
        took = found["memory"]["batch16"]["float32"]
        assert took["process_mib"] > took["inference_mib"] > 0
        assert found["memory_over_float"] > 0
        assert found["process_memory_over_float"].keys() == {"batch1", "batch16"}
    assert found["simulated"]
    assert found["machine"]["threads"] == 1


def test_mistakes_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean 'bfloat16'"):
        bench_runtime(peers=["bfloat"])
    write_lively(tmp_path / "packed", ["uniform-2"])
    with pytest.raises(DataError, match=r"name|trained"):
        bench_runtime(tmp_path / "packed")


def test_the_reference_model_is_a_packed_folder(tmp_path: Path) -> None:
    sizes = {"dim": 32, "heads": 2, "steps": 2, "image_size": [32, 32]}
    write_reference(tmp_path / "packed", torch.poisson(torch.full((2, 2, 2, 32, 32), 0.2)), **sizes)
    found = verify(tmp_path / "packed")
    assert {layer.scheme for layer in found.layers} == {"uniform-2", "uniform-4"}
