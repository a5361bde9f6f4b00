"""The STAtten experiment: its tasks, that its arms differ in nothing but the chunk, its smallest cell, its tables."""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import snnq
from snnq.base.errors import RunChangedError

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
MODULES = {"statten": ("arms", "cells", "measures", "run", "summary", "tasks", "training")}
MODULES |= {"reference": ("experiment", "rows", "tables", "findings")}


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    monkeypatch.setattr(sys, "path", [*(str(EXAMPLES / folder) for folder in MODULES), *sys.path])
    yield importlib.import_module
    for name in (name for names in MODULES.values() for name in names):
        sys.modules.pop(name, None)


def sorted_frames(frames):
    return sorted(frame.tobytes() for frame in frames)


@pytest.mark.parametrize("seed", range(20))
def test_the_two_orders_of_a_pair_are_each_other_backwards(scripts, seed):
    tasks = scripts("tasks")
    for pair in tasks.ORDERS:
        one, other = (
            tasks.order_frames(tasks.Order(), order, np.random.default_rng(seed)) for order in (pair, pair[::-1])
        )
        assert sorted_frames(one) == sorted_frames(other)
        assert np.array_equal(one, other[::-1])
        assert not np.array_equal(one, other)


@pytest.mark.parametrize("seed", range(20))
def test_two_shapes_flash_with_a_gap_between_them(scripts, seed):
    tasks = scripts("tasks")
    order = tasks.Order(shown=2, gap=2, noise=0, rate=50)
    frames = tasks.order_frames(order, ("saltire", "cross"), np.random.default_rng(seed))
    shown = [step for step in range(order.steps) if frames[step].any()]
    assert len(shown) == 2 * order.shown
    assert shown[order.shown] - shown[order.shown - 1] > order.gap
    pixels = [np.argwhere(frames[step, 0]) for step in shown]
    found = [{tuple(at - one.min(0)) for at in one.tolist()} for one in pixels]
    masks = [
        {(y, x) for y, row in enumerate(tasks.SHAPES[name]) for x, cell in enumerate(row) if cell == "#"}
        for name in ("saltire", "saltire", "cross", "cross")
    ]
    assert found == masks


def test_the_six_orders_are_balanced_and_the_splits_differ(scripts):
    tasks = scripts("tasks")
    splits = {name: list(found) for name, found in tasks.order_splits(tasks.Order(), (12, 12, 12), 0).items()}
    for samples in splits.values():
        labels = [label for label, _ in samples]
        assert sorted(set(labels)) == sorted("-".join(pair) for pair in tasks.ORDERS)
        assert {labels.count(label) for label in labels} == {2}
        assert {frames.shape for _, frames in samples} == {(8, 2, 12, 12)}
    drawn = [frames.tobytes() for samples in splits.values() for _, frames in samples]
    assert len(set(drawn)) == 36


def test_rows_and_static_frames(scripts):
    tasks = scripts("tasks")
    image = np.random.default_rng(0).integers(0, 256, (28, 28)).astype(np.uint8)
    image[0, :5] = (0, 31, 32, 128, 255)
    rows, static = tasks.row_frames(image), tasks.static_frames(image)
    assert rows.shape == (28, 1, 2, 28)
    assert static.shape == (4, 1, 28, 28)
    assert rows[0, 0, 0, :5].tolist() == [0, 0, 1, 2, 4]
    assert (rows[:, 0, 0] == static[0, 0]).all()
    assert (rows[:, :, 0] == rows[:, :, 1]).all()
    assert (static == static[0]).all()


def test_arms_differ_in_the_chunk_and_its_scale_alone(scripts):
    arms, registry = scripts("arms"), importlib.import_module("snnq.models.registry")
    for task in arms.TASKS.values():
        assert 1 in task.chunks
        assert task.primary in task.chunks
        states = []
        for chunk in task.chunks:
            config = task.config(chunk)
            assert {key: value for key, value in config.items() if key not in ("chunk", "attention_scale")} == (
                arms.MODEL | task.sizes
            )
            torch.manual_seed(3)
            model = registry.build(arms.ARCHITECTURE, config)
            states.append(model.state_dict())
            drive = config["attention_scale"] * chunk * model.config.tokens
            assert arms.DRIVE / 2**0.5 <= drive <= arms.DRIVE * 2**0.5
            assert np.log2(config["attention_scale"]) % 1 == 0
        for state in states[1:]:
            assert state.keys() == states[0].keys()
            assert all(torch.equal(state[name], states[0][name]) for name in state)


