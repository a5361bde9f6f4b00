"""Plans of reuse: what they predict is what imc reports of the model, counted by hand where writes are concerned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from lively import wake

import snnq
from snnq.base.errors import BudgetError, PlanError, UsageError
from snnq.checkpoints.opening import open_checkpoint, save_checkpoint
from snnq.cli.main import run
from snnq.models.registry import build
from snnq.network.layers import frames_shape
from snnq.reusing.costing import Variant
from snnq.reusing.records import read_reuse_plan
from snnq.structure.edits import apply_edits

LAYOUT = "spikformer-cifar10dvs"
CONFIG: dict[str, Any] = {"in_channels": 2, "image_size": [8, 8], "dim": 16, "depth": 3, "heads": 2, "steps": 4}
CONFIG |= {"classes": 3, "pooling": [False, False, True, True]}
QUIET: Any = {"progress": snnq.silent}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    save("float.safetensors")
    return tmp_path


def save(path: str, name: str = LAYOUT, **more: Any) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = build(name, CONFIG | more)
        wake(model, torch.poisson(torch.full((4, *frames_shape(CONFIG)), 0.5)))
    save_checkpoint(path, model, architecture=name, facts={"data": "random,classes=3,samples=16"})


def test_what_is_predicted_is_what_imc_reports_of_the_edited_model(place: Path) -> None:
    plan = snnq.reuse_plan("float.safetensors", delay=0.9, **QUIET)
    assert read_reuse_plan("reuse.json") == plan
    shares = [one.shares(plan.whole)["delay_ns"] for one in plan.sweep]
    assert shares[0] == 1
    assert shares == sorted(shares, reverse=True)
    assert min(shares[: plan.reusing]) > 0.9  # the fewest
    assert {one.pattern for one in plan.candidates} <= {"strided", "continuous", "pyramid"}
    opened = open_checkpoint("float.safetensors")
    for one in plan.candidates:
        assert len(one.attentions) == plan.reusing
        edited = Variant(opened, one.attentions).model()
        save_checkpoint("edited.safetensors", edited, architecture=LAYOUT, facts={})
        found = snnq.imc_report("edited.safetensors", target="trex-32nm").mapped
        assert one.costs.delay_ns == found.latency_ns <= 0.9 * (plan.whole.delay_ns or 0)
        assert (one.costs.energy_pj, one.costs.area_um2) == (found.total_pj, found.total_um2)
        assert one.costs.product == pytest.approx(found.total_pj * found.latency_ns * found.total_um2 * 1e-18)
        blocks = [part for part in found.layers if part.operand.name.endswith(".reuse")]
        assert len(blocks) == plan.reusing
        assert one.costs.blocks_delay_ns == pytest.approx(sum(part.latency_ns for part in blocks))
        assert one.costs.blocks_delay_ns == pytest.approx(plan.reusing * 4 * 4 * 100)  # tokens · T reads of 100 ns


def test_rows_and_cells_that_attention_writes_by_hand(place: Path) -> None:
    """2 T N d spikes for (Q Kᵀ) V, (T / B) d² counts for Q (Kᵀ V), of every head of every block (§ the page's)."""
    plan = snnq.reuse_plan("float.safetensors", blocks=1, **QUIET)
    steps, tokens, width, heads, depth = 4, 4, 8, 2, 3
    spikes = depth * heads * 2 * steps * tokens * width
    # Both heads lie on one array, whose rows are written one after the other.
    due = {("scores", 1): (depth * steps * heads * (width + tokens), spikes, spikes)}
    for chunk, bits in ((1, 3), (2, 4), (4, 5)):  # counts up to 4, 8 and 16
        numbers = depth * heads * steps // chunk * width**2
        due["keys", chunk] = (depth * steps // chunk * heads * width, numbers * -(-bits // 2), numbers * bits)
    assert {(one.order, one.chunk): (one.rows, one.cells, one.bits) for one in plan.written} == due
    assert [one.order for one in plan.written if one.own] == ["scores"]
    assert [one.cells_written for one in plan.sweep] == [spikes // depth * left for left in (3, 2, 1)]


def test_events_and_the_engine_are_targets_too(place: Path) -> None:
    events = snnq.reuse_plan("float.safetensors", target="event", energy=0.97, out="events.json", **QUIET)
    assert events.target.kind == "event"
    assert events.whole.delay_ns is events.whole.area_um2 is events.whole.product is None
    measured = snnq.measure("float.safetensors", split="train", **QUIET)
    assert events.whole.energy_pj == pytest.approx(measured.events.total.energy_pj)
    assert [one.energy_pj for one in events.sweep] == sorted([one.energy_pj or 0 for one in events.sweep], reverse=True)
    save("two.safetensors", depth=2)
    engine = snnq.reuse_plan("two.safetensors", target="engine", blocks=1, out="engine.json", **QUIET)
    assert engine.target.kind == "engine"
    assert len(engine.sweep) == 2
    assert all((one.delay_ns or 0) > 0 for one in engine.sweep)
    with pytest.raises(UsageError, match="--delay: the target event does not tell it"):
        snnq.reuse_plan("float.safetensors", target="event", delay=0.5, **QUIET)


def test_limits_that_cannot_be_kept_end_with_three(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BudgetError, match="with all 2 blocks that can reuse, the model has delay 0"):
        snnq.reuse_plan("float.safetensors", delay=0.1, **QUIET)
    assert run(["reuse", "plan", "float.safetensors", "--delay", "0.1"]) == 3
    assert not Path("reuse.json").exists()
    assert run(["reuse", "plan", "float.safetensors", "--delay", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["reusing"], found["candidates"]) == (0, [])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({}, "--delay is missing"),
        ({"delay": 1.5}, "--delay 1.5: a share of the model"),
        ({"energy": 0.0}, "--energy 0: a share"),
        ({"blocks": 3}, "--blocks 3: of 3 attentions, 0 to 2 can reuse"),
        ({"delay": 0.9, "cells": "gold"}, "gold"),
    ],
)
def test_wrong_words_are_refused_by_name(place: Path, words: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        snnq.reuse_plan("float.safetensors", **words, **QUIET)


def test_models_that_cannot_reuse_are_refused(place: Path) -> None:
    save("sdt.safetensors", "sdt-static")
    with pytest.raises(UsageError, match="sdt-static has 0 attentions that multiply matrices"):
        snnq.reuse_plan("sdt.safetensors", delay=0.9, **QUIET)
    model = Variant(open_checkpoint("float.safetensors"), {"block.1.attn": "block.0.attn"}).model()
    save_checkpoint("reused.safetensors", model, architecture=LAYOUT, facts={})
    with pytest.raises(UsageError, match="was edited before"):
        snnq.reuse_plan("reused.safetensors", delay=0.9, **QUIET)
    assert apply_edits(model, []) is model


def test_a_damaged_plan_is_refused(place: Path) -> None:
    snnq.reuse_plan("float.safetensors", blocks=1, **QUIET)
    whole = json.loads(Path("reuse.json").read_text())
    for change, said in (
        ({"plan": "search"}, "not a plan of reuse"),
        ({"schema_version": 2}, "schema_version"),
        ({"reusing": -1}, "reusing"),
        ({"colour": "red"}, "unknown key 'colour'"),
    ):
        Path("bad.json").write_text(json.dumps(whole | change))
        with pytest.raises(PlanError, match=said):
            read_reuse_plan("bad.json")
    with pytest.raises(PlanError, match="there is no such plan of reuse"):
        read_reuse_plan("none.json")
