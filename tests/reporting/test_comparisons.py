"""Better and worse are said only where a paired test over the samples allows it; bits of plan and file side by side."""

from __future__ import annotations

import json
import math
import shutil
from typing import Any

import numpy as np
import pytest
from report_editing import edit

from snnq.base.paired import PerSample
from snnq.cli.main import run
from snnq.cost.activity import NeuronActivity, rate_distance
from snnq.packed.sizes import folder_bits
from snnq.plan import Plan
from snnq.reporting.compare import compare
from snnq.reporting.comparing import comparison_document, difference_document
from snnq.reporting.formats import csv_text
from snnq.reporting.page import html_page
from snnq.reporting.run import report

TEST, VALIDATION = 360, 269


def answers(wrong, count=TEST):
    """Return what was kept of samples of which these are wrong."""
    right = ~np.isin(np.arange(count), list(wrong))
    return PerSample.of(right, np.where(right, 0.1, 2.0)).model_dump(mode="json")


def scored(folder, place, plan, floats):
    """Copy the folder with these wrong test samples of plan and float."""
    shutil.copytree(folder, place)

    def change(data):
        for name, wrong in (("plan", plan), ("float", floats)):
            data["accuracy"][name] |= {"test": 1 - len(wrong) / TEST, "test_each": answers(wrong)}
            data["accuracy"][name] |= {"validation": 1.0, "validation_each": answers((), VALIDATION)}

    return edit(place, change)


def test_one_sample_of_360_is_no_difference(ready, tmp_path):
    a = scored(ready, tmp_path / "a", range(12), range(10))
    b = scored(ready, tmp_path / "b", range(11), range(10))
    said = compare([a, b]).verdict
    assert "best on the test split" not in said
    assert said.endswith(
        "no difference in accuracy that 360 test samples can show between B and A "
        "(B 96.94 %; B minus A +0.28 points, 95 % interval -0.78 to +1.56)."
    )
    found = report(a)
    assert found.tested == (
        "No difference in accuracy that 360 test samples can show between this plan and float: -0.56 points, 95 % "
        "interval -2.00 to +0.51; 0 of 360 samples right only here, 2 only there, McNemar's exact p = 0.5."
    )
    assert [row.name for row in found.paired] == ["float, validation", "float, test"]
    assert found.paired[0].accuracy == 0
    row = found.paired[1]
    assert (row.only_this, row.only_other, row.accuracy_p) == (0, 2, pytest.approx(0.5))
    assert row.loss == pytest.approx(2 * 1.9 / TEST)
    assert "95 % interval -2.00 to +0.51" in html_page(found)
    assert "accuracy_p" in csv_text(found.to_dict())


def test_forty_samples_are_a_difference(ready, tmp_path):
    a = scored(ready, tmp_path / "a", range(40), range(4))
    b = scored(ready, tmp_path / "b", range(2), range(4))
    c = scored(ready, tmp_path / "c", range(3), range(4))
    assert compare([a, b]).verdict.endswith("B is best on the test split (99.44 % of 360 samples).")
    said = compare([a, b, c]).verdict
    assert "between B and C (B 99.44 %" in said
    assert report(a).tested.startswith("This plan is less accurate on the test split than float: -10.00 points")


def test_folders_without_samples_are_told_apart_only_by_intervals(ready, tmp_path):
    found = report(ready)
    assert found.tested == (
        "Test accuracy on 360 samples, 95 % intervals (Wilson): this plan 96.67 % (94.27 to 98.09), float 97.22 % "
        "(94.96 to 98.48). Results by sample were not kept, so that no paired test can be made."
    )
    assert found.paired == ()
    near, far = (
        edit(
            shutil.copytree(ready, tmp_path / name), lambda data, test=test: data["accuracy"]["plan"].update(test=test)
        )
        for name, test in (("near", 0.95), ("far", 0.8))
    )
    assert "A minus B +1.67 points, not paired" in compare([ready, near]).verdict
    assert compare([ready, far]).verdict.endswith("A is best on the test split (96.67 % of 360 samples).")