def test_largest_product_of_a_chunk(scripts):
    measures, arms = scripts("measures"), scripts("arms")
    config = (
        importlib.import_module("snnq.models.registry")
        .architecture(arms.ARCHITECTURE)
        .config(arms.TASKS["temporal-order"].config(4))
    )
    draw = np.random.default_rng(0)
    k, v = ((draw.random((8, 2, 32, 4, 4)) < 0.4).astype(np.float32) for _ in range(2))
    seen = {"block.0.attn.k_lif": torch.from_numpy(k), "block.0.attn.v_lif": torch.from_numpy(v)}
    sums = [
        (k[first : first + 4, sample, i] * v[first : first + 4, sample, j]).sum()
        for first in (0, 4) for sample in range(2) for head in range(4)
        for i in range(8 * head, 8 * head + 8) for j in range(8 * head, 8 * head + 8)
    ]  # fmt: skip
    assert measures.largest_product(seen, "block.0.attn.k_lif", config) == max(sums)


@pytest.mark.parametrize(("name", "chunk", "bits", "buffer"), [
    ("temporal-order", 1, 4, 288), ("temporal-order", 8, 7, 2304), ("rows", 1, 3, 224), ("rows", 7, 6, 1568),
    ("static", 4, 7, 2048),
])  # fmt: skip
def test_golden_costs(scripts, name, chunk, bits, buffer):
    arms, measures = scripts("arms"), scripts("measures")
    model = importlib.import_module("snnq.models.registry").build(arms.ARCHITECTURE, arms.TASKS[name].config(chunk))
    found, plain = measures.costs(model, model.config), arms.TASKS[name].config(1)
    assert (found["kv_bits"], found["q_buffer_bits"]) == (bits, buffer)
    without = importlib.import_module("snnq.models.registry").build(arms.ARCHITECTURE, plain)
    same = ("parameters", "macs_layers", "macs_attention")
    assert {key: found[key] for key in same} == {key: measures.costs(without, without.config)[key] for key in same}
    if name == "temporal-order":  # 9 tokens, 8 steps, 4 heads of 8: N·d² twice for every head and step
        assert found["macs_attention"] == 8 * 4 * 2 * 9 * 8 * 8


def test_pair_accuracy_counts_both_orders(scripts):
    found = scripts("cells").pair_accuracy(("a-b", "a-c", "b-a"), np.array([0, 2, 1, 0]), np.array([0, 0, 1, 1]))
    assert found == {"pair_accuracy": 0.75}
    assert scripts("cells").pair_accuracy(("0", "1"), np.array([0]), np.array([0])) == {}


