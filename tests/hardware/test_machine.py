"""Machines: what an event takes, and files that are refused by name and key."""

from __future__ import annotations

import subprocess
import sys

import pytest

from snnq.base.errors import MachineError
from snnq.hardware.machine import EVENTS, MACHINES, machine_file, read_machine


def test_energies_typed_by_hand():
    loas = read_machine("loas")
    # A power over the clock of 0.8 GHz; the accumulators are of 12 and four of 10 bits; 3.92 pJ a bit of memory.
    assert loas.event_pj("fast_prefix") == pytest.approx(1.46 / 0.8, rel=1e-12)
    assert loas.event_pj("accumulate") == pytest.approx(0.16 / 0.8 * 12 / 52, rel=1e-12)
    assert loas.event_pj("correct") == pytest.approx(0.16 / 0.8 * 10 / 52, rel=1e-12)
    assert loas.event_pj("neuron") == pytest.approx(0.075 / 0.8 / 4, rel=1e-12)
    assert loas.event_pj("cache") == pytest.approx(9.82 / 16, rel=1e-12)
    assert loas.event_pj("memory") == pytest.approx(8 * 3.92, rel=1e-12)
    assert loas.memory_bytes_per_cycle == pytest.approx(160)
    assert loas.cache_bytes_per_cycle == 256


def test_the_published_powers_hang_together():
    loas = read_machine("loas")
    powers = {name: one.power_mw for name, one in loas.constants.items() if one.power_mw is not None}
    element = sum(powers[name] for name in ("fast_prefix_sum", "laggy_prefix_sum", "accumulators", "other_of_element"))
    assert powers["fast_prefix_sum"] / element == pytest.approx(0.518, abs=5e-4)
    # All banks read in every cycle, beside the 124.5 mW of the paper's cache.
    cache = loas.event_pj("cache") * loas.cache_bytes_per_cycle * loas.megahertz / 1e3 + 16 * powers["cache_leakage"]
    assert cache == pytest.approx(124.5, rel=0.02)


def test_every_machine_opens_and_has_what_it_says():
    names = sorted(file.stem for file in MACHINES.glob("*.toml"))
    assert names == ["gamma", "gospa", "loas", "sparten"]
    for name in names:
        one = read_machine(name)
        assert one.name == name
        assert one.path is None
        assert {share.constant for share in one.events.values()} == one.constants.keys()
        assert {constant.source for constant in one.constants.values()} == one.sources.keys()
        assert all(one.event_pj(event) >= 0 for event in EVENTS)


@pytest.fixture
def own(tmp_path):
    def make(*changes):
        text = (MACHINES / "loas.toml").read_text()
        for old, new in changes:
            assert old in text
            text = text.replace(old, new, 1)
        path = tmp_path / "mine.toml"
        path.write_text(text)
        return path

    return make


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("lanes = 4", "lane = 4", r"unknown key 'lane' \(did you mean 'lanes'\?\)"),
        ("lanes = 4", "lanes = 0", "array.lanes: input should be greater than 0"),
        ("lanes = 4", "lanes = 4.0", "array.lanes: input should be a valid integer"),
        ("chunk = 128\n", "", "array.chunk: this key is missing, dataflow 'parallel-inner-join' needs it"),
        (
            'dataflow = "parallel-inner-join"',
            'dataflow = "systolic"',
            "dataflow: input should be 'parallel-inner-join'",
        ),
        ("megahertz = 800.0", "megahertz = inf", "megahertz: .*finite"),
        ('power_mw = 1.46, source = "loas"', 'power_mw = 1.46, source = "loass"', r"unknown source 'loass' \(did you"),
        ("power_mw = 1.46, ", "power_mw = -1.46, ", "constants.fast_prefix_sum.power_mw: .*greater than or equal to 0"),
        ("power_mw = 1.46, ", "", "it needs one of power_mw and energy_pj"),
        ("power_mw = 1.46, ", "power_mw = 1.46, energy_pj = 1.0, ", "it needs one of power_mw and energy_pj"),
        ('"fast_prefix_sum" }', '"fast_prefix_sun" }', r"unknown constant 'fast_prefix_sun' \(did you mean 'fast"),
        ("fast_prefix = {", "fast_prefx = {", r"unknown event 'fast_prefx' \(did you mean 'fast_prefix'\?\)"),
        ('node = "32 nm"\ndataflow', 'node = "28 nm"\ndataflow', "different technology nodes must not be added"),
        ('name = "loas"', 'name = "x"\nsha256 = "0"', "unknown key 'sha256'"),
        ("[memory]", "[memory", "not a TOML file: .*line"),
    ],
)
def test_a_damaged_machine_is_refused_by_file_and_key(own, old, new, message):
    path = own((old, new))
    with pytest.raises(MachineError, match=message) as error:
        read_machine(path)
    assert str(path) in error.value.message
    assert error.value.hint


def test_a_machine_of_ones_own_is_read_by_its_path(own):
    path = own(("lanes = 4", "lanes = 16"))
    one = read_machine(str(path))
    assert (one.array.lanes, one.path) == (16, str(path))
    assert one.sha256 != read_machine("loas").sha256


def test_what_is_no_machine_is_refused(tmp_path):
    with pytest.raises(MachineError, match=r"unknown machine 'loass' \(did you mean 'loas'\?\)"):
        machine_file("loass")
    with pytest.raises(MachineError, match="cannot read this machine"):
        read_machine(tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(MachineError, match="not a TOML file"):
        read_machine(tmp_path / "binary.toml")


def test_machines_need_no_torch():
    code = "import snnq.hardware.simulate, snnq.hardware.records, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
