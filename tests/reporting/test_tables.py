import csv
import io
from dataclasses import replace

import pandas as pd
import pytest
from rich.cells import cell_len

from snnq import console
from snnq.cost.quantities import ENERGY, STORAGE
from snnq.cost.table import read_table
from snnq.network.layers import Layer
from snnq.plan import ModelInfo, make_plan
from snnq.reporting import costs
from snnq.reporting.formats import csv_text, to_markdown
from snnq.reporting.records import Paired
from snnq.reporting.tables import detail_tables, main_tables

HOSTILE = '<script>alert("x")</script>|`*\n\x00\x1b[31m'


def percent(share):
    return "-" if share is None else f"{share * 100:.2f}"


def table(found, title):
    return next(one for one in (*main_tables(found), *detail_tables(found)) if one.title.startswith(title))


def test_every_number_of_the_layers_is_the_reports(found):
    data = found.to_dict()
    rows = table(found, "Layers").rows
    assert len(rows) == len(data["layers"]) == 12
    for row, one in zip(rows, data["layers"], strict=True):
        assert row == (
            one["name"],
            one["scheme"],
            f"{one['storage_bits'] / 8192:,.2f}",
            percent(one["storage_share"]),
            f"{one['energy_pj'] / 1000:,.1f}",
            percent(one["energy_share"]),
        )


@pytest.mark.parametrize(("what", "key"), [("group", "groups"), ("attention linear", "attention")])
def test_every_number_of_the_parts_is_the_reports(found, what, key):
    data = found.to_dict()[key]
    for row, one in zip(table(found, f"Storage by {what}").rows, data, strict=True):
        assert row == (
            one["name"],
            f"{one['weights']:,}",
            f"{one['avg_bits']:.3f}",
            f"{one['storage_bits'] / 8192:,.2f}",
            percent(one["storage_share"]),
            f"{one['storage_bits_float'] / 8192:,.2f}",
            percent(one["storage_share_float"]),
        )
    for row, one in zip(table(found, f"Energy by {what}").rows, data, strict=True):
        assert row == (
            one["name"],
            f"{one['energy_pj'] / 1000:,.1f}",
            percent(one["energy_share"]),
            f"{one['energy_pj_float'] / 1000:,.1f}",
            percent(one["energy_share_float"]),
        )


def test_every_number_of_the_plans_is_the_reports(found):
    for row, one in zip(table(found, "Beside simple plans").rows, found.to_dict()["plans"], strict=True):
        assert row == (
            one["plan"],
            f"{one['avg_bits']:.3f}",
            percent(one["storage_fraction"]),
            f"{one['energy_pj'] / 1000:,.1f}",
            percent(one["energy_fraction"]),
            "not measured" if one["validation_accuracy"] is None else percent(one["validation_accuracy"]),
            "-" if one["validation_loss"] is None else f"{one['validation_loss']:.4f}",
        )


def test_accuracy_totals_and_disk(found):
    data = found.to_dict()
    for row, one in zip(table(found, "Accuracy").rows, data["accuracy"], strict=True):
        assert (row[0], row[2], row[4]) == (one["model"], percent(one["validation"]), percent(one["test"]))
    assert table(found, "Accuracy").rows[1][5] == "-"
    totals = {row[0]: row[1:] for row in table(found, "Totals").rows}
    own = data["totals"]
    assert totals["storage KiB"] == ("27.67", "2.78", percent(own["storage_fraction"]))
    energies = [f"{own[key] / 1000:,.1f}" for key in ("energy_pj_float", "energy_pj")]
    assert totals["energy nJ"] == (*energies, percent(own["energy_fraction"]))
    disk = {row[0]: row[1] for row in table(found, "Size of").rows}
    for part in data["disk"]["overhead"]:
        assert disk[part["kind"]] == f"{part['bits']:,}"
    assert disk["the file"] == f"{8 * data['disk']['file_bytes']:,}"
    assert disk["file over weights and overhead"] == f"{data['disk']['ratio']:.4f}"


def test_epochs_and_probabilities(found):
    assert [row[0] for row in table(found, "The search by epoch").rows] == ["1", "2", "3"]
    assert [row[5] for row in table(found, "Finetuning by epoch").rows] == ["-", "kept"]
    head = next(row for row in table(found, "What the search thought").rows if row[0] == "head")
    # (1 - 0.71) / 3 for each of the others.
    assert head[1:3] == ("power-of-two-4", "0.7100")
    assert head[4] == "0.0967"


def test_energies_name_their_model_and_table(found):
    for one in main_tables(found):
        if any("nJ" in cell for cell in (*one.columns, *(row[0] for row in one.rows))):
            if one.title.startswith("Both energy models"):
                assert [row[1].split(",")[0] for row in one.rows] == ["one time step", "one inference"]
                assert one.title.endswith("horowitz-45nm")
            else:
                labels = ("paper's model, per time step and sample", "event model, per inference (T = 2) and sample")
                assert any(f"{label}, horowitz-45nm" in one.title for label in labels)


def shown_width(one):
    """Return the width that ``console.table`` needs: three columns between cells and one before the first."""
    cells = [one.columns, *one.rows]
    widths = [max(cell_len(row[i]) for row in cells) for i in range(len(one.columns))]
    return sum(widths) + 3 * (len(widths) - 1) + 2