@pytest.mark.slow
def test_smallest_cell(scripts, tmp_path, monkeypatch):
    run, arms, training = scripts("run"), scripts("arms"), scripts("training")
    monkeypatch.setenv("SNNQ_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(arms, "MODEL", {"dim": 8, "depth": 1, "heads": 2, "mlp_ratio": 1.0})
    monkeypatch.setattr(scripts("cells"), "CALIBRATION", 6)
    task = replace(
        arms.TASKS["temporal-order"],
        chunks=(8, 2),
        recipe=training.Recipe(epochs=1, batch_size=6),
        limit=(12, 6, 6),
    )
    run.run([0], [task], None, tmp_path, 1, 1)
    found = pd.read_csv(tmp_path / "statten.csv")
    # The primary chunk has all rows, the other one the float row.
    assert list(zip(found.chunk, found.row, strict=True)) == [
        (2, "float"), (8, "float"), (8, "float-finetuned"), (8, "budget"),
    ]  # fmt: skip
    assert found.test_accuracy.between(0, 1).all()
    assert found.simulated.all()
    assert set(found.test_samples) == {6}
    assert found.avg_bits[:3].tolist() == [32] * 3
    assert 2 <= found.avg_bits[3] <= 2.2
    assert (found.kv_max <= found.chunk * 9).all()
    assert found.attention_rate.between(0, 1).all()

    monkeypatch.setattr(snnq, "finalize", None)  # a second call runs nothing: every cell is finished
    run.run([0], [task], None, tmp_path, 1, 1)
    assert pd.read_csv(tmp_path / "statten.csv").equals(found)
    with pytest.raises(RunChangedError, match="another recipe"):
        run.run([0], [replace(task, recipe=training.Recipe(epochs=2))], None, tmp_path, 1, 1)


def test_a_share_of_a_task(scripts, tmp_path, monkeypatch):
    run, arms, training = scripts("run"), scripts("arms"), scripts("training")
    monkeypatch.setenv("SNNQ_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(arms, "MODEL", {"dim": 8, "depth": 1, "heads": 2, "mlp_ratio": 1.0})
    whole = replace(arms.TASKS["temporal-order"], recipe=training.Recipe(epochs=1, batch_size=6), limit=(6, 6, 6))
    assert run.share_of(whole, None, None) == whole
    task = run.share_of(whole, [1, 7], 2)
    assert (task.chunks, task.recipe.epochs, task.config(1)) == ((1,), 2, whole.config(1))
    run.run([0], [task], None, tmp_path, 1, 0)  # no epochs of finetuning: float models only
    found = pd.read_csv(tmp_path / "statten.csv")
    assert list(zip(found.chunk, found.row, strict=True)) == [(1, "float")]


def test_golden_interval(scripts):
    summary = scripts("summary")
    # 1, 2 and 3 points: 2 ± 4.3027 · 1/√3
    assert summary.interval(pd.Series([0.01, 0.02, 0.03])) == "+2.00 [-0.48, +4.48]"
    assert summary.interval(pd.Series([0.01, None])) == "+1.00"
    assert summary.interval(pd.Series([], dtype=float)) == "–"


def test_golden_tables(scripts):
    summary = scripts("summary")
    tests = {("float", 1): (0.70, 0.72), ("float", 4): (0.71, 0.75), ("budget", 1): (0.60, 0.64)}
    tests |= {("budget", 4): (0.60, 0.62), ("float-finetuned", 1): (0.7, 0.7), ("float-finetuned", 4): (0.71, 0.71)}
    cells = pd.DataFrame([
        {"task": "temporal-order", "row": row, "chunk": chunk, "seed": seed, "test_accuracy": test,
         "avg_bits": 2.125 if row == "budget" else 32, "pair_accuracy": 0.8}
        for (row, chunk), pair in tests.items() for seed, test in enumerate(pair)
    ])  # fmt: skip
    lines = [line.strip("| ").split(" | ") for line in summary.accuracy(cells).splitlines()[2:]]
    assert [line[:5] for line in lines] == [
        ["temporal-order", "float", "1", "2", "71.00 ± 1.41"],
        ["temporal-order", "float", "4", "2", "73.00 ± 2.83"],
        ["temporal-order", "float-finetuned", "1", "2", "70.00 ± 0.00"],
        ["temporal-order", "float-finetuned", "4", "2", "71.00 ± 0.00"],
        ["temporal-order", "budget", "1", "2", "62.00 ± 2.83"],
        ["temporal-order", "budget", "4", "2", "61.00 ± 1.41"],
    ]
    # 1 and 3 points: 2 ± 12.706 · √2/√2
    assert lines[1][5] == "+2.00 [-10.71, +14.71]"
    assert lines[0][5] == "0"
    assert lines[4][6] == "2.12"
    # budget: 0 and -2, finetuned: 1 and 1; so -1 and -3
    assert summary.survival(cells) == [
        "temporal-order, B = 4: Δ of budget minus Δ of float-finetuned is -2.00 [-14.71, +10.71] points."
    ]
    order = summary.order(cells).splitlines()
    assert order[2].strip("| ").split(" | ")[:4] == ["1", "2", "80.00 ± 0.00", "88.75 ± 1.77"]
