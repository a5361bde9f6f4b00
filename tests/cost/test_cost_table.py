import hashlib
import subprocess
import sys

import pytest

from snnq.base.errors import CostTableError
from snnq.cost.table import DEFAULT_TABLE, TABLES, list_tables, read_table

# docs/method.md §3, typed by hand: pJ in 45 nm.
CONSTANTS = {
    "multiply_float32": 3.7,
    "add_float32": 0.9,
    "multiply_float16": 1.1,
    "add_float16": 0.4,
    "multiply_int32": 3.1,
    "add_int32": 0.1,
    "multiply_int8": 0.2,
    "add_int8": 0.03,
    "shift_32bit": 0.13,
    "shift_16bit": 0.057,
    "shift_8bit": 0.024,
    "dram_word": 640.0,
    "sram_8kb_word": 5.0,
}


@pytest.fixture
def own(tmp_path):
    """Write a copy of the default table with some text replaced and return its path."""

    def write(*replacements):
        text = (TABLES / "horowitz-45nm.toml").read_text("utf-8")
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new, 1)
        path = tmp_path / "mine.toml"
        path.write_text(text, "utf-8")
        return path

    return write


def test_default_table_holds_the_methods_constants():
    table = read_table()
    assert table.name == DEFAULT_TABLE == "horowitz-45nm"
    assert {name: constant.energy_pj for name, constant in table.constants.items()} == CONSTANTS
    assert {name for name, c in table.constants.items() if c.per == "32-bit word"} == {"dram_word", "sram_8kb_word"}
    assert table.operation_pj("float32") == pytest.approx(4.6)
    assert table.operation_pj("uniform") == pytest.approx(0.3)
    assert table.operation_pj("power-of-two") == pytest.approx(0.124)
    assert table.weight_bit_pj == 20.0
    assert not table.fitted


def test_the_fit_says_that_it_is_one_and_what_is_not_fitted():
    table = read_table("paper-fit")
    assert table.fitted
    assert table.operation_pj("float32") == 0.9
    assert table.weight_bit_pj == 1300 / 32
    for family in ("uniform", "power-of-two"):
        assert table.operation_pj(family) == read_table("horowitz-45nm").operation_pj(family)
        assert all(table.constants[name].source != "fit" for name in table.operations[family])
    assert "not" in table.notes
    assert "NOT fitted" in (TABLES / "paper-fit.toml").read_text("utf-8")


@pytest.mark.parametrize("name", list_tables())
def test_every_table_says_units_source_year_and_node(name):
    table = read_table(name)
    assert table.name == name
    assert table.path is None
    assert table.sha256 == hashlib.sha256((TABLES / f"{name}.toml").read_bytes()).hexdigest()
    assert table.node == ("7 nm" if name == "jouppi-7nm" else "45 nm")
    assert table.year >= 2014
    assert all(source.text and source.node == table.node for source in table.sources.values())
    assert "pJ" in (TABLES / f"{name}.toml").read_text("utf-8")


def test_a_users_own_table_is_read_by_path(own, monkeypatch):
    path = own(("energy_pj = 640.0", "energy_pj = 64"), ('name = "horowitz-45nm"', 'name = "mine"'))
    for given in (path, str(path)):
        table = read_table(given)
        assert (table.name, table.path, table.weight_bit_pj) == ("mine", str(path), 2.0)
    assert table.sha256 != read_table().sha256
    monkeypatch.chdir(path.parent)
    assert read_table("mine.toml").path == "mine.toml"


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(
        CostTableError, match=r"unknown cost table 'horowitz-45' \(did you mean 'horowitz-45nm'\?\)"
    ) as e:
        read_table("horowitz-45")
    assert e.value.exit_code == 2
    assert e.value.hint == "snnq cost list"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("year = 2014", "yaer = 2014", r"unknown key 'yaer' \(did you mean 'year'\?\)"),
        ("year = 2014", 'year = "2014"', r"year: input should be a valid integer, found \"2014\""),
        ('node = "45 nm"', 'node = "28 nm"', "different technology nodes must not be added"),
        ("energy_pj = 3.7", "energy_pj = -3.7", r"constants.multiply_float32.energy_pj: .*greater than or equal to 0"),
        ("energy_pj = 3.7", "energy_pj = inf", r"constants.multiply_float32.energy_pj: .*finite"),
        ("energy_pj = 3.7, ", "energy_nj = 3.7, ", r"unknown key 'energy_nj' \(did you mean 'energy_pj'\?\)"),
        (
            'float32 = ["multiply_float32"',
            'float32 = ["multiply_float"',
            r"unknown constant 'multiply_float' \(did you",
        ),
        ("float32 = [", "float23 = [", r"unknown family 'float23' \(did you mean 'float32'\?\)"),
        ('power-of-two = ["shift_8bit", "add_int32"]', "", "no constants are named for the family 'power-of-two'"),
        ('weights = "dram_word"', 'weights = "add_int8"', "'add_int8' is per operation, it must be per 32-bit word"),
        (
            'float32 = ["multiply_float32"',
            'float32 = ["dram_word"',
            "'dram_word' is per 32-bit word, it must be per oper",
        ),
        (
            'per = "operation", source = "horowitz"',
            'per = "operation", source = "horowit"',
            r"unknown source 'horowit'",
        ),
        ('per = "operation"', 'per = "flop"', "'operation' or '32-bit word', found \"flop\""),
        ('name = "horowitz-45nm"', 'name = "x"\nsha256 = "0"', "unknown key 'sha256'"),
        ("[memory]", "[memory", "not a TOML file: .*line"),
        ('[memory]\nweights = "dram_word"\nlocal = "sram_8kb_word"', "", "memory: this key is missing"),
        ('local = "sram_8kb_word"', "", "memory.local: this key is missing"),
        ('local = "sram_8kb_word"', 'local = "add_int8"', "'add_int8' is per operation, it must be per 32-bit word"),
        ("[events.neuron]", "[events.neurons]", r"unknown key 'neurons' \(did you mean 'neuron'\?\)"),
        ("integer = [", "integral = [", r"neuron: unknown family 'integral' \(did you mean 'integer'\?\)"),
        ('shift = ["shift_32bit"]', "", "whole: no constants are named for the family 'shift'"),
        ('shift = ["shift_32bit"]', 'shift = ["dram_word"]', "'dram_word' is per 32-bit word, it must be per oper"),
    ],
)
def test_a_damaged_table_is_refused_by_file_and_key(own, old, new, message):
    path = own((old, new))
    with pytest.raises(CostTableError, match=message) as error:
        read_table(path)
    assert str(path) in error.value.message
    assert error.value.hint


def test_a_missing_or_binary_file_is_refused(tmp_path):
    with pytest.raises(CostTableError, match="cannot read this cost table"):
        read_table(tmp_path / "none.toml")
    with pytest.raises(CostTableError, match="cannot read this cost table"):
        read_table(tmp_path)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CostTableError, match="not a TOML file"):
        read_table(tmp_path / "binary.toml")


def test_costs_and_plans_need_no_torch():
    code = "import snnq.plan, snnq.cost.views, snnq.plan.views, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
