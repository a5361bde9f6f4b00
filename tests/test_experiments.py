"""Experiments made of cells: a cell is made once, and its row says what the checkpoint or the packed folder has."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from documents import ROOT
from tiny_checkpoints import DATA, TINY, save_tiny

import snnq
from snnq.base.errors import SnnqError, UsageError
from snnq.packed.sizes import file_bits
from snnq.structure.edits import edits_of


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(ROOT / "examples")
    save_tiny(tmp_path)
    return importlib.import_module


def rows(file: Path) -> dict[str, dict]:
    return {row["arm"]: row for row in pd.read_csv(file).to_dict("records")}


def check_size(row: dict, packed: Path) -> None:
    size = (packed / "model.safetensors").stat().st_size
    weights = snnq.Plan.read(packed / "plan.json").totals.weights
    assert (row["file_bytes"], row["file_bits"]) == (size, pytest.approx(file_bits(size, weights), rel=1e-4))


def test_a_cell_of_few_bits(example, tmp_path: Path) -> None:
    run = example("few_bits.run")
    words = {"out": tmp_path / "out", "arms": "free@1.5", "seeds": "0", "epochs": 1, "measure": 4}
    run.main(TINY, **words)
    row = rows(tmp_path / "out" / "few_bits.csv")["free@1.5"]
    packed = tmp_path / "out" / "tiny" / "free@1.5" / "0" / "packed"
    check_size(row, packed)
    assert row["plan_bits"] <= 1.5
    packed.rename(tmp_path / "gone")
    run.main(TINY, **words)  # a finished cell is not made again
    assert not packed.exists()


def test_arms_of_few_bits(example) -> None:
    arm = example("few_bits.arms").Arm
    assert (arm.named("rate@0.7").bits, arm.named("uniform-2").bits) == (0.7, None)
    assert arm.named("even@1").finetuning() == {"hold_rates": True}
    for name in ("rate", "uniform-2@1", "rated@1"):
        with pytest.raises(ValueError, match="no arm is called"):
            arm.named(name)


def test_times_of_sparsity(example, tmp_path: Path) -> None:
    """Runs agree, or it stops; masks take as much as is left."""
    model = "spikformer-cifar10dvs:dim=16,depth=1,heads=2,image_size=16,classes=10"
    example("sparsity.times").main(model, "random,classes=10,samples=16", "2", "0,0.9", repeats=3, out=tmp_path / "out")
    found = pd.read_csv(tmp_path / "out" / "times" / "times.csv").set_index("sparsity")
    dense, sparse = found.loc[0.0], found.loc[0.9]
    assert dense["codes_bytes"] == sparse["codes_bytes"]
    assert sparse["mask_bytes"] < dense["mask_bytes"]
    assert dense["mask_bytes"] > dense["codes_bytes"]
    assert 0.5 < sparse["zeros"] < 0.9
    assert np.all(found["spikes_bits_bytes"] > 0)
    assert sparse["loas_cycles"] <= dense["loas_cycles"]
    assert np.all(found[["whole_ms", "stepped_ms", "tables_whole_ms", "tables_stepped_ms"]] > 0)


@pytest.mark.slow
def test_cells_of_sparsity_have_equal_bytes(example, tmp_path: Path) -> None:
    words = {"sparsities": "0.5", "seeds": "0", "epochs": 1, "rounds": 1, "samples": 4}
    example("sparsity.run").main(TINY, out=tmp_path / "out", arms="pruned,masked-1,pruned-2,rate", **words)
    found = rows(tmp_path / "out" / "sparsity.csv")
    for arm in ("pruned-2", "rate"):
        check_size(found[arm], tmp_path / "out" / "tiny" / "0" / "0.5" / arm / "packed")
    assert found["rate"]["file_bytes"] <= found["pruned-2"]["file_bytes"]
    assert found["pruned"]["zeros"] == pytest.approx(0.5, abs=0.01)
    assert found["masked-1"]["masked_silent"] >= found["pruned"]["silent"]
    assert {"loas_cycles", "sparten_cycles", "gospa_cycles", "gamma_cycles"} <= found["rate"].keys()


def test_a_cell_of_whole_numbers(example, tmp_path: Path) -> None:
    run = example("whole_numbers.run")
    run.main([TINY], data=DATA, schemes="uniform-4", out=tmp_path / "out")
    row = pd.read_csv(tmp_path / "out" / "whole_numbers.csv").iloc[0]
    packed = tmp_path / "out" / "tiny" / "uniform-4" / "0" / "packed"
    assert row["whole"] == pytest.approx(snnq.eval(packed, progress=snnq.silent).accuracy, rel=1e-4)
    assert row["other_spikes"] == 0
    with pytest.raises(SnnqError, match="Engine and torch do not give the same logits"):
        run.agree(packed, np.ones((1, 2, 2, 8, 8)), np.full((1, 3), 7.0, np.float32))
    assert set(run.matching("*former-cifar10")) == {
        "spikformer-cifar10",
        "qkformer-cifar10",
        "maxformer-cifar10",
        "spikingformer-cifar10",
    }
    with pytest.raises(UsageError, match="no architecture that runs in whole numbers"):
        run.matching("respike-key")


@pytest.mark.slow
def test_cells_of_decomposing(example, tmp_path: Path) -> None:
    words = {"modes": "ptt", "ratios": "2", "arms": "none,short,uniform-4", "seeds": "0", "epochs": 1, "repeats": 1}
    example("decomposing.run").main(TINY, DATA, out=tmp_path / "out", **words)
    found = pd.read_csv(tmp_path / "out" / "decomposing.csv").set_index(["form", "arm"])
    dense, cores = (found.loc[(form, "none")] for form in ("dense", "ptt@2"))
    assert cores["weights"] < dense["weights"]
    assert snnq.inspect(tmp_path / "out" / "tiny" / "ptt@2.safetensors").totals.weights == cores["weights"]
    as_cores, peer = found.loc[("dense", "as-ptt@2")], found.loc[("ptt@2", "uniform-4")]
    assert as_cores["file_bytes"] <= peer["file_bytes"]
    pruned = snnq.inspect(tmp_path / "out" / "tiny" / "dense" / "pruned-ptt@2" / "0" / "pruned.safetensors")
    assert [edit["edit"] for edit in edits_of(pruned.checkpoint.config)] == ["masked"]
    times = pd.read_csv(tmp_path / "out" / "times.csv").set_index(["what", "form"])
    assert times.loc[("training", "dense"), "of_dense"] == 1


def test_a_figure_has_mean_and_deviation_of_every_point(example, tmp_path: Path) -> None:
    figure = example("figure")
    table = pd.read_csv(ROOT / "examples" / "sparsity" / "n-mnist-sdt.csv")
    found = figure.points(table, "file_bytes", "test", "arm").set_index(["arm", "sparsity"])
    three = table[(table["arm"] == "rate") & (table["sparsity"] == 0.9)]["test"]
    mean, spread, count = found.loc[("rate", 0.9), "test"]
    assert (mean, spread, count) == (pytest.approx(np.mean(three)), pytest.approx(np.std(three, ddof=1)), len(three))
    assert ("pruned", 0.9) not in found.index  # it has no file
    figure.main([ROOT / "examples" / "sparsity" / "n-mnist-sdt.csv"], out=tmp_path / "one.svg", arms="rate,float32")
    assert "rate" in (tmp_path / "one.svg").read_text(encoding="utf-8")
