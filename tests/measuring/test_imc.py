"""Packed models on chips: bit for bit without noise, counted as they are mapped, the same chips from the same seed."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from lively import write_lively
from rounded_digits import write_digits
from sifted import slow_but
from tiny_checkpoints import TINY, save_tiny

import snnq
from snnq.assessing.imc import imc_map, imc_report, on_arrays
from snnq.assessing.imc_eval import imc_eval
from snnq.assessing.imc_running import check_digital, on_chips
from snnq.base.errors import BudgetError, RunChangedError, UsageError, VerificationError
from snnq.cli.main import run
from snnq.hardware.crossbars.analog import Cells
from snnq.hardware.crossbars.chosen import Arrays
from snnq.hardware.crossbars.settings import ImcSettings
from snnq.packed.loading import load_packed
from snnq.reporting.array_tables import array_document

FEW: dict[str, Any] = {"samples": 3, "batch_size": 3}


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("imc") / "packed"
    write_digits(folder, ["uniform-4"])
    return folder


DIGITAL = [
    ("cifar10dvs", ["uniform-4", "power-of-two-2", "ternary", "uniform-2", "float32"]),
    ("sdt-static", ["uniform-4@0.95", "ternary"]),
    ("qkformer-dvs", ["uniform-4"]),
    ("cifar10", ["binary", "power-of-two-4", "uniform-3", "uniform-8"]),
    ("imagenet", ["uniform-5", "uniform-6", "uniform-7", "power-of-two-3"]),
    ("spikingjelly", ["power-of-two-5", "power-of-two-6", "power-of-two-7", "power-of-two-8"]),
    ("spikingformer-cifar10", ["uniform-2"]),
]


@pytest.mark.parametrize(("layout", "schemes"), slow_but(DIGITAL[:3], DIGITAL))
def test_without_noise_arrays_are_the_digital_model_bit_for_bit(tmp_path, layout, schemes):
    """All number formats and orders of attention; converters of enough bits, cells that conduct at 0, small arrays."""
    frames = torch.from_numpy(np.minimum(write_lively(tmp_path / "p", schemes, layout), 255)).float()
    model = load_packed(tmp_path / "p")
    found = on_arrays(tmp_path / "p", Arrays(xbar=32, cell_bits=3))
    one = on_chips(model, found, ImcSettings(on_off=7.0), 16)
    check_digital(one, frames)
    due = model(frames)
    with one.on(one.chip(0)) as put:
        assert one.chip(0).cells == Cells(7.0)
        assert torch.equal(model(frames), due)
        assert not any(part.tally.clipped for part in put.parts.values())
    assert torch.equal(model(frames), due)  # its own forwards are back
    assert np.ptp(due.numpy()) > 0


def test_chunked_attention_on_arrays_is_the_digital_one(tmp_path):
    frames = torch.from_numpy(np.minimum(write_lively(tmp_path / "p", ["uniform-2"], chunk=3), 255)).float()
    found = on_arrays(tmp_path / "p", Arrays(dynamic="sram"))
    one = on_chips(load_packed(tmp_path / "p"), found, ImcSettings(), None)
    assert [operand.bits > 1 for group in one.operands.values() for operand in group] == [True, True]
    check_digital(one, frames)


@pytest.mark.parametrize("side", [None, 4])  # of the small ones, what attention makes has several side by side
def test_what_is_converted_is_what_the_map_counts(digits, side):
    found = on_arrays(digits, Arrays(xbar=side))
    one = on_chips(load_packed(digits), found, ImcSettings(), 16)
    frames = torch.randint(0, 3, (2, 4, 2, 16, 16)).float()
    with one.on(one.chip(0)) as put:
        one.model(frames)
    due = {part.operand.name: 2 * part.counts.conversions for part in found.mapped().operands}
    assert {name: part.tally.conversions for name, part in put.parts.items()} == due


def test_a_chip_that_differs_is_found(digits, monkeypatch):
    found = on_arrays(digits, Arrays())
    one = on_chips(load_packed(digits), found, ImcSettings(), None)
    name, (operand, whole, signed) = next(iter(one.layers.items()))
    wrong = replace(whole, values=np.roll(whole.values, 1, axis=1))
    one.layers = {**one.layers, name: (operand, wrong, signed)}
    with pytest.raises(VerificationError, match="arrays without noise"):
        check_digital(one, torch.randint(0, 3, (2, 4, 2, 16, 16)).float())


def test_the_same_seed_gives_the_same_chips_and_a_run_goes_on(digits, tmp_path):
    settings = ImcSettings(write_noise=0.3, read_noise=0.05, chips=3)
    whole = imc_eval(digits, settings=settings, **FEW)
    out = tmp_path / "e.json"
    imc_eval(digits, settings=replace(settings, chips=1), out=out, **FEW)
    went_on = imc_eval(digits, settings=settings, out=out, **FEW)
    assert went_on == whole
    assert [one["score"]["chip"] for one in json.loads(out.read_text())["runs"]] == [0, 1, 2]
    assert len({one.loss for one in whole.chips}) == 3
    assert whole.sd is not None
    with pytest.raises(RunChangedError):
        imc_eval(digits, settings=replace(settings, seed=1), out=out, **FEW)
    (tmp_path / "e.json").write_text("{}")
    with pytest.raises(UsageError, match="not a file of snnq imc eval"):
        imc_eval(digits, settings=settings, out=out, **FEW)


def test_few_bits_of_converters_are_said_to_clip(digits):
    found = imc_eval(digits, Arrays(adc_bits=2), ImcSettings(chips=1), **FEW)
    assert max(one.clipped for one in found.operands) > 0.01
    assert found.worst in {one.name for one in found.operands}
    assert found.alone is not None
    most = imc_eval(digits, Arrays(adc_bits=2), ImcSettings(chips=1, adc_range="max"), **FEW)
    assert not any(one.clipped for one in most.operands)
    assert max(one.step for one in most.operands) > 1


def test_norms_estimated_anew_undo_what_drift_does(digits):
    """A drift that shrinks every sum alike is undone, but for rounding; without it the accuracy is lost."""
    settings = ImcSettings(drift=(0.1, 1e5, 0.0), chips=1, calibration_samples=8)
    words: dict[str, Any] = {"samples": 20, "batch_size": 20}
    lost = imc_eval(digits, Arrays(adc_bits=24), settings, **words)
    kept = imc_eval(digits, Arrays(adc_bits=24), replace(settings, mitigate="bn-stats"), **words)
    assert lost.mean < 0.5 < kept.digital_accuracy - 0.3
    assert kept.mean >= kept.digital_accuracy - 0.2


@pytest.mark.slow
def test_norms_finetuned_on_a_chip_learn(digits):
    """From norms estimated anew, the loss on a chip falls further."""
    settings = ImcSettings(write_noise=0.5, chips=1, calibration_samples=48, mitigate="bn-stats")
    words: dict[str, Any] = {"samples": 60, "batch_size": 20}
    kept = imc_eval(digits, settings=settings, **words)
    learned = imc_eval(digits, settings=replace(settings, mitigate="bn-finetune"), **words)
    assert learned.arithmetic == "float"
    assert learned.chips[0].loss < kept.chips[0].loss


def test_clipping_is_refused_where_attention_writes_spikes(digits, capsys):
    for mitigate in ("clip", "percentile"):
        assert run(["imc", "eval", str(digits), "--mitigate", mitigate]) == 2
        assert "holds spikes" in capsys.readouterr().err
    assert run(["imc", "eval", str(digits), "--mitigate", "vat"]) == 2
    assert "was not trained with noise" in capsys.readouterr().err


@pytest.mark.parametrize("layout", ["imagenet", "qkformer-dvs"])  # one has attentions without matrices, too
def test_clipping_chooses_on_calibration_samples(tmp_path, layout):
    write_lively(tmp_path / "p", ["uniform-2"], layout, in_channels=2)
    words: dict[str, Any] = {"data": "random,classes=5,samples=48", "samples": 4}
    few = ImcSettings(mitigate="clip", chips=1, calibration_samples=8)
    quiet = imc_eval(tmp_path / "p", settings=few, **words)
    counts = [one for one in quiet.operands if one.alpha is not None]
    assert {(one.alpha, one.beta) for one in counts} == {(0.0, 1.0)}  # without noise nothing is clipped
    given = imc_eval(tmp_path / "p", settings=replace(few, write_noise=2.0, alpha=2.0, beta=0.25), **words)
    assert all(one.slices < one.slices_before for one in given.operands if one.alpha is not None)
    # Its control looks at the values alone, and leaves all but a thousandth of them as they are.
    control = imc_eval(tmp_path / "p", settings=replace(few, mitigate="percentile"), **words)
    assert all(0 < one.beta <= 1 for one in control.operands if one.beta is not None)
    assert {one.name for one in control.operands if one.beta is not None} == {one.name for one in counts}
    assert all(one.snr_db is None or one.snr_db > 20 for one in control.operands if one.beta is not None)


def test_counts_that_the_target_cannot_read_are_refused(digits, tmp_path, capsys):
    assert run(["imc", "map", str(digits), "--toml"]) == 0
    mine = tmp_path / "mine.toml"
    mine.write_text(capsys.readouterr().out.replace("count_bits = 8", "count_bits = 1"))
    with pytest.raises(UsageError, match="reads counts of 1 at most"):
        imc_eval(digits, Arrays(target=mine), ImcSettings(chips=1), **FEW)
    with pytest.raises(UsageError, match="no packed folder"):
        imc_eval("digits")


def test_maps_and_reports_of_all_that_has_a_model(digits):
    packed, floats = imc_map(digits), imc_map("digits")
    assert packed.kind == "packed"
    assert floats.kind == "float"
    assert len(floats.mapped.float_layers) == 17
    assert packed.mapped.total_pj < floats.mapped.total_pj
    assert {one.name for one in packed.mapped.unmapped} == {"head"}
    found = imc_report(digits, Arrays(target="trex-32nm", dynamic="sram"), membrane_bits=8)
    assert found.over_steps["energy_pj"].r2 == pytest.approx(1)
    assert found.over_steps["latency_ns"].slope == pytest.approx(found.mapped.latency_ns / 4)
    shown = array_document(found)
    assert "Against time steps" in [one.title for one in shown.tables]
    alone = array_document(replace(found, over_steps={}))
    assert [one.title for one in alone.tables] == [one.title for one in shown.tables[:-2]]
    assert alone.notes[-1] == "The model runs for its 4 steps alone: nothing is known of others."
    assert found.membrane_shares[32] > found.membrane_shares[16] > found.membrane_shares[8]
    whole = sum(found.mapped.energy_pj.values())
    assert found.mapped.to_dict()["totals"]["energy_pj"] == pytest.approx(whole)


def test_a_budget_on_arrays_is_kept_and_read_again(tmp_path, monkeypatch):
    """What a plan says of arrays is what the map of that plan counts."""
    monkeypatch.chdir(tmp_path)
    save_tiny(tmp_path)
    words: dict[str, Any] = {"method": "sensitivity", "data": "random,classes=3,samples=8", "batch_size": 8}
    plan = snnq.search(TINY, budget={"imc_energy": "99%"}, progress=snnq.silent, **words)
    totals = plan.to_dict()["totals"]
    assert totals["imc_energy_fraction"] <= 0.99
    assert snnq.Plan.read("plan.json") == plan
    found = imc_map("plan.json").mapped
    assert found.total_pj == pytest.approx(totals["imc_energy_pj"])
    assert found.total_um2 == pytest.approx(totals["imc_area_um2"])
    with pytest.raises(BudgetError, match="the smallest possible is imc-energy="):
        snnq.search(TINY, budget={"imc_energy": "1%"}, out="none.json", progress=snnq.silent, **words)
