import json

import pytest
from typer.testing import CliRunner

from snnq.base.errors import CostTableError
from snnq.cli.cost import app
from snnq.cost.table import TABLES
from snnq.searching.uniform import uniform_plan


def call(*words):
    result = CliRunner().invoke(app, list(words), env={"COLUMNS": "200"})
    if result.exception:
        raise result.exception
    return result


def test_list_names_every_table_and_says_which_is_a_fit():
    text = call("list").stdout
    assert "horowitz-45nm" in text
    assert "paper-fit" in text
    assert text.count("(a fit)") == 1
    listed = json.loads(call("list", "--json").stdout)
    assert [table["name"] for table in listed["tables"]] == [
        "horowitz-45nm",
        "horowitz-45nm-sparse",
        "jouppi-7nm",
        "paper-fit",
    ]


def test_show_prints_constants_with_units_and_sources():
    text = call("show", "horowitz-45nm").stdout
    for words in ("energy pJ", "32-bit word", "multiply_float32", "3.7", "ISSCC 2014", "45 nm", "640"):
        assert words in text


def test_paper_fit_splits_the_float_plan_as_the_paper_does(tmp_path):
    uniform_plan("float32", architecture="spikformer-cifar10dvs").write(tmp_path / "float.json")
    words = ("show", "paper-fit", "--plan", str(tmp_path / "float.json"))
    groups = json.loads(call(*words, "--json").stdout)["groups"]
    assert [round(100 * group["energy_share"], 1) for group in groups.values()] == [41.5, 19.5, 38.9, 0.1]
    text = call(*words).stdout
    assert "41.50" in text
    assert "19.47" in text
    assert "38.94" in text


def test_check_accepts_a_table_and_refuses_a_damaged_one(tmp_path):
    own = tmp_path / "own.toml"
    own.write_bytes((TABLES / "paper-fit.toml").read_bytes())
    result = call("check", str(own))
    assert "own.toml is in order" in result.stderr
    assert "40.625" in result.stdout
    own.write_text("name = 3", "utf-8")
    with pytest.raises(CostTableError, match=r"own\.toml"):
        call("check", str(own))
    with pytest.raises(CostTableError, match="unknown cost table"):
        call("show", "horowitz")
