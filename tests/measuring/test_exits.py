"""``snnq eval --exit-entropy``: thresholds against trying them all, both engines, energy counted twice, refusals."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from image_files import write_images
from lively import write_lively
from rounded_digits import write_digits
from small_architectures import small

import snnq
from snnq.assessing.exit_records import Exits
from snnq.assessing.exit_rule import Answers, choose, ladder
from snnq.base.errors import UsageError
from snnq.cli.main import run
from snnq.data.pixels import DEVIATIONS, MEANS, Pixels
from snnq.packed.input import input_of
from snnq.reporting.exit_tables import figure, notes, tables

DATA = "digits,limit=60"
FEW = "random,classes=4,samples=24"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("exits") / "packed"
    write_digits(place, ["uniform-2", "uniform-3"])
    return place


@pytest.fixture(scope="module")
def middle(folder: Path) -> float:
    """A threshold that some samples pass and some do not."""
    curve = exits_of(folder, 0.0, engine="integer", exit_samples=0).curve
    return curve[len(curve) // 2].threshold


def exits_of(folder: Path, entropy: float | str, **words: Any) -> Exits:
    found = snnq.eval(folder, data=DATA, exit_entropy=entropy, progress=snnq.silent, **words)
    assert found.exits is not None
    assert (found.accuracy, found.loss) == (found.exits.accuracy, found.exits.loss)
    return found.exits


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(2, 5), st.integers(2, 4), st.booleans())
def test_every_threshold_that_makes_a_difference(
    seed: int, samples: int, answers: int, classes: int, same: bool
) -> None:
    draw = np.random.default_rng(seed)
    logits = draw.normal(size=(samples, answers, classes)) * 2
    logits = np.round(logits) if same else logits  # some entropies are equal
    after = tuple(int(one) for one in np.cumsum(draw.integers(1, 3, answers)))
    found = Answers(logits.astype(np.float32), draw.integers(0, classes, samples), after)
    known = ladder(found)
    each = np.arange(samples)
    for threshold, right, steps in zip(known.thresholds, known.right, known.steps, strict=True):
        ended = found.exits(float(threshold))
        assert (found.right[each, ended].sum(), np.array(after)[ended].sum()) == (right, steps)
    # Tried one by one, none that loses as little takes fewer steps.
    loss = float(draw.choice([0.0, 0.2, 1.0]))
    chosen = found.exits(choose(found, loss))
    least = found.right[:, -1].sum() - int(loss * samples + 1e-9)
    assert found.right[each, chosen].sum() >= least
    for threshold in np.linspace(0, 1.001, 200):
        ended = found.exits(threshold)
        if found.right[each, ended].sum() >= least:
            assert np.array(after)[ended].sum() >= np.array(after)[chosen].sum()


def test_a_threshold_by_hand() -> None:
    sure, unsure = [9.0, 0.0], [0.1, 0.0]
    logits = np.array([[sure, sure], [unsure, sure], [[0.0, 5.0], sure], [unsure, [0.0, 9.0]]], np.float32)
    found = Answers(logits, np.array([0, 0, 0, 1]), (1, 2))
    # Ending after one step loses the third sample, then the second is right anyway, and the fourth is lost.
    assert ladder(found).right.tolist() == [4, 4, 3, 2]
    assert ladder(found).steps.tolist() == [8, 7, 6, 4]
    assert found.exits(choose(found, 0.0)).tolist() == [0, 1, 1, 1]
    assert found.exits(choose(found, 0.25)).tolist() == [0, 1, 0, 1]
    assert found.exits(choose(found, 0.5)).tolist() == [0, 0, 0, 0]


def test_both_engines_end_alike(folder: Path, middle: float) -> None:
    mine, torch = (exits_of(folder, middle, engine=one, exit_samples=0) for one in ("integer", "torch"))
    assert mine == torch
    assert 1 < mine.mean_steps < 4
    assert sum(mine.exited) == mine.samples
    assert mine.mean_steps == pytest.approx(np.dot(mine.answers, mine.exited) / mine.samples)
    assert mine.fixed[-1] == mine.accuracy_all_steps
    assert mine.accuracy_shuffled == pytest.approx(np.dot(mine.fixed, mine.exited) / mine.samples)
    assert (mine.curve[0].mean_steps, mine.curve[-1].mean_steps) == (4.0, 1.0)


def test_without_exits_it_is_the_plain_evaluation(folder: Path) -> None:
    plain = snnq.eval(folder, data=DATA, engine="integer", progress=snnq.silent)
    found = exits_of(folder, 0.0, engine="integer", exit_samples=0)
    assert (found.accuracy, found.loss, found.mean_steps) == (plain.accuracy, plain.loss, 4.0)
    assert plain.exits is None


def test_a_choice_is_made_on_validation(folder: Path) -> None:
    found = exits_of(folder, "auto", exit_loss=5, exit_samples=0, batch_size=7)
    assert found.choice is not None
    assert found.choice.accuracy >= found.choice.accuracy_all_steps - 0.05
    again = exits_of(folder, found.threshold, split="validation", exit_samples=0)
    assert (again.accuracy, again.mean_steps) == (found.choice.accuracy, found.choice.mean_steps)
    other = exits_of(folder, "auto", exit_loss=5, exit_samples=0, split="train")
    assert (other.threshold, other.split) == (found.threshold, "train")


def test_energy_is_that_of_the_steps_that_were_taken(folder: Path) -> None:
    plain = snnq.measure(folder, data=DATA, split="test", samples=3, progress=snnq.silent)
    head = next(one for one in plain.events.layers if one.group == "head")
    nobody = exits_of(folder, 0.0, exit_samples=3).exit_costs
    assert nobody is not None
    assert nobody.events_pj_all_steps == pytest.approx(plain.events.total.energy_pj, rel=1e-12)
    # The head runs four times instead of once; its weight is fetched once.
    assert nobody.events_pj == pytest.approx(plain.events.total.energy_pj + 3 * head.compute_pj, rel=1e-12)
    assert nobody.events_compute_pj == pytest.approx(plain.events.total.compute_pj + 3 * head.compute_pj, rel=1e-12)
    assert nobody.paper_pj == pytest.approx(4 * plain.paper_energy_pj)
    everybody = exits_of(folder, 1.0, exit_samples=3).exit_costs
    assert everybody is not None
    assert everybody.paper_pj == pytest.approx(plain.paper_energy_pj)
    # What is fetched once stays; neurons are updated once instead of four times.
    updates = sum(one.energy_pj for one in plain.events.neurons)
    first = [one.firing_rates[0] / sum(one.firing_rates) for one in plain.events.layers if sum(one.firing_rates)]
    assert everybody.events_compute_pj > updates / 4
    assert min(first) * 0.5 < everybody.events_compute_pj / plain.events.total.compute_pj < max(first) * 2
    assert nobody.latency_ms is None
    # The price is the one that was asked for.
    price: Any = {"cost_table": "horowitz-45nm-sparse", "weight_reuse": "event"}
    plain = snnq.measure(folder, data=DATA, split="test", samples=3, **price, progress=snnq.silent)
    head = next(one for one in plain.events.layers if one.group == "head")
    other = exits_of(folder, 0.0, exit_samples=3, **price).exit_costs
    assert other is not None
    assert (other.cost_table, other.weight_reuse) == tuple(price.values())
    assert other.events_pj == pytest.approx(plain.events.total.energy_pj + 3 * head.energy_pj, rel=1e-12)
    assert other.paper_pj == pytest.approx(4 * plain.paper_energy_pj)
    with pytest.raises(UsageError, match="--weight-reuse event: nothing is priced without --exit-entropy"):
        snnq.eval(folder, weight_reuse="event")


def test_latency_is_of_samples_that_end_as_they_did_in_their_batch(folder: Path, middle: float) -> None:
    found = exits_of(folder, middle, engine="integer", exit_samples=4).exit_costs
    assert found is not None
    assert found.latency_ms is not None
    assert found.latency_ms_all_steps is not None
    assert found.latency_ms > 0
    assert 1 <= found.mean_steps <= 4


def test_steps_that_are_mixed_end_together(tmp_path: Path) -> None:
    one, sizes = small("statten-static")
    write_lively(tmp_path / "packed", ["uniform-4"], one, **sizes | {"steps": 4, "one_sign": False})
    mine, torch = (
        snnq.eval(
            tmp_path / "packed",
            data="random,classes=4,samples=24",
            engine=engine,
            exit_entropy=0.7,
            progress=snnq.silent,
        ).exits
        for engine in ("integer", "torch")
    )
    assert mine is not None
    assert torch is not None
    assert (mine.answers, mine.exited) == ((2, 4), torch.exited)
    write_lively(tmp_path / "short", ["uniform-4"], one, **sizes)
    with pytest.raises(UsageError, match="it answers once, after 2 time steps"):
        snnq.eval(tmp_path / "short", data="random,classes=4,samples=24", exit_entropy=0.7, progress=snnq.silent)


def test_a_float_model() -> None:
    found = snnq.eval("digits", data="digits,limit=24", exit_entropy=0.3, exit_samples=2, progress=snnq.silent)
    assert found.exits is not None
    assert found.arithmetic == "float"
    assert len(found.exits.fixed) == 4


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--exit-entropy", "aut"], "--exit-entropy aut: a number from 0 to 1, or auto (did you mean 'auto'"),
        (["--exit-entropy", "1.5"], "normalised, from 0 (sure) to 1"),
        (["--exit-entropy", "nan"], "normalised, from 0 (sure) to 1"),
        (["--exit-entropy", "auto", "--exit-loss", "-1"], "--exit-loss -1.0: points of accuracy"),
        (["--exit-entropy", "auto", "--exit-loss", "nan"], "--exit-loss nan"),
        (["--exit-entropy", "0.1", "--input", "a.npz"], "--input and --exit-entropy"),
    ],
)
def test_refusals(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["eval", "nowhere", *words]) == 2
    assert said in capsys.readouterr().err


def test_the_command_says_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["eval", str(folder), "--data", DATA, "--exit-entropy", "auto", "--exit-samples", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["exits"]["accuracy"] == found["accuracy"]
    assert found["exits"]["exit_costs"]["latency_ms"] is None
    words = ["eval", str(folder), "--data", DATA, "--exit-entropy", "0.6", "--engine", "integer", "--exit-samples", "1"]
    assert run(words) == 0
    said = capsys.readouterr()
    assert "when sure" in said.out
    assert "The threshold was given." in said.err


def test_tables_and_figure(folder: Path) -> None:
    found = exits_of(folder, "auto", split="validation", exit_samples=0)
    assert any("These are the samples that it was chosen on" in line for line in notes(found))
    for one in tables(found):
        assert all(len(row) == len(one.columns) for row in one.rows)
    assert figure(found)[1].count("<circle") == len(found.curve)
    assert f"{found.accuracy:.2%}" in notes(found)[0]
    assert "given" in notes(replace(found, choice=None))[1]


def test_batches_change_nothing(folder: Path, middle: float) -> None:
    first, second = (exits_of(folder, middle, engine="integer", exit_samples=0, batch_size=size) for size in (1, 9))
    assert first == second


def test_images_that_are_normalised_otherwise_than_the_folders(tmp_path: Path) -> None:
    write_images(tmp_path / "set", 4, {"train": 3, "test": 3}, side=32)
    pixels = input_of(Pixels(MEANS["imagenet"], DEVIATIONS["imagenet"], "RGB"))
    one, sizes = small("spikformer-cifar10")
    sizes |= {"in_channels": 3, "steps": 3}
    write_lively(tmp_path / "packed", ["uniform-4"], one, pixels=pixels, **sizes)
    for spec, words in (("std=none", {"exit_samples": 3}), ("std=imagenet", {"exit_samples": 0})):
        how: dict[str, Any] = {"data": f"images:{tmp_path / 'set'},{spec}", "exit_entropy": 0.99, **words}
        whole, exact = (snnq.eval(tmp_path / "packed", engine=engine, **how) for engine in ("torch", "integer"))
        assert (whole.loss, whole.exits and whole.exits.exited) == (exact.loss, exact.exits and exact.exits.exited)
