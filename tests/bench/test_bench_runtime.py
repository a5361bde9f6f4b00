"""The bench measures what it says, on a folder small enough for a test."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lively import write_lively
from sifted import slow_but
from small_architectures import SHALLOWEST

from snnq.base.errors import DataError, MissingLibraryError, UsageError, VerificationError
from snnq.bench import peers
from snnq.bench.reference import read_architecture, write_reference
from snnq.bench.runtime import bench_runtime
from snnq.bench.scaling import firing, growth, row_limit, with_thresholds
from snnq.cli.main import run
from snnq.network.layers import frames_shape
from snnq.packed.loading import load_packed
from snnq.packed.verification import verify
from snnq.runtime import Engine


@pytest.mark.parametrize("layout", ["cifar10dvs", "cifar10", "imagenet"])
def test_peers_compute_the_same_model(layout: str, tmp_path: Path) -> None:
    frames = torch.from_numpy(write_lively(tmp_path / "packed", ["uniform-4"], layout).clip(0, 9).astype("float32"))
    due = load_packed(tmp_path / "packed", "float")(frames)
    for name in ("float32", "bfloat16", "int8"):
        found = peers.open_peer(name, tmp_path / "packed", frames)(frames).float()
        assert torch.allclose(found, due, atol={"float32": 1e-6}.get(name, 0.3 * float(due.abs().max()))), name


@pytest.mark.slow
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
    with pytest.raises(UsageError, match="a packed folder has its own"):
        bench_runtime(tmp_path, architecture="sdt-dvs")
    with pytest.raises(UsageError, match="did you mean 'sdt-dvs'"):
        bench_runtime(architecture="sdt-dv", peers=[])
    with pytest.raises(DataError, match="2 channels, and the model takes 3"):
        bench_runtime(architecture="spikformer-cifar10:dim=32,depth=1,heads=2", peers=[])
    write_lively(tmp_path / "packed", ["uniform-2"])
    with pytest.raises(DataError, match=r"name|trained"):
        bench_runtime(tmp_path / "packed")


@pytest.mark.parametrize("library", ["openvino", "onnxruntime"])
def test_a_peer_that_is_not_installed(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingLibraryError, match=f"needs the library '{library}'") as caught:
        bench_runtime(peers=["float32", library])
    assert caught.value.hint == f"pip install 'snnq[{library}]'"


def test_a_peer_that_computes_another_model_is_an_error(tmp_path: Path) -> None:
    """Of whatever kind: another scale, an input that does not count, voltages that stay from call to call."""
    frames = torch.from_numpy(write_lively(tmp_path / "packed", ["uniform-4"]).clip(0, 9).astype("float32"))
    right = peers.open_peer("float32", tmp_path / "packed", frames)
    assert peers.differences({"float32": right}, tmp_path / "packed", frames)["float32"] < 1e-5
    calls = iter(range(100))
    for wrong in (
        lambda given: 1.1 * right(given),
        lambda given: right(given).mean(0, keepdim=True).expand(len(given), -1),
        lambda given: right(given) if next(calls) == 0 else right(given.flip(1)),
        lambda given: right(given) * torch.nan,
    ):
        with pytest.raises(VerificationError, match="it computes another model"):
            peers.differences({"float32": wrong}, tmp_path / "packed", frames)


EVENTS = ("sdt-dvs", "qkformer-dvs", "spikingformer-dvs", "maxformer-event", "statten-dvs", "spikformer-cifar10dvs")
ONE_EACH = slow_but(("qkformer-dvs",), EVENTS)


@pytest.mark.parametrize("name", ONE_EACH)
def test_any_architecture_has_a_reference(name: str, tmp_path: Path) -> None:
    one, config = read_architecture(_small(name))
    draw = torch.Generator().manual_seed(0)
    frames = torch.poisson(torch.full((2, *frames_shape(config)), 0.3), generator=draw)
    write_reference(tmp_path / "packed", frames, one, config)
    found = verify(tmp_path / "packed")
    assert {layer.scheme for layer in found.layers} == {"uniform-2", "uniform-4"}
    runs = {kind: peers.open_peer(kind, tmp_path / "packed", frames) for kind in ("float32", "bfloat16", "int8")}
    assert peers.differences(runs, tmp_path / "packed", frames).keys() == runs.keys()


@pytest.mark.parametrize("name", ONE_EACH)
def test_moved_thresholds_move_rates_however_often_it_is_run(name: str, tmp_path: Path) -> None:
    """Calls that an engine has prepared keep the thresholds that it had."""
    sizes: dict[str, Any] = {"chunk": 3} if name.startswith("statten") else {}
    counts = write_lively(tmp_path / "packed", ["uniform-4"], name, **sizes)
    found = {}
    for factor in (8.0, 1.0, 0.25):
        engine = with_thresholds(tmp_path / "packed", 1, factor)
        rates = firing(engine, counts)[0]
        found[factor] = sum(rates.values())
        watched = engine(counts, lambda neuron, spikes: None)
        assert all(np.array_equal(engine(counts), watched) for _ in range(3))
    assert found[8.0] < found[1.0] < found[0.25]


def test_growth_is_of_every_kind(tmp_path: Path) -> None:
    counts = np.resize(
        write_lively(tmp_path / "packed", ["uniform-2"], "statten-dvs", steps=4, chunk=2), (16, 4, 2, 32, 32)
    )
    found = growth(tmp_path / "packed", {"dim 16": tmp_path / "packed"}, counts, 1, 3)
    assert list(found["steps"]) == ["2", "4", "8", "16", "32"]  # in chunks of two
    assert list(found["threads"]) == ["1", "2"]
    assert list(found["size"]) == ["dim 16", "as it is"]
    assert found.keys() == {"batch", "threads", "steps", "firing_rate", "size"}


def test_sizes_of_an_architecture_typed_by_hand() -> None:
    one, config = read_architecture("spikformer-cifar10dvs:dim=64,image_size=32x48,pooling=0011,steps=2")
    assert (one.name, config["dim"], config["steps"]) == ("spikformer-cifar10dvs", 64, 2)
    assert list(config["image_size"]) == [32, 48]
    assert list(config["pooling"]) == [False, False, True, True]
    assert read_architecture("sdt-dvs:neuron=plif,heads=4")[1]["neuron"] == "plif"
    for text, problem in (
        ("sdt-dvs:dim=64,dim=32", "'dim' is given twice"),
        ("sdt-dvs:width=3", "width"),
        ("sdt-dvs:dim=many", "dim"),
        ("respike-key", "it does not run in whole numbers, because"),
        ("nest-tiny", "allowed are"),
    ):
        with pytest.raises(UsageError, match=problem):
            read_architecture(text)


def test_nothing_is_said_of_rows_that_nobody_looks_up(tmp_path: Path) -> None:
    write_lively(tmp_path / "packed", ["uniform-2"])
    assert row_limit(Engine(tmp_path / "packed", 1), 0.0, {}, 16).keys() == {"limit_rows_per_second"}


@pytest.mark.slow
def test_the_command_times_an_architecture(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["bench", "runtime", "--architecture", _small("sdt-dvs"), "--data", "random", "--repeats", "3"]
    assert run([*words, "--peer", "float32", "--threads", "1"]) == 0
    shown = capsys.readouterr()
    parts = (
        "logits differ by",
        "Time by threads",
        "Time by size",
        "Time by firing rate",
        "with 90% of the weights zero",
    )
    for part in parts:
        assert part in shown.out + shown.err


def _small(name: str) -> str:
    depth = SHALLOWEST["dvs"] if name.startswith(("qk", "max")) else 1
    chunk = ",chunk=2" if name.startswith("statten") else ""
    return f"{name}:dim=32,depth={depth},heads=2,steps=2,image_size=32{chunk}"
