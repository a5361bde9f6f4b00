import json

import pytest

from snnq.base.errors import PlanError
from snnq.plan import Plan
from snnq.plan.files import plan_text


@pytest.fixture
def damaged(make, tmp_path):
    """Write the reference plan after a change to its data and return its path."""

    def write(change):
        data = make("uniform-2").to_dict()
        change(data)
        path = tmp_path / "p.json"
        path.write_text(json.dumps(data), "utf-8")
        return path

    return write


def layer(**changes):
    return lambda data: data["layers"][9].update(changes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            layer(scheme="unifrm-2"),
            r"layer 'block.1.attn.q': scheme: unknown scheme 'unifrm-2' \(did you mean 'uniform-2'",
        ),
        (layer(scheme=2), r"layer 'block.1.attn.q': scheme: input should be a valid string, found 2"),
        (layer(schem="uniform-2"), r"layer 'block.1.attn.q': unknown key 'schem' \(did you mean 'scheme'\?\)"),
        (layer(macs=-1), r"layer 'block.1.attn.q': macs: input should be greater than 0, found -1"),
        (layer(macs=2.5), r"layer 'block.1.attn.q': macs: .*integer"),
        (layer(multiplications=True), r"layer 'block.1.attn.q': multiplications: .*integer, found true"),
        (layer(kind="conv3d"), r"layer 'block.1.attn.q': kind: .*'conv2d', found \"conv3d\""),
        (
            layer(kind="linear"),
            r"layer 'block.1.attn.q': shape \[256, 256, 1\] has 3 dimensions, a linear weight has 2",
        ),
        (layer(shape=[256, 0, 1]), r"layer 'block.1.attn.q': shape: 1: .*greater than 0, found 0"),
        (layer(shape="256"), r"layer 'block.1.attn.q': shape: "),
        (layer(group="neck"), r"layer 'block.1.attn.q': group: .*'head', found \"neck\""),
        (layer(input="bits"), r"layer 'block.1.attn.q': input: .*'activations', found \"bits\""),
        (layer(name=""), r"layer 10: name: "),
        (layer(name="head"), "two layers have the name 'head'"),
        (
            layer(probabilities={"uniform-2": 1.5}),
            "layer 'block.1.attn.q': probabilities: uniform-2: .*less than or equal",
        ),
        (layer(probabilities={"unform-2": 0.5}), "unknown scheme 'unform-2'"),
        (lambda data: data["layers"][9].pop("scheme"), "layer 'block.1.attn.q': scheme: this key is missing"),
        (lambda data: data["layers"].append(3), "layer 19: it should be an object with keys, found 3"),
        (lambda data: data.update(layers=[]), "layers: a plan needs at least one layer"),
        (lambda data: data.update(layers=None), "layers: "),
        (lambda data: data.pop("layers"), "layers: this key is missing"),
        (lambda data: data.update(layer=[]), r"unknown key 'layer' \(did you mean 'layers'\?\)"),
        (lambda data: data.update(schema_version=2), "schema_version is 2, this snnq reads 1"),
        (lambda data: data.update(schema_version="1"), "schema_version: input should be 1"),
        (lambda data: data["model"].update(arch="x"), r"model: unknown key 'arch' \(did you mean 'architecture'\?\)"),
        (lambda data: data["cost_table"].pop("sha256"), r"cost_table\.sha256: this key is missing"),
        (lambda data: data["baselines"][0].update(validation_accuracy=2), r"baselines\.0\.validation_accuracy"),
    ],
)
def test_a_damaged_plan_is_refused_by_file_layer_and_key(damaged, change, message):
    path = damaged(change)
    with pytest.raises(PlanError, match=message) as error:
        Plan.read(path)
    assert error.value.message.startswith(f"{path}: ")
    assert "\n" not in error.value.message
    assert error.value.hint
    assert error.value.exit_code == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{\n"schema_version": 1,\n"tool" "x"}', "not valid JSON at line 3, column 8"),
        (b"", "not valid JSON at line 1"),
        (b"[]", "a plan is a JSON object, found a list"),
        (b'{"tool": "a", "tool": "b"}', "the key 'tool' is given twice"),
        (b'{"tool": NaN}', "NaN is not a number of JSON"),
        (b"\xff\xfe", "not a plan"),
        (b"[" * 100_000, "not a plan"),
    ],
)
def test_what_is_not_json_is_refused_by_line(tmp_path, content, message):
    path = tmp_path / "p.json"
    path.write_bytes(content)
    with pytest.raises(PlanError, match=message):
        Plan.read(path)


def test_a_missing_plan_comes_with_the_command_that_makes_one(tmp_path):
    with pytest.raises(PlanError, match="there is no such plan") as error:
        Plan.read(tmp_path / "none.json")
    assert "snnq search" in error.value.hint
    with pytest.raises(PlanError, match="cannot read"):
        Plan.read(tmp_path)


def test_text_is_json_with_lists_of_numbers_on_one_line():
    data = {"a": [1, -2.5, 1e-09], "b": [], "c": ["[\n 1\n]", "x"], "d": [[1, 2], [3]], "e": {"f": [True, None]}}
    text = plan_text(data)
    assert json.loads(text) == data
    assert '"a": [1, -2.5, 1e-09]' in text
    assert text.endswith("}\n")