def grown(found):
    """Return the report as if its model were of the size of the largest published one: 50 million weights."""
    layers = [Layer(row.name, row.group, "linear", (2048, 2048), 1, 2 * 10**8, row.input) for row in found.layers]
    plan = make_plan(
        layers,
        {layer.name: "power-of-two-8" for layer in layers},
        model=ModelInfo(architecture="spikformer-imagenet", layout="imagenet", config={}),
        table=read_table(),
    )
    floats = costs.everywhere(plan, "float32")
    return replace(
        found,
        totals=costs.totals(plan, floats, 60 * 10**6),
        paired=tuple(
            Paired(row.plan, 1024, 512, 512, -0.5, -0.6, 0.4, 1.2e-12, -1.5, -1.6, 1.4) for row in found.plans
        ),
        plans=costs.plan_rows(plan),
        groups=costs.group_parts(plan, floats),
        attention=costs.attention_parts(plan, floats),
        layers=costs.layer_rows(plan, floats),
    )


def test_tables_of_large_models_fit_80_columns(found):
    for one in main_tables(grown(found)):
        assert shown_width(one) <= 80, one.title


def test_the_terminal_folds_nothing_at_80_columns(found, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    for one in main_tables(found):
        console.table("", one.columns, one.rows)
        lines = [line for line in capsys.readouterr().out.splitlines() if line.strip()]
        # The header, the rule and one line a row: no cell was folded.
        assert len(lines) == 2 + len(one.rows), one.title
        assert max(map(len, lines)) <= 80


def test_csv_holds_every_number_of_the_json(found):
    frame = pd.read_csv(io.StringIO(csv_text(found.to_dict())), dtype=str, keep_default_na=False)
    assert list(frame.columns) == ["section", "row", "key", "value"]
    cells = {(section, row, key): value for section, row, key, value in frame.itertuples(index=False)}
    assert len(cells) == len(frame)  # no value stands under the name of another one
    data = found.to_dict()
    for row in data["layers"]:
        for key, value in row.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                assert type(value)(cells["layers", row["name"], key]) == value
        for scheme, share in row["probabilities"].items():
            assert float(cells["layers", row["name"], f"probabilities.{scheme}"]) == share
        assert cells["layers", row["name"], "shape"] == " ".join(map(str, row["shape"]))
    for key, value in data["totals"].items():
        assert float(cells["totals", "", key]) == value
    for place, part in enumerate(data["notes"], start=1):
        assert cells["report", "", f"notes.{place}"] == part
    assert float(cells["search.epochs", "3", "bits"]) == data["search"]["epochs"][2]["bits"]
    assert cells["accuracy", "this plan", "test_loss"] == ""
    level = data["levels"][0]["levels"][1]
    assert float(cells["levels", data["levels"][0]["layer"], "levels.2.share"]) == level["share"]
    wide = frame[frame.section == "groups"].pivot(index="row", columns="key", values="value")
    assert wide.loc["tokenizer", "weights"] == "3852"


def test_hostile_text_stays_in_its_cell(found):
    layers = tuple(replace(row, name=f"{i} {HOSTILE}") for i, row in enumerate(found.layers))
    theirs = replace(found, layers=layers, notes=(HOSTILE,))
    text = to_markdown(theirs)
    assert "<script" not in text
    assert "\x00" not in text
    assert "\x1b" not in text
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("### Layers"))
    unescaped = [line.replace("\\|", "").count("|") for line in lines[start + 2 : start + 16]]
    assert unescaped == [7] * 14
    rows = list(csv.reader(io.StringIO(csv_text(theirs.to_dict()))))
    assert {len(row) for row in rows} == {4}
    assert not any("\x00" in cell or "\n" in cell for row in rows for cell in row)


def test_no_cell_of_the_csv_is_a_formula(found):
    bad = ("=1+1", "@SUM(A1)", "-2+3", "+3")
    layers = tuple(replace(row, name=f"{bad[i % 4]}{i}") for i, row in enumerate(found.layers))
    rows = list(csv.reader(io.StringIO(csv_text(replace(found, layers=layers, verdict="=cmd").to_dict()))))
    words = [cell for row in rows for cell in row if cell[:1] in ("=", "@", "+", "-")]
    assert all(float(word.split()[0]) < 0 for word in words)  # only negative numbers begin like that
    assert "'=cmd" in {row[3] for row in rows}


def test_markdown_stands_below_a_readmes_title(found):
    lines = to_markdown(found).splitlines()
    assert lines[0] == "## Compressed with snnq"
    assert not [line for line in lines if line.startswith("# ")]
    assert found.verdict in to_markdown(found)
    start = lines.index("### Storage by group")
    assert lines[start + 3] == "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"


def test_energies_and_sizes_take_the_unit_that_keeps_them_short():
    assert [ENERGY.short(one) for one in (0.0, 8482.8e3, 999_999.9e3, 1.275e11)] == [
        "0.0 nJ", "8,482.8 nJ", "999,999.9 nJ", "127,500.0 µJ",
    ]  # fmt: skip
    assert [STORAGE.short(8192 * kib) for kib in (46.2, 99_999, 258_538.125)] == [
        "46.20 KiB",
        "99,999.00 KiB",
        "252.48 MiB",
    ]
    # Beside something larger, both have its unit.
    assert (ENERGY.short(8482.8e3, like=2e9), STORAGE.short(8192 * 512, like=8192 * 2e5)) == ("8.5 µJ", "0.50 MiB")
