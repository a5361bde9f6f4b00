"""The event model in a report: from what finalize recorded, measured anew, or not measured yet."""

import csv
import io
import json
from dataclasses import replace

import pytest
from report_editing import edit
from rich.cells import cell_len
from test_tables import grown, shown_width, table

from snnq.base.errors import PackedError, UsageError
from snnq.cli.main import run
from snnq.cost import event_views
from snnq.cost.events import event_energy
from snnq.cost.table import read_table
from snnq.models.registry import attention_table
from snnq.plan import Plan
from snnq.reporting.formats import csv_text, to_markdown
from snnq.reporting.page import html_page
from snnq.reporting.run import report
from snnq.reporting.tables import detail_tables, main_tables


def test_without_a_measurement_one_sentence_says_so(found):
    assert found.event_energy.plan is None
    assert "not measured yet" in found.event_energy.sentence
    assert "--measure 64" in found.event_energy.sentence
    paper, event = found.energies
    assert (paper.energy_pj, paper.energy_pj_float) == (found.totals.energy_pj, found.totals.energy_pj_float)
    assert event.energy_pj is event.energy_pj_float is event.energy_fraction is None
    assert [row[2:] for row in table(found, "Both energy models").rows][1] == ("-", "-", "-")
    assert "not measured yet" in to_markdown(found)
    assert "not measured yet" in html_page(found)


def test_what_finalize_recorded_is_priced_with_the_plans_schemes(recorded, activity):
    found = report(recorded)
    plan = Plan.read(recorded / "plan.json")
    products = attention_table(plan.model.architecture, plan.model.config)
    own = event_energy(plan.layer_table(), plan.schemes(), activity, products, read_table())
    assert found.event_energy.plan == own
    floats = event_energy(
        plan.layer_table(), dict.fromkeys(plan.schemes(), "float32"), activity, products, read_table()
    )
    assert found.event_energy.float_model == floats
    event = found.energies[1]
    assert event.energy_pj == own.total.energy_pj
    assert event.energy_fraction == own.total.energy_pj / floats.total.energy_pj
    assert "measured on 2 validation samples of digits" in found.event_energy.sentence
    assert "not counted" not in found.event_energy.sentence
    bare = replace(own, attentions=())
    assert "inside its attention are not known here and not counted" in event_views.sentence(bare)
    step = report(recorded, weight_reuse="step", cost_table="jouppi-7nm")
    assert step.event_energy.plan is not None
    assert (step.event_energy.plan.weight_reuse, step.event_energy.plan.node) == ("step", "7 nm")
    assert step.energies[1].energy_pj != event.energy_pj
    with pytest.raises(UsageError, match="weight-reuse"):
        report(recorded, weight_reuse="once")


def test_every_number_of_the_event_tables_is_the_reports(recorded):
    found = report(recorded)
    data = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    events = data["event_energy"]["plan"]
    whole = events["total"]["energy_pj"]
    rows = table(found, "Energy by part").rows
    assert [row[0] for row in rows] == [
        "tokenizer", "attention", "mlp", "head", "QKV products", "neurons", "all",
    ]  # fmt: skip
    for row, one in zip(rows, [*events["parts"], events["total"]], strict=True):
        assert row[1:] == (
            f"{one['synaptic_operations'] / 1e6:,.3f}",
            f"{one['accumulates'] / 1e6:,.3f}",
            f"{one['compute_pj'] / 1000:,.1f}",
            f"{one['memory_pj'] / 1000:,.1f}",
            f"{100 * one['energy_pj'] / whole:.2f}",
        )
    assert sum(one["energy_pj"] for one in events["parts"]) == pytest.approx(whole)
    for row, one in zip(table(found, "Events by layer").rows, events["layers"], strict=True):
        assert row[:3] == (one["name"], one["input"], f"{100 * one['firing_rate']:.2f}")
        assert row[4] == f"{one['energy_pj'] / 1000:,.1f}"
    for row, one in zip(table(found, "Firing rates by step").rows, events["layers"], strict=True):
        assert row[1] == " ".join(f"{100 * rate:.1f}" for rate in one["firing_rates"])
    (inside,) = data["attention_products"]
    assert table(found, "Inside attention").rows[0][4:6] == (f"{inside['operand_values']:,}", "4")
    assert inside["operand_bits"] == 4  # a head of 8 features: 0 to 8
    assert inside["paper_energy_pj"] > 0
    cells = {tuple(row[:3]): row[3] for row in csv.reader(io.StringIO(csv_text(found.to_dict())))}
    assert float(cells["energies", "event", "energy_pj"]) == whole
    assert float(cells["energies", "paper's", "energy_pj"]) == data["totals"]["energy_pj"]
    assert float(cells["event_energy.plan.layers", "head", "energy_pj"]) == events["layers"][-1]["energy_pj"]
    assert float(cells["event_energy.plan", "", "total.energy_pj"]) == whole


