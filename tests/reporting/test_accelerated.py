"""A packed folder on simulated machines: what is said, shown and written, and what is refused."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from fractions import Fraction

import pytest

import snnq
from snnq.base.errors import DataError, MachineError, OutputExistsError, UsageError
from snnq.cli.main import run
from snnq.hardware.machine import MACHINES, read_machine
from snnq.packed.loading import load_packed
from snnq.reporting.accelerated import accel_document
from snnq.reporting.formats import csv_text, document_html
from snnq.reporting.page import html_page
from snnq.reporting.tables import detail_tables, main_tables


def test_layers_add_up_to_the_machine_and_its_energy(simulated, ready):
    names = [one.name for one in simulated.layers]
    assert [one.name for one in simulated.outside] == ["head", "block.0.attn"]
    model = load_packed(ready, "float")
    for one in simulated.layers:
        weight = model.get_submodule(one.name).get_parameter("weight")
        assert Fraction(one.weight_density) == Fraction(float((weight != 0).double().mean()))
        assert one.weights == weight.numel()
        assert 0 <= one.spike_density <= one.awake <= 1
    for machine in simulated.machines:
        assert [one.name for one in machine.layers] == names
        for key in ("cycles", "accumulates", "weight_bytes", "cache_bytes", "on_chip_pj", "off_chip_pj"):
            assert getattr(machine.total, key) == pytest.approx(sum(getattr(one, key) for one in machine.layers))
        spent = sum(one.spent_pj for one in machine.events)
        assert spent == pytest.approx(machine.total.on_chip_pj + machine.total.off_chip_pj)
        constants = read_machine(machine.machine)
        memory = next(one.spent_pj for one in machine.events if one.event == "memory")
        moved = sum(getattr(machine.total, f"{what}_bytes") for what in ("spike", "weight", "output"))
        assert memory == pytest.approx(moved * constants.event_pj("memory"))
        assert machine.microseconds == pytest.approx(machine.total.cycles / 800)
    loas, gamma = simulated.machines
    # Two passes of one step each in every plane of every group, four rows and columns, or as many as there are.
    assert loas.checked_sums > 100
    assert gamma.checked_sums == 0
    assert loas.total.exposed_cycles > loas.total.cycles
    # A word of two steps is added once; one spike after the other is added twice.
    assert loas.total.accumulates <= gamma.total.accumulates


def test_the_same_samples_give_the_same_numbers_and_one_machine_those_of_several(ready, simulated):
    alone = snnq.accel(ready, target=[MACHINES / "loas.toml"], samples=2, progress=snnq.silent)
    (machine,) = alone.machines
    assert machine == replace(simulated.machines[0], machine=machine.machine)
    assert alone.layers == simulated.layers


def test_document_and_report_show_the_records_numbers(simulated, measured):
    document = accel_document(simulated)
    assert json.loads(json.dumps(document.data, allow_nan=False))["machines"][0]["machine"] == "loas"
    loas, gamma = simulated.machines
    times = gamma.total.cycles / loas.total.cycles
    assert f"takes {loas.total.cycles:,.0f} cycles" in document.verdict
    assert f"{times:.2f} times the cycles" in document.verdict
    assert any("bit for bit" in note and f"{loas.checked_sums:,} sums on loas" in note for note in document.notes)
    assert any("head (real numbers times weights" in note for note in document.notes)
    for one in (*document.tables, *main_tables(measured)):
        assert all(len(row) == len(one.columns) for row in one.rows)
    lines = csv_text(document.data).splitlines()
    assert f"machines,gamma,total.cycles,{gamma.total.cycles!r}" in lines
    page = document_html(document)
    assert "Cycles of an inference" in page
    both = replace(measured, simulation=simulated)
    titles = {one.title for one in (*main_tables(both), *detail_tables(both))}
    assert {one.title for one in document.tables} <= titles
    assert "On simulated accelerators" in html_page(both)
    assert "On simulated accelerators" not in html_page(measured)


def test_the_command_line(ready, tmp_path, capsys):
    page, network = tmp_path / "page.html", tmp_path / "net"
    words = ["accel", str(ready), "--target", "gospa", "--samples", "1", "--prosperity", str(network)]
    assert run([*words, "--out", str(page), "--json"]) == 0
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    assert [one["machine"] for one in found["machines"]] == ["gospa"]
    assert found["left_out"] == []
    assert "events simulated from images" in shown.err
    assert "On the chip and off it" in page.read_text()
    operators = json.loads((tmp_path / "net.json").read_text())
    # 16 x 16 pixels, two channels to two, 3 x 3 with one around; a sample of two steps.
    first = next(key for key in operators if key.startswith("conv2d_patch_embed.proj_conv"))
    assert operators[first] == [16, 2, 2, 3, 1, 1, 1, 2]
    assert operators["fc_block.0.attn.proj"] == [16, 16, 16, 1, 2]  # 4 x 4 tokens
    assert run(words) == 2
    assert "net.json is already there" in capsys.readouterr().err
    assert run(["accel", str(ready), "--toml", "--target", "sparten"]) == 0
    assert capsys.readouterr().out.strip() == (MACHINES / "sparten.toml").read_text().strip()


def test_the_report_simulates_where_it_is_asked_to(packed, capsys):
    assert run(["report", str(packed), "--accel", "loas", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["simulation"]["machines"][0]["machine"] == "loas"
    assert "On simulated accelerators" in (packed / "report.html").read_text()


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"target": "loass"}, MachineError, r"unknown machine 'loass' \(did you mean 'loas'"),
        ({"target": "loas,loas"}, UsageError, "each once"),
        ({"target": ()}, UsageError, "at least one machine"),
        ({"split": "tset"}, UsageError, "--split tset"),
        ({"samples": 0}, UsageError, "0 samples"),
        ({"data": "nothing"}, DataError, "nothing"),
    ],
)
def test_what_cannot_be_simulated_is_refused(ready, given, error, message):
    with pytest.raises(error, match=message):
        snnq.accel(ready, **given, progress=snnq.silent)


def test_only_packed_folders_are_simulated_and_nothing_is_overwritten(ready, tmp_path):
    with pytest.raises(UsageError, match="no packed folder"):
        snnq.accel("digits", progress=snnq.silent)
    (tmp_path / "net.pkl").write_text("mine")
    with pytest.raises(OutputExistsError, match=re.escape("net.pkl is already there")):
        snnq.accel(ready, prosperity=tmp_path / "net", progress=snnq.silent)
    assert (tmp_path / "net.pkl").read_text() == "mine"
