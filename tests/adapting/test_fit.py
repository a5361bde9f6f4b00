"""Adapters from the first command to the last: what is learned is what is packed and run; nothing else moves."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_adapters import write_random
from sifted import slow_but

import snnq
from snnq.adapting.learning import Learning
from snnq.adapting.settings import METHODS
from snnq.base.errors import (
    DataError,
    InterruptedRun,
    OutputExistsError,
    PackedError,
    PlanError,
    UsageError,
    VerificationError,
)
from snnq.cli.main import run
from snnq.packed.adapted import load_adapted
from snnq.packed.adapter import read_adapter
from snnq.runtime.adapted import AdaptedEngine

STREAM = "random,classes=4,samples=40"
FAST: dict[str, Any] = {"data": STREAM, "epochs": 2, "batch_size": 8, "pool": 4, "length": 4, "top": 2}


def fit(folder: Path, out: Path, **words: Any):
    return snnq.adapt_fit(folder, out=out, progress=snnq.silent, **(FAST | words))


def frames_of(count: int) -> np.ndarray:
    return np.random.default_rng(0).poisson(0.5, (count, 2, 2, 8, 8)).astype(np.uint8)


# What is left out has the parts of those that are here.
QUICK = ("head", "lda", "os", "full")


@pytest.mark.parametrize("method", slow_but(QUICK, METHODS))
def test_what_was_measured_is_what_is_packed_and_run(method: str, tiny: Path, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in tiny.iterdir()}
    found = fit(tiny, tmp_path / "a.safetensors", method=method)
    known, facts = found.facts.known, found.facts
    assert (facts.tasks, facts.classes, facts.method) == ((2, 2), ("0", "1", "2", "3"), method)
    assert [len(row) for row in known.class_incremental] == [1, 2]
    assert known.samples == (20, 20)
    assert found.metrics == known.metrics()
    evaluated = snnq.adapt_eval(tiny, [tmp_path / "a.safetensors"], measure=2, progress=snnq.silent)
    (one,) = evaluated.adapters
    assert one.class_incremental == known.class_incremental[-1]
    assert one.task_incremental == known.task_incremental[-1]
    assert one.accuracy == pytest.approx(sum(one.class_incremental) / 2)
    assert one.synaptic_operations is not None
    assert one.backbone_operations is not None
    twice = method in ("l2p", "coda")
    assert one.macs["frozen_pass"] == (one.macs["backbone"] if twice else 0)
    assert (one.macs["of_one_pass"] > 1.9) == twice
    assert (one.synaptic_operations > 1.7 * one.backbone_operations) == twice
    # The folder alone is the folder, beside a network that was finetuned whole, too.
    assert (one.synaptic_operations == one.backbone_operations) == (method in ("head", "lda"))
    engines = ["torch"] if method == "full" else ["torch", "integer"]
    for engine in engines:
        eval_ = snnq.eval(tiny, adapter=tmp_path / "a.safetensors", engine=engine, batch_size=7, progress=snnq.silent)
        assert eval_.accuracy == one.accuracy
        assert (eval_.adapter_bytes, eval_.samples) == (found.adapter_bytes, 40)
    if method != "full":
        adapted, frames = load_adapted(tiny, tmp_path / "a.safetensors"), frames_of(5)
        with torch.no_grad():
            due = adapted(torch.from_numpy(frames.astype(np.float32))).numpy()
            alone = [adapted(torch.from_numpy(one[None].astype(np.float32)))[0].numpy() for one in frames]
        assert np.array_equal(AdaptedEngine(tiny, tmp_path / "a.safetensors", 1)(frames), due)
        assert np.array_equal(np.stack(alone), due)  # a batch of one
    assert before == {path.name: path.read_bytes() for path in tiny.iterdir()}


@pytest.mark.parametrize("method", ["os++", pytest.param("coda", marks=pytest.mark.slow)])
def test_a_run_that_was_cut_off_goes_on_to_the_same_bytes(
    method: str, tiny: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    whole, cut = tmp_path / "whole.safetensors", tmp_path / "cut.safetensors"
    fit(tiny, whole, method=method)
    for epoch in (1, 2):  # within a task, and after the second one has begun
        step = Learning.step

        def stop(self: Learning, place: Any, indices: list[int], epoch: int = epoch, step: Any = step) -> Any:
            if place.epoch == epoch and place.step == 1:
                raise InterruptedRun("cut off")
            return step(self, place, indices)

        monkeypatch.setattr(Learning, "step", stop)
        with pytest.raises(InterruptedRun):
            fit(tiny, cut, method=method)
        monkeypatch.setattr(Learning, "step", step)
    fit(tiny, cut, method=method)
    assert whole.read_bytes() == cut.read_bytes()
    again = fit(tiny, cut, method=method)  # it is there: nothing is done
    assert again.facts == read_adapter(whole).facts


def test_slots_of_earlier_tasks_stay_and_orders_differ(tiny: Path, tmp_path: Path, monkeypatch: Any) -> None:
    seen: list[dict[str, torch.Tensor]] = []
    begin = Learning.begin

    def noted(self: Learning, task: int) -> None:
        begin(self, task)
        assert self.pools is not None
        seen.append({name: one.detach().clone() for name, one in self.pools.named_parameters()})

    monkeypatch.setattr(Learning, "begin", noted)
    monkeypatch.setattr(Learning, "finish", lambda self: seen.append(dict(self.pools.named_parameters())))
    fit(tiny, tmp_path / "a.safetensors", method="os")
    _, second, last = seen
    for name, one in last.items():
        assert torch.equal(one[:2], second[name][:2])
        assert not torch.equal(one[2:], second[name][2:])
    monkeypatch.undo()
    orders = [fit(tiny, tmp_path / f"{n}.safetensors", method="lda", order=n).facts.classes for n in (0, 1, 2, 3)]
    assert orders[0] == ("0", "1", "2", "3")
    assert len(set(orders)) > 2
    found = snnq.adapt_eval(tiny, [tmp_path / f"{n}.safetensors" for n in range(3)], measure=0, progress=snnq.silent)
    (summary,) = found.summary.values()
    values = [one.metrics["class_incremental"]["final_average_accuracy"] for one in found.adapters]
    mean = summary["class_incremental"]["final_average_accuracy"]
    assert (summary["adapters"], summary["orders"]) == (3, [0, 1, 2])
    assert mean["mean"] == pytest.approx(np.mean(values))
    assert mean["deviation"] == pytest.approx(np.std(values, ddof=1))


def test_tasks_by_file_and_all_at_once(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "tasks.json").write_text('[["3"], ["0", "2"]]')
    found = fit(tiny, tmp_path / "a.safetensors", method="head", tasks=str(tmp_path / "tasks.json"))
    assert (found.facts.classes, found.facts.tasks, found.facts.known.samples) == (("3", "0", "2"), (1, 2), (10, 20))
    joint = fit(tiny, tmp_path / "b.safetensors", method="lda", tasks="joint")
    assert (joint.facts.tasks, joint.metrics["class_incremental"]["forgetting"]) == ((4,), None)
    by_task = fit(tiny, tmp_path / "c.safetensors", method="lda", tasks="classes:1", order=2)
    # The order of tasks does not matter to sums: the same weights, row by row.
    made = [read_adapter(tmp_path / f"{name}.safetensors") for name in "bc"]
    weights = [dict(zip(one.facts.classes, one.head[0], strict=True)) for one in made]
    assert by_task.facts.tasks == (1, 1, 1, 1)
    for name, row in weights[0].items():
        assert np.allclose(row, weights[1][name], rtol=2e-3, atol=1e-5)
    for text, message in (
        ('[["0"], ["0"]]', "class '0' is in it twice"),
        ('[["x"]]', "has no class 'x'"),
        ("[[]]", "a list of lists"),
        ("{", "not valid JSON"),
    ):
        (tmp_path / "tasks.json").write_text(text)
        with pytest.raises(UsageError, match=message):
            fit(tiny, tmp_path / "d.safetensors", tasks=str(tmp_path / "tasks.json"))


def test_refusals_come_before_the_work(tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.safetensors"
    refused: tuple[tuple[dict[str, Any], type[Exception], str], ...] = (
        ({"method": "oss"}, UsageError, "did you mean 'os'"),
        ({"pool": 1}, UsageError, "each of the 2 tasks needs a slot"),
        ({"length": 3}, UsageError, "an even length"),
        ({"blocks": "1"}, UsageError, r"there is 0 \(block.0.attn\)"),
        ({"blocks": "first"}, UsageError, "numbers of blocks"),
        ({"method": "l2p", "top": 9}, UsageError, "--top 9"),
        ({"method": "os++", "regulariser": "embeddings"}, UsageError, "nothing moves it"),
        ({"tasks": "classes:0"}, UsageError, "at least one class"),
    )
    for words, error, message in refused:
        with pytest.raises(error, match=message):
            fit(tiny, out, **words)
    lonely = shutil.copytree(tiny, tmp_path / "packed")
    (tiny.parent / "tiny.safetensors").rename(tmp_path / "away")
    try:
        with pytest.raises(PlanError, match="learns beside the float checkpoint"):
            fit(lonely, out, method="os++")
    finally:
        (tmp_path / "away").rename(tiny.parent / "tiny.safetensors")
    assert not out.exists()
    fit(tiny, out, method="lda")
    with pytest.raises(OutputExistsError, match="not from this folder and these settings"):
        fit(tiny, out, method="head")


def test_another_folders_or_a_damaged_adapter_is_refused(tiny: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    plan = snnq.uniform_plan("uniform-2", checkpoint=tiny.parent / "tiny.safetensors")
    plan.write(tmp_path / "plan.json")
    snnq.finalize(tmp_path / "plan.json", out=other, epochs=1, batch_size=16, progress=snnq.silent)
    out = write_random(tiny, tmp_path / "a.safetensors", "os")
    for use in (
        lambda: snnq.eval(other, adapter=out, data=STREAM, progress=snnq.silent),
        lambda: snnq.verify(other, adapter=out),
        lambda: snnq.adapt_eval(other, [out], progress=snnq.silent),
        lambda: snnq.report(other, adapter=out, progress=snnq.silent),
        lambda: AdaptedEngine(other, out),
        lambda: load_adapted(other, out),
    ):
        with pytest.raises(VerificationError, match="was made for another packed folder"):
            use()
    content = bytearray(out.read_bytes())
    content[-1] ^= 1
    out.write_bytes(content)
    with pytest.raises(VerificationError, match="its tensors have the sha256"):
        read_adapter(out)
    out.write_bytes(content[:-40])
    with pytest.raises(PackedError, match="not a whole adapter"):
        read_adapter(out)
    with pytest.raises(PackedError, match="is no adapter"):
        read_adapter(tiny / "model.safetensors")
    broken: tuple[tuple[dict[str, Any], str], ...] = (
        ({"classes": ["a", "b", "c"]}, "the tasks' classes"),
        ({"query": "features"}, "prompts"),
        ({"schema_version": 2}, "schema_version"),
        ({"later": 1}, "later"),
    )
    for changes, message in broken:
        with pytest.raises((PackedError, ValueError), match=message):
            read_adapter(write_random(tiny, tmp_path / "b.safetensors", "os", **changes))
    with pytest.raises(UsageError, match="is of a packed folder"):
        snnq.eval(tiny.parent / "tiny.safetensors", adapter=out, progress=snnq.silent)


def test_the_command_line(tiny: Path, tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    folder = str(tiny)
    words = ["--data", STREAM, "--epochs", "1", "--pool", "4", "--length", "2", "--batch-size", "16"]
    assert run(["adapt", "fit", folder, *words, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["facts"]["method"] == "os"
    assert said["adapter_bytes"] == (tmp_path / "adapter.safetensors").stat().st_size
    assert run(["adapt", "fit", folder, *words]) == 0
    shown = capsys.readouterr()
    assert "already the result" in shown.err
    assert "final average accuracy A_N" in shown.out
    assert run(["eval", folder, "--adapter", "adapter.safetensors", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["adapter"] == "adapter.safetensors"
    assert run(["verify", folder, "--adapter", "adapter.safetensors"]) == 0
    assert "is whole and this folder's" in capsys.readouterr().err
    assert run(["adapt", "eval", folder, "adapter.safetensors", "--measure", "1", "--engine", "integer"]) == 0
    shown = capsys.readouterr()
    assert "task-incremental" in shown.out
    assert "One order of the classes tells little" in shown.err
    assert run(["adapt", "list", ".", "--packed", folder, "--json"]) == 0
    (listed,) = json.loads(capsys.readouterr().out)["adapters"]
    assert listed["fits"]
    assert run(["adapt", "list"]) == 0
    assert "adapter.safetensors" in capsys.readouterr().out
    page = tmp_path / "page.html"
    assert run(["report", folder, "--adapter", "adapter.safetensors", "--out", str(page), "--json"]) == 0
    row = json.loads(capsys.readouterr().out)["adapter"]
    assert (row["method"], row["adapter_bytes"]) == ("os", said["adapter_bytes"])
    assert row["class_incremental"] == said["metrics"]["class_incremental"]
    assert "Other classes, by an adapter" in page.read_text()
    np.savez(tmp_path / "one.npz", frames=frames_of(1)[0])
    for engine in ("torch", "integer"):
        assert run(["eval", folder, "--input", "one.npz", "--adapter", "adapter.safetensors", "--engine", engine]) == 0
        assert "one.npz: " in capsys.readouterr().out
    full = write_random(tiny, tmp_path / "full.safetensors", "full")
    assert run(["adapt", "eval", folder, str(full), "--engine", "integer"]) == 2
    assert "run on torch alone" in capsys.readouterr().err
    assert run(["eval", folder, "--adapter", str(full), "--engine", "integer", "--data", STREAM]) == 2
    assert "run on torch alone" in capsys.readouterr().err
    with pytest.raises(DataError, match="has no class"):
        snnq.eval(tiny, adapter="adapter.safetensors", data="random,classes=3", progress=snnq.silent)


def test_facts_of_a_job_are_what_the_file_says(tiny: Path, tmp_path: Path) -> None:
    found = fit(tiny, tmp_path / "a.safetensors", method="coda")
    assert replace(found, out="x").facts == read_adapter(tmp_path / "a.safetensors").facts
    (used,), (drift,) = found.facts.usage, found.facts.drift
    assert (len(used.weights), len(used.weights[0])) == (2, 4)
    assert drift.from_first == pytest.approx((0, 0), abs=1e-12)  # the only attention's query comes before all prompts
    assert found.to_dict()["facts"]["known"] == json.loads(json.dumps(found.facts.known.model_dump(mode="json")))
