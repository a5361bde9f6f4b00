import json

import pytest
from typer.testing import CliRunner

from snnq.base.errors import OutputExistsError, PlanError, UsageError
from snnq.cli.plan import app
from snnq.cost.table import read_table
from snnq.plan import Plan


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Make the 2-bit plan of the reference model by the command, once."""
    path = tmp_path_factory.mktemp("plan") / "p.json"
    result = call("uniform", "--architecture", "spikformer-cifar10dvs", "--scheme", "uniform-2", "--out", str(path))
    assert "16.0000" in result.stdout
    assert "Next: snnq plan show" in result.stderr
    return path


def call(*words):
    result = CliRunner().invoke(app, list(words), env={"COLUMNS": "200"})
    if result.exception:
        raise result.exception
    return result


def test_a_plan_edited_by_hand_shows_the_papers_best_point(made, tmp_path):
    data = json.loads(made.read_text("utf-8"))
    for entry in data["layers"]:
        if entry["name"] in ("patch_embed.proj_conv", "head", "block.0.attn.q", "block.1.attn.k"):
            entry["scheme"] = "uniform-4"
    edited = tmp_path / "p.json"
    edited.write_text(json.dumps(data), "utf-8")
    shown = json.loads(call("show", str(edited), "--json").stdout)
    assert round(shown["totals"]["avg_bits"], 5) == 2.10514
    assert round(shown["totals"]["storage_fraction"], 6) == 0.065786
    assert round(shown["totals"]["compression"], 4) == 15.2009
    groups = {name: round(100 * group["storage_share"], 2) for name, group in shown["groups"].items()}
    assert groups == {"tokenizer": 36.40, "attention": 24.39, "mlp": 39.02, "head": 0.19}
    table = call("show", str(edited)).stdout
    for text in ("block.1.mlp.fc2", "2.10514", "6.5786", "15.2009", "36.40", "24.39", "39.02", "0.19", "38.29"):
        assert text in table


def test_show_costs_with_another_table(made):
    shown = json.loads(call("show", str(made), "--json", "--cost-table", "paper-fit").stdout)
    assert shown["cost_table"]["name"] == "paper-fit"
    plan = Plan.read(made, read_table("paper-fit"))
    assert shown["totals"]["energy_pj"] == plan.totals.energy_pj != Plan.read(made).totals.energy_pj


def test_stdout_carries_data_only(made):
    result = call("show", str(made), "--json")
    assert json.loads(result.stdout) == json.loads(made.read_text("utf-8"))
    assert "Next: snnq plan diff" in result.stderr


def test_uniform_overwrites_only_by_force(made, tmp_path):
    out = str(tmp_path / "p.json")
    words = ("uniform", "--architecture", "spikformer-cifar10", "--image-size", "16", "--steps", "1", "--out", out)
    call(*words, "--scheme", "uniform-4")
    with pytest.raises(OutputExistsError):
        call(*words, "--scheme", "uniform-2")
    assert Plan.read(out).totals.avg_bits == 4
    call(*words, "--scheme", "uniform-2", "--force")
    assert Plan.read(out).totals.avg_bits == 2


def test_diff(made, tmp_path):
    Plan.read(made).with_schemes({"head": "float32"}).write(tmp_path / "b.json")
    found = json.loads(call("diff", str(made), str(tmp_path / "b.json"), "--json").stdout)
    assert [(one["name"], one["scheme"]) for one in found["layers"]] == [("head", {"A": "uniform-2", "B": "float32"})]
    table = call("diff", str(made), str(tmp_path / "b.json")).stdout
    assert "head" in table
    assert "patch_embed" not in table
    # 2560 weights take 30 bits more: 76 800 bits are 9.375 KiB.
    assert "+9.38" in table
    assert "differs" in table


def test_schema_is_json():
    assert "layers" in json.loads(call("schema").stdout)["properties"]


def test_mistakes_are_known_errors(made, tmp_path):
    with pytest.raises(PlanError):
        call("show", str(tmp_path / "none.json"))
    with pytest.raises(UsageError):
        call("uniform", "--scheme", "uniform-2", "--out", str(tmp_path / "x.json"))
    assert not (tmp_path / "x.json").exists()