def test_tables_of_large_models_fit_80_columns(recorded):
    small = report(recorded)
    events = small.event_energy.plan
    assert events is not None
    million = replace(
        events,
        steps=16,
        layers=tuple(replace(x, synaptic_operations=1.2e9, energy_pj=3.2e10) for x in events.layers),
        parts=tuple(
            replace(x, synaptic_operations=1.2e10, accumulates=2e10, compute_pj=1.2e10, memory_pj=3.2e10)
            for x in events.parts
        ),
        total=replace(events.total, energy_pj=3.3e10, compute_pj=1.2e10, memory_pj=3.2e10),
    )
    energies = tuple(replace(x, energy_pj=3.2e10, energy_pj_float=6.4e10) for x in small.energies)
    large = replace(grown(small), energies=energies, event_energy=replace(small.event_energy, plan=million))
    for one in main_tables(large):
        assert shown_width(one) <= 80, (one.title, shown_width(one))
    assert cell_len("ᵀ") == 1


def test_measure_measures_anew_and_writes_nothing_down(packed, activity, capsys):
    before = (packed / "report.json").read_bytes()
    assert run(["report", str(packed), "--measure", "2", "--format", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    theirs = report(packed, measure=2)
    assert theirs.event_energy.plan is not None
    assert shown["event_energy"]["plan"]["total"] == vars(theirs.event_energy.plan.total)
    assert theirs.event_energy.plan.layers[0].firing_rate == activity.layers[0].rate
    assert theirs.event_energy.float_model is None
    assert (packed / "report.json").read_bytes() == before
    assert run(["report", str(packed), "--measure", "2", "--weight-reuse", "event"]) == 0
    text = capsys.readouterr()
    assert "event model, per inference (T = 2) and sample, horowitz-45nm" in " ".join(text.out.split())
    assert "Weight bits fetched, by reuse 'event'" in text.err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda plan: plan["layers"].pop(-1), "activity.plan.layers: layer 'head' is missing"),
        (lambda plan: plan["layers"][0].update(nonzero=[-1.0]), "activity.plan.layers.0.nonzero.0"),
        (lambda plan: plan["layers"][0].update(additions=[1.0]), "need as many time steps"),
        (lambda plan: plan.update(arithmetic="fixed"), "activity.plan.arithmetic"),
        (lambda plan: plan["attentions"].clear(), "activity.plan.attentions: attention 'block.0.attn' is missing"),
    ],
)
def test_a_damaged_measurement_is_one_sentence_naming_the_key(recorded, change, message):
    edit(recorded, lambda data: change(data["activity"]["plan"]))
    with pytest.raises(PackedError) as caught:
        report(recorded)
    assert message in caught.value.message


def test_details_name_their_model_too(recorded):
    for one in detail_tables(report(recorded)):
        if any("nJ" in column for column in one.columns):
            assert "event model, per inference (T = 2) and sample" in one.title or one.title.startswith("Accuracy-cost")
