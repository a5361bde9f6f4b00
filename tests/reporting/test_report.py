import hashlib
import json
import math
import re
import shutil
from dataclasses import fields, replace

import numpy as np
import pytest
from exits_sample import EXITS
from report_editing import edit, without_hashes

from snnq.assessing.imc import imc_report
from snnq.base.errors import CostTableError, PackedError, VerificationError
from snnq.packed.readers import CODED_READER
from snnq.plan import Plan
from snnq.reporting.array_summary import summary_of
from snnq.reporting.glossary import every_key
from snnq.reporting.page import html_page
from snnq.reporting.records import AdapterRow, BlockRow, Paired, Report
from snnq.reporting.run import report

KNOWN: dict[str, float | None] = {
    "final_average_accuracy": 0.5,
    "average_incremental_accuracy": 0.5,
    "forgetting": 0.25,
    "forgetting_by_step": None,
}
MACS = {"backbone": 1.0, "adapted_head": 1.0, "prompts": 0.0, "frozen_pass": 0.0, "all_macs": 2.0, "of_one_pass": 1.0}
ADAPTER = AdapterRow("a.safetensors", "os", 3000, 0.04, ("A", "B"), (1, 1), "letters", KNOWN, KNOWN, MACS, False)


def test_numbers_counted_by_hand(found):
    # Convolutions 2·2·9 + 4·2·9 + 8·4·9 + 16·8·9 + 16·16·9 = 3852, attention 4 · 256, MLP 2 · 1024, head 160.
    assert found.totals.weights == 7084
    # 2 bits everywhere, 2 more for first convolution (36), v (256) and head (160), 30 more for proj (256).
    assert found.totals.storage_bits == 2 * 7084 + 2 * (36 + 256 + 160) + 30 * 256 == 22752
    assert found.totals.avg_bits == pytest.approx(22752 / 7084, rel=1e-12)
    # q: 16 tokens · 256 weights · (int8 multiply 0.2 + int32 add 0.1) pJ + 512 bits · 640/32 pJ.
    q = next(row for row in found.layers if row.name == "block.0.attn.q")
    assert q.energy_pj == pytest.approx(4096 * 0.3 + 512 * 20, rel=1e-12)
    assert q.energy_pj == pytest.approx(11468.8, rel=1e-12)
    # In float: 16 · 256 · (3.7 + 0.9) pJ + 8192 bits · 20 pJ.
    part = next(row for row in found.attention if row.name == "q")
    assert part.energy_pj_float == pytest.approx(182681.6, rel=1e-12)
    # q, k, v, proj take 2, 2, 4 and 32 bits: 5, 5, 10 and 80 per cent of the attention's storage.
    assert [row.storage_share for row in found.attention] == pytest.approx([0.05, 0.05, 0.1, 0.8])
    assert [row.avg_bits for row in found.attention] == [2, 2, 4, 32]


def test_agrees_with_the_plan(found, ready):
    plan = Plan.read(ready / "plan.json")
    for row in found.groups:
        theirs = plan.groups[row.name]
        for name in ("weights", "storage_bits", "storage_share", "energy_pj", "energy_share", "avg_bits"):
            assert getattr(row, name) == pytest.approx(getattr(theirs, name), rel=1e-12)
        assert row.storage_share_float == pytest.approx(theirs.storage_share_float, rel=1e-12)
        assert row.energy_share_float == pytest.approx(theirs.energy_share_float, rel=1e-12)
    assert [row.plan for row in found.plans] == ["this plan", *(b.scheme for b in plan.baselines)]
    for row, theirs in zip(found.plans[1:], plan.baselines, strict=True):
        assert row.energy_fraction == pytest.approx(theirs.energy_fraction, rel=1e-12)
        assert row.storage_fraction == pytest.approx(theirs.storage_fraction, rel=1e-12)
        assert row.validation_accuracy == theirs.validation_accuracy
    assert found.plans[0].validation_accuracy == 0.4