def test_both_bits_per_weight_wherever_the_first_stands(packed, capsys):
    plan_bits, file_bits = folder_bits(packed)
    totals = Plan.read(packed / "plan.json").totals
    assert plan_bits == totals.avg_bits
    assert file_bits == 8 * (packed / "model.safetensors").stat().st_size / totals.weights
    found, both = report(packed), (f"{plan_bits:.3f}", f"{file_bits:.3f}")
    assert f"{plan_bits:.2f} bits per weight by the plan ({file_bits:.2f} in the file" in found.verdict
    assert found.totals.file_avg_bits == file_bits
    page = html_page(found)
    assert f"{file_bits:.3f} in the file" in page
    for words in (["report", str(packed)], ["verify", str(packed)], ["report", str(packed), str(packed / "plan.json")]):
        assert run(words) == 0
        shown = "".join(capsys.readouterr())
        assert all(number in shown for number in both), words
    assert run(["verify", str(packed), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["avg_bits"], said["file_avg_bits"]) == (plan_bits, file_bits)
    for document in (comparison_document, difference_document):
        one = document(compare([packed, packed]))
        candidates: Any = one.data["candidates"]
        assert candidates["A"]["file_avg_bits"] == file_bits
        assert any(both[1] in row for table in one.tables for row in table.rows)
    card = (packed / "README.md").read_text()
    assert f"{plan_bits:.2f} bits a weight by the plan, {file_bits:.2f} in the file" in card
    assert all(f"{bits:.3f}" in card for bits in (plan_bits, file_bits))


def test_float32_with_the_searchs_weights_is_named_where_the_table_stands(ready, tmp_path, capsys):
    place = shutil.copytree(ready, tmp_path / "packed")
    plan = Plan.read(place / "plan.json")
    assert "float32: the checkpoint as given; the quantised ones: the weights the search ended with" in page_of(ready)
    data = json.loads((place / "plan.json").read_text())
    data["baselines"].append(
        {"scheme": "float32, searched", "schemes": dict.fromkeys(plan.schemes(), "float32"), "validation_loss": 0.02}
        | {"validation_accuracy": 0.99}
    )
    (tmp_path / "plan.json").write_text(json.dumps(data))
    for words in (["plan", "show", str(tmp_path / "plan.json")],):
        assert run(words) == 0
        shown = " ".join(capsys.readouterr().out.split())
        assert "float32: the checkpoint as given; all others: the weights the search ended with" in shown
        assert "float32, searched 32.000 100.00 100.00 99.00 0.0200" in shown


def page_of(folder):
    return html_page(report(folder))


def test_a_plan_edited_by_hand_is_not_measured_in_show_and_diff(ready, tmp_path, capsys):
    plan = Plan.read(ready / "plan.json")
    plan.write(tmp_path / "plan.json")
    plan.with_schemes({"head": "uniform-8"}).write(tmp_path / "edited.json")
    assert run(["plan", "show", str(tmp_path / "plan.json")]) == 0
    shown = capsys.readouterr()
    assert "40.00" in next(line for line in shown.out.splitlines() if "this plan" in line)
    assert "not measured" not in shown.err
    assert run(["plan", "show", str(tmp_path / "edited.json")]) == 0
    shown = capsys.readouterr()
    assert any("this plan" in line and "not measured" in line for line in shown.out.splitlines())
    assert "so this plan is not measured: head" in shown.err
    assert run(["plan", "diff", str(tmp_path / "plan.json"), str(tmp_path / "edited.json")]) == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if "searched accuracy" in line)
    assert row.split()[3:] == ["40.00", "not", "measured", "-"]


def neurons(fired, updates=8):
    each, counts = np.unique(fired, return_counts=True)
    return NeuronActivity(
        name="lif", neurons=len(fired), spikes=(1.0,), updates_each=updates,
        fired=tuple(each.tolist()), neurons_fired=tuple(counts.tolist()),
    )  # fmt: skip


def test_the_distance_is_the_earth_movers_over_the_neurons():
    a, b = neurons([0, 0, 4, 8]), neurons([0, 2, 4, 8])
    assert rate_distance(a, b) == pytest.approx((2 / 8) / 4)
    assert rate_distance(a, a) == 0
    assert (a.dead, a.saturated, b.dead) == (2, 1, 1)
    draw = np.random.default_rng(0)
    ours, theirs = draw.integers(0, 65, 500), draw.integers(0, 129, 300)
    from scipy.stats import wasserstein_distance

    found = rate_distance(neurons(ours, 64), neurons(theirs, 128))
    assert found == pytest.approx(wasserstein_distance(ours / 64, theirs / 128))
    unknown = NeuronActivity(name="lif", neurons=4, spikes=(1.0,))
    assert rate_distance(a, unknown) is None
    assert (unknown.dead, unknown.saturated) == (None, None)
    with pytest.raises(ValueError, match="every neuron once"):
        NeuronActivity(name="lif", neurons=5, spikes=(1.0,), updates_each=8, fired=(0,), neurons_fired=(4,))


def test_firing_is_reported_beside_floats(recorded, activity, capsys):
    def slower(data):
        for one in data["activity"]["float"]["neurons"]:
            one["fired"], one["neurons_fired"] = [0], [one["neurons"]]

    found = report(edit(recorded, slower))
    assert [row.name for row in found.firing] == [one.name for one in activity.neurons]
    for row, one in zip(found.firing, activity.neurons, strict=True):
        assert row.dead_float == row.neurons
        assert row.saturated_float == 0
        assert row.dead == one.dead
        # From neurons that never fire to these is the mean rate.
        assert row.distance == pytest.approx(row.firing_rate)
    assert math.isclose(sum(row.neurons for row in found.firing), sum(one.neurons for one in activity.neurons))
    assert "earth mover's distance over the neurons" in found.dynamics
    page = html_page(found)
    assert found.dynamics.replace("'", "&#39;") in page
    assert "saturated" in page[page.index('id="firing"') :]
    assert "firing,attn" in csv_text(found.to_dict()) or "\nfiring," in csv_text(found.to_dict())
    assert run(["report", str(recorded)]) == 0
    shown = capsys.readouterr()
    assert "Firing of neurons, packed (float)" in shown.out
    assert "never fire" in " ".join(shown.err.split())


def test_old_measurements_say_what_is_missing(recorded):
    def forget(data):
        for model in ("plan", "float"):
            for one in data["activity"][model]["neurons"]:
                for key in ("updates_each", "fired", "neurons_fired"):
                    one.pop(key)

    found = report(edit(recorded, forget))
    assert all(row.distance is None and row.dead is None for row in found.firing)
    assert "not measured: snnq report --measure 64" in found.dynamics
