"""A float checkpoint's document: where bits and picojoules are before anything is done."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from typing import Any

import pytest
import torch

from snnq.checkpoints.inspecting import inspect
from snnq.cli.main import run
from snnq.cost.table import read_table
from snnq.reporting.formats import document_html, document_markdown
from snnq.reporting.inspected import inspection_document


@pytest.fixture(scope="module")
def found():
    return inspect("digits")


def test_costs_counted_by_hand(found):
    data: Any = inspection_document(found).data
    assert data["totals"]["storage_bits"] == 32 * 160_144
    q = next(row for row in data["layers"] if row["name"] == "block.0.attn.q")
    # 64 x 64 weights, 16 tokens: 65 536 multiplications of 3.7 + 0.9 pJ, 4096 words of 640 pJ.
    assert q["energy_pj"] == pytest.approx(65_536 * 4.6 + 4096 * 640, rel=1e-12)
    assert q["macs"] == 65_536
    assert data["groups"]["head"]["storage_bits"] == 32 * 640
    assert sum(group["energy_share"] for group in data["groups"].values()) == pytest.approx(1)
    two = next(row for row in data["plans"] if row["plan"] == "uniform-2")
    assert two["storage_fraction"] == 1 / 16
    fit: Any = inspection_document(found, read_table("paper-fit")).data
    q = next(row for row in fit["layers"] if row["name"] == "block.0.attn.q")
    assert q["energy_pj"] == pytest.approx(65_536 * 0.9 + 4096 * 1300, rel=1e-12)


def test_macs_of_attention_are_its_own(found):
    """Layers of other groups may have the same last name."""
    group = found.groups["attention"].macs
    other = replace(found.layers[0], name="patch_embed.q", macs=10**9)
    state = {**found.checkpoint.state_dict, "patch_embed.q.weight": torch.zeros(other.shape)}
    more = replace(found, layers=(*found.layers, other), checkpoint=replace(found.checkpoint, state_dict=state))
    document = inspection_document(more)
    (table,) = [one for one in document.tables if one.title.startswith("Attention linears")]
    column = table.columns.index("MACs M")
    assert sum(float(row[column].replace(",", "")) for row in table.rows) == pytest.approx(group / 1e6, abs=1e-3)


def test_histograms_count_every_weight(found):
    data: Any = inspection_document(found).data
    for one, layer in zip(data["histograms"], found.layers, strict=True):
        weight = found.checkpoint.state_dict[f"{layer.name}.weight"]
        assert sum(one["counts"]) == weight.numel()
        assert one["high"] == -one["low"] == pytest.approx(float(weight.abs().max()))
        middle = one["high"] / 61
        inside = int((weight.abs().double() < middle).sum())
        assert abs(one["counts"][30] - inside) <= 2  # but for weights on the edge


def test_the_verdict_names_the_largest_and_the_dearest(found):
    document = inspection_document(found)
    assert document.verdict == (
        "160,144 weights in 18 layers: 625.56 KiB and 124,822.4 nJ per time step and sample in float32. "
        "mlp takes most storage (40.92 %), tokenizer most energy (43.47 %)."
    )


def test_the_pages_numbers_are_the_datas(found):
    document = inspection_document(found)
    text = document_html(document)
    data: Any = document.data
    for row in data["layers"]:
        assert f"{row['name']}: float32, {row['weights']} weights, {row['storage_bits']} bits" in text
        assert f"{row['energy_pj'] / 1000:,.1f}" in text
        assert f"{100 * row['energy_share']:.2f}" in text
    assert text.count("<svg") == 1 + 4 + 18  # the hatch, four pictures, a histogram a layer
    assert "<script" not in text
    assert set(re.findall(r"url\((.)", text)) <= {"#"}
    assert document_markdown(document).startswith("## digits: spikformer-cifar10dvs in float32")


@pytest.mark.parametrize("format", ["json", "csv", "markdown", "html", "table"])
def test_every_format_of_the_command(capsys, format, tmp_path):
    page = tmp_path / "i.html"
    assert run(["inspect", "digits", "--format", format, "--out", str(page)]) == 0
    shown = capsys.readouterr()
    assert "Next: snnq search digits" in shown.err
    assert page.read_text().startswith("<!DOCTYPE html>")
    if format == "json":
        assert json.loads(shown.out)["cost_table"] == "horowitz-45nm"
    elif format == "csv":
        rows = list(csv.reader(io.StringIO(shown.out)))
        assert ["groups", "head", "storage_bits", str(32 * 640)] in rows
    else:
        assert "124,822.4 nJ" in shown.out


def test_layers_without_a_group_of_attention(tmp_path):
    """A model of the user's own without attention shows no shares of it."""
    from snnq.checkpoints.opening import open_checkpoint

    code = (
        "from spikingjelly.activation_based import layer, neuron\nfrom torch import nn\n\n\ndef build():\n"
        "    return nn.Sequential(layer.Flatten(step_mode='m'), layer.Linear(32, 4, step_mode='m'), "
        "neuron.LIFNode(step_mode='m'), layer.Linear(4, 2, step_mode='m'))\n"
    )
    (tmp_path / "net.py").write_text(code)
    state = {"1.weight": torch.zeros(4, 32), "1.bias": torch.zeros(4), "3.weight": torch.ones(2, 4)}
    torch.save({**state, "3.bias": torch.zeros(2)}, tmp_path / "net.pth")
    given = {"steps": 2, "image_size": (4, 4), "model": f"{tmp_path / 'net.py'}:build"}
    assert open_checkpoint(tmp_path / "net.pth", **given)
    document = inspection_document(inspect(tmp_path / "net.pth", **given))
    assert not [table for table in document.tables if table.title.startswith("Attention")]
    data: Any = document.data
    zeros = {one["layer"]: one["zeros"] for one in data["histograms"]}
    assert sorted(zeros.values()) == [0.0, 1.0]