def test_parts_add_up(found):
    for parts, whole in ((found.groups, found.totals), (found.layers, found.totals)):
        assert sum(part.storage_bits for part in parts) == whole.storage_bits
        assert math.isclose(sum(part.energy_pj for part in parts), whole.energy_pj, rel_tol=1e-12)
        assert math.isclose(sum(part.storage_share for part in parts), 1, rel_tol=1e-12)
        assert math.isclose(sum(part.energy_share for part in parts), 1, rel_tol=1e-12)
    assert math.isclose(sum(part.storage_share for part in found.attention), 1, rel_tol=1e-12)


def test_the_file_is_accounted_for(found, ready):
    size = (ready / "model.safetensors").stat().st_size
    assert found.disk.file_bytes == size
    assert found.disk.plan_bits == found.totals.storage_bits
    assert found.disk.overhead_bits == sum(part.bits for part in found.disk.overhead)
    assert found.disk.ratio == 8 * size / (found.disk.weights_bits + found.disk.overhead_bits) == 1
    kinds = {part.kind for part in found.disk.overhead}
    assert kinds >= {"tables", "scales", "zero points", "batchnorm", "biases", "states", "header"}


def test_json_keys_are_stable(found):
    data = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert list(data) == [field.name for field in fields(Report)]
    assert data["schema_version"] == 1
    assert set(data["layers"][0]) == {
        "name", "group", "kind", "shape", "input", "weights", "scheme", "bits", "storage_bits", "storage_share",
        "energy_pj", "energy_pj_float", "energy_share", "probabilities", "edited",
    }  # fmt: skip
    assert data["totals"]["storage_bits"] == 22752
    assert data["accuracy"][1]["test_loss"] is None


def test_verdict_and_notes_tell_the_whole_truth(found):
    assert found.verdict == (
        "96.67 % test accuracy (float: 97.22 %) at 3.21 bits per weight by the plan "
        f"({found.totals.file_avg_bits:.2f} in the file, with scales, norms and header), with 10.04 % of float32's "
        "weight storage and 9.95 % of its energy by the paper's model (uniform-4: 12.50 and "
        "11.77 %, uniform-2: 6.25 and 6.28 %)."
    )
    notes = " ".join(found.notes)
    for words in ("not finetuned further", "simulated", "before finetuning", "chosen on the validation split"):
        assert words in notes
    assert "per time step and sample" in found.energy_model
    assert "horowitz-45nm" in found.energy_model


def keys_of(value):
    if isinstance(value, dict):
        for key, one in value.items():
            yield key
            yield from keys_of(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from keys_of(one)


def test_every_key_is_explained(measured, simulated, ready):
    pair = Paired("float, test", 360, 1, 2, -0.1, -0.2, 0.1, 1.0, 0.1, 0.0, 0.2)
    data = replace(
        measured,
        blocks=(BlockRow("block.0", 4, 0.5, 0.25, 0.1),),
        paired=(pair,),
        simulation=simulated,
        arrays=summary_of(imc_report(ready)),
        exits=EXITS,
        adapter=ADAPTER,
    ).to_dict()
    data.pop("provenance")  # its keys are words
    for row in (*data["layers"], *data["search"]["epochs"]):
        row["probabilities"] = None  # and here schemes or layers
    missing, extra = set(keys_of(data)) - set(every_key()), set(every_key()) - set(keys_of(data)) - {"provenance"}
    # Of plans that were priced by activity, on arrays, or of hybrid networks.
    extra -= {key for key in extra if "event_energy" in key or key.startswith(("imc_", "ann_", "snn_", "fusion_"))}
    assert not missing | extra, (missing, extra)
    assert all(meaning for _, meaning in every_key().values())
    assert {"pJ", "bits", "nats", "0 … 1", "bytes", "weights"} <= {unit for unit, _ in every_key().values()}


def test_formulas_have_the_tables_constants(found, packed):
    # 3.7 + 0.9, 0.2 + 0.1 and 0.024 + 0.1 pJ an operation; 640 pJ for 32 bits.
    text = " ".join(found.formulas)
    for words in ("= 4.6 pJ", "= 0.3 pJ", "= 0.124 pJ", "dram_word / 32 = 20 pJ"):
        assert words in text
    assert "/ 32 = 40.625 pJ" in " ".join(report(packed, cost_table="paper-fit").formulas)


def test_levels_and_zeros_recomputed_from_the_weights(found, ready, monkeypatch):
    """Three numbers of the page, by numpy from the packed words: storage, zeros and the fullest level."""
    monkeypatch.chdir(ready.parent)
    space: dict = {}
    exec(compile(CODED_READER, "reader", "exec"), space)
    page = html_page(found)
    stored = 0
    for row in found.layers:
        weight = space["weights"][row.name]
        stored += weight.size * row.bits
        zeros = 100 * float((weight == 0).mean())
        record = next(one for one in found.histograms if one.layer == row.name)
        assert f"exact zeros {100 * record.zeros_before:.2f} % → {zeros:.2f} %" in page
        if row.scheme == "float32":
            assert row.name not in {one.layer for one in found.levels}
            continue
        mine = next(one for one in found.levels if one.layer == row.name)
        matrix = weight.reshape(len(weight), -1)
        # Levels of a channel are told apart by their order, which is that of the record where all of them occur.
        full = [channel for channel in matrix if len(np.unique(channel)) == len(mine.levels)]
        if mine.scheme == "uniform-2" and len(full) == len(matrix):
            ranks = np.stack([np.unique(channel, return_inverse=True)[1] for channel in matrix])
            shares = np.bincount(ranks.ravel(), minlength=4) / matrix.size
            assert [level.share for level in mine.levels] == pytest.approx(shares)
            values = np.median(np.stack([np.unique(channel) for channel in matrix]), axis=0)
            assert [level.value for level in mine.levels] == pytest.approx(values)
        zero_share = sum(level.share for level in mine.levels if level.low == level.high == 0)
        if mine.scheme.startswith("power"):
            assert zero_share == pytest.approx((weight == 0).mean())
        assert sum(level.share for level in mine.levels) == pytest.approx(1)
    assert stored == found.totals.storage_bits
    assert f"{stored / 8192:,.2f} KiB" in page


def test_the_machine_is_named(found, packed):
    assert "numpy" in found.provenance["report on"]
    assert found.provenance["packed on"] == "not recorded"
    facts = {"system": "Linux x", "processor": "abacus", "cores": "2", "torch": "9.9"}
    theirs = report(edit(packed, lambda data: data.update(machine=facts)))
    assert theirs.provenance["packed on"] == "Linux x, abacus; cores 2, torch 9.9"


def test_provenance_and_commands(found, ready):
    facts = found.provenance
    assert facts["checkpoint sha"] == "c" * 64
    assert facts["data sha"] == "d" * 64
    assert facts["search"] == "e" * 64
    assert len(facts["model sha"]) == len(facts["plan sha"]) == len(facts["cost table sha"]) == 64
    assert f"snnq verify {ready}" in found.commands
    search = next(line for line in found.commands if line.startswith("snnq search"))
    assert "--trade-off 0.5 --space uniform-2,uniform-4,power-of-two-4,float32 --epochs 3 --seed 3" in search
    tuned = next(line for line in found.commands if line.startswith("snnq finalize"))
    assert "--epochs 2 --batch-size 32 --distillation 0.25 --seed 5" in tuned


def test_another_cost_table_is_used_and_named(packed):
    theirs = report(packed, cost_table="paper-fit")
    assert theirs.provenance["cost table"] == "paper-fit"
    assert "a fit" in theirs.energy_model
    assert any("made with cost table horowitz-45nm" in note for note in theirs.notes)
    # 16 · 256 · 0.9 pJ + 8192 bits · 1300/32 pJ.
    proj = next(row for row in theirs.layers if row.name == "block.0.attn.proj")
    assert proj.energy_pj == pytest.approx(4096 * 0.9 + 8192 * 1300 / 32, rel=1e-12)
    with pytest.raises(CostTableError, match="paper-fit"):
        report(packed, cost_table="paper-fitt")


def test_search_history_and_histograms(found, ready):
    recorded = json.loads((ready / "report.json").read_text())
    assert [one.epoch for one in found.search.epochs] == [1, 2, 3]
    for ours, theirs in zip(found.search.epochs, recorded["search"], strict=True):
        assert {name: list(row) for name, row in ours.probabilities.items()} == theirs["probabilities"]
    for one in found.histograms:
        theirs = recorded["weights"][one.layer]
        assert list(one.before) == theirs["before"]
        assert list(one.after) == theirs["after"]
    assert [one.layer for one in found.histograms] == [row.name for row in found.layers]


def test_without_a_search_history_a_sentence_stands_there(packed):
    edit(packed, lambda data: data.update(search=None))
    theirs = report(packed)
    assert theirs.search.epochs == ()
    assert "history by epoch is not in this folder" in theirs.search.sentence


def test_a_plan_changed_after_the_search_says_so(packed):
    path = packed / "plan.json"
    changed = Plan.read(path).to_dict()
    entry = next(one for one in changed["layers"] if one["name"] == "block.0.attn.q")
    entry["searched"] = "uniform-4"
    path.write_text(json.dumps(changed))
    with pytest.raises(VerificationError, match=r"plan\.json"):
        report(packed)
    without_hashes(packed)
    config = json.loads((packed / "config.json").read_text())
    config["sha256"]["plan.json"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (packed / "config.json").write_text(json.dumps(config))
    theirs = report(packed)
    assert [row.name for row in theirs.layers if row.edited] == ["block.0.attn.q"]
    assert any("1 of 12 layers" in note and "block.0.attn.q" in note for note in theirs.notes)


def test_a_missing_folder_is_one_sentence(tmp_path):
    with pytest.raises(PackedError, match="no such packed folder") as caught:
        report(tmp_path / "nowhere")
    assert "snnq finalize" in caught.value.hint
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("name", ["report.json", "plan.json", "config.json", "model.safetensors"])
def test_a_missing_file_is_named(packed, name):
    (packed / name).unlink()
    with pytest.raises(PackedError, match=re.escape(name)):
        report(packed)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (lambda data: data.pop("accuracy"), "accuracy: this key is missing"),
        (lambda data: data["accuracy"]["plan"].update(test="high"), "accuracy.plan.test"),
        (lambda data: data["accuracy"]["float"].update(test=1.5), "accuracy.float.test"),
        (lambda data: data["finalize"].pop("history"), "finalize.history"),
        (lambda data: data["weights"].pop("head"), "weights: layer 'head' is missing"),
        (lambda data: data["weights"].update(tail=data["weights"]["head"]), "layer 'tail' is not in the plan"),
        (lambda data: data["weights"]["head"].update(before=[1, 2]), "same bins"),
        (lambda data: data["search"][1]["probabilities"].pop("head"), "probabilities: layer 'head' is missing"),
        (lambda data: data["search"][0]["probabilities"].update(head=[1.0]), "1 probabilities for 4 candidates"),
        (lambda data: data["search"][1]["space"].reverse(), "different candidates"),
    ],
)
def test_a_damaged_record_is_one_sentence_naming_the_key(packed, change, key):
    edit(packed, change)
    with pytest.raises(PackedError, match=re.escape(key)):
        report(packed)


def test_text_that_is_no_json_is_refused(packed):
    (packed / "report.json").write_text('{"tool": ')
    with pytest.raises(PackedError, match=r"report\.json"):
        report(packed)


def test_a_changed_weight_is_never_reported_on(packed):
    path = packed / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-40] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises((VerificationError, PackedError)):
        report(packed)


def test_nothing_is_written(ready, tmp_path):
    copy = shutil.copytree(ready, tmp_path / "copy")
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    report(copy)
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == before


def test_analog_arrays_stand_in_report_and_page(measured, ready):
    """Components add up to the whole, and what is said of arrays is on the page where they were asked for."""
    found = replace(measured, arrays=summary_of(imc_report(ready)))
    arrays = found.to_dict()["arrays"]
    for key in ("imc_energy_pj", "imc_area_um2"):
        assert sum(one[key] or 0 for one in arrays["components"]) == pytest.approx(arrays[key])
    assert sum(one["imc_latency_ns"] for one in arrays["operands"]) == pytest.approx(arrays["imc_latency_ns"])
    page = html_page(found)
    for words in ("On analog arrays", arrays["sentence"], "share of the area", "conversions"):
        assert words in page
    assert "On analog arrays" not in html_page(measured)
