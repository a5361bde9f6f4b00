import json
import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snnq.base.errors import CostTableError, OutputExistsError, PlanError
from snnq.cost.quantities import declared
from snnq.cost.table import TABLES, read_table
from snnq.network.layers import KINDS, Layer
from snnq.plan import DataInfo, ModelInfo, Plan, SearchInfo, make_plan
from snnq.plan.plan import plan_schema
from snnq.plan.records import Baseline
from snnq.schemes.names import PAPER_SPACE
from snnq.schemes.scheme import scheme_names

NAMES = scheme_names()

# The paper's best point: 2 bits but for the first conv, the head and two of the eight attention linears.
BEST = dict.fromkeys(("patch_embed.proj_conv", "head", "block.0.attn.v", "block.1.attn.proj"), "uniform-4")


def shares(plan, key):
    return [round(100 * getattr(group, key), 2) for group in plan.groups.values()]


def test_the_papers_best_point(make):
    plan = make("uniform-2", BEST)
    assert plan.totals.weights == 2_552_896
    assert plan.totals.bits == plan.totals.storage_bits == 5_374_208
    assert round(plan.totals.avg_bits, 5) == 2.10514
    assert round(plan.totals.storage_fraction, 6) == 0.065786
    assert round(plan.totals.compression, 4) == 15.2009
    assert list(plan.groups) == ["tokenizer", "attention", "mlp", "head"]
    assert shares(plan, "storage_share") == [36.40, 24.39, 39.02, 0.19]


def test_the_float_plan(make):
    plan = make("float32")
    assert shares(plan, "storage_share") == shares(plan, "storage_share_float") == [38.29, 20.54, 41.07, 0.10]
    assert (plan.totals.avg_bits, plan.totals.storage_fraction, plan.totals.compression) == (32, 1, 1)
    assert plan.totals.energy_fraction == 1
    # The default table does not give the paper's energy split (docs/method.md §3), the fit does.
    assert [round(100 * g.energy_share) for g in plan.groups.values()] == [56, 15, 29, 0]
    fit = make("float32", table="paper-fit")
    assert [round(100 * g.energy_share, 1) for g in fit.groups.values()] == [41.5, 19.5, 38.9, 0.1]


def test_baselines_are_the_uniform_plans(make):
    plan = make("uniform-2", BEST)
    by_scheme = {b.scheme: b for b in plan.baselines}
    assert list(by_scheme) == ["float32", "uniform-4", "uniform-2", "power-of-two-4", "power-of-two-2"]
    for scheme, baseline in by_scheme.items():
        same = make(scheme).totals
        assert baseline.avg_bits == same.avg_bits
        assert baseline.storage_fraction == same.storage_fraction
        assert baseline.energy_fraction == same.energy_fraction
        assert baseline.validation_accuracy is None


layer_lists = st.lists(
    st.tuples(
        st.sampled_from(["tokenizer", "attention", "mlp", "head"]),
        st.sampled_from(sorted(KINDS)),
        st.integers(1, 40),
        st.integers(1, 40),
        st.integers(1, 500),
        st.sampled_from(["spikes", "integers", "counts", "reals"]),
        st.sampled_from(NAMES),
    ),
    min_size=1,
    max_size=8,
)


def build_plan(drawn, table="horowitz-45nm", **facts):
    layers, schemes = [], {}
    for i, (group, kind, out, into, positions, seen, scheme) in enumerate(drawn):
        shape = (out, into) + (3,) * (KINDS[kind] - 2)
        macs = math.prod(shape) * positions
        layers.append(Layer(f"l{i}", group, kind, shape, macs, 2 * macs, seen))
        schemes[f"l{i}"] = scheme
    model = ModelInfo(architecture="any", layout="any", config={})
    return make_plan(layers, schemes, model=model, table=read_table(table), **facts)


@given(layer_lists)
def test_totals_and_shares_add_up(drawn):
    plan = build_plan(drawn)
    groups = plan.groups.values()
    assert plan.totals.weights == sum(g.weights for g in groups) == sum(math.prod(x.shape) for x in plan.layers)
    assert plan.totals.storage_bits == pytest.approx(sum(g.storage_bits for g in groups))
    assert plan.totals.storage_bits == math.fsum(x.bits for x in plan.layers)
    assert plan.totals.energy_pj == pytest.approx(sum(g.energy_pj for g in groups))
    for key in ("storage_share", "energy_share", "storage_share_float", "energy_share_float"):
        assert sum(getattr(g, key) for g in groups) == pytest.approx(1)
        assert all(0 < getattr(g, key) <= 1 for g in groups)
    assert 0 < plan.totals.storage_fraction <= 1
    assert 0 < plan.totals.energy_fraction <= 1
    assert plan.totals.compression * plan.totals.storage_fraction == pytest.approx(1)
    assert 1 <= plan.totals.avg_bits <= 32


@given(layer_lists, st.sampled_from(["horowitz-45nm", "paper-fit"]))
def test_totals_are_those_of_a_numpy_oracle(drawn, name):
    constants = {
        "horowitz-45nm": {"float32": 3.7 + 0.9, "uniform": 0.2 + 0.1, "power-of-two": 0.024 + 0.1, "word": 640},
        "paper-fit": {"float32": 0.9, "uniform": 0.2 + 0.1, "power-of-two": 0.024 + 0.1, "word": 1300},
    }[name]
    weights, bits, products, operations = [], [], [], []
    for _, kind, out, into, positions, _, scheme in drawn:
        weights.append(out * into * 3 ** (KINDS[kind] - 2))
        products.append(2 * weights[-1] * positions)
        own = {"float32": ("float32", 32), "ternary": ("power-of-two", 1.6), "binary": ("power-of-two", 1)}
        family, each = own.get(scheme) or (scheme[:-2], int(scheme[-1]))
        bits.append(each)
        operations.append(constants[family])
    weights, bits, products = np.array(weights), np.array(bits), np.array(products)
    energy = products @ np.array(operations) + (weights @ bits) / 32 * constants["word"]
    float_energy = products.sum() * constants["float32"] + weights.sum() * constants["word"]
    totals = build_plan(drawn, name).totals
    assert totals.energy_pj == pytest.approx(energy)
    assert totals.energy_fraction == pytest.approx(energy / float_energy)
    assert totals.avg_bits == pytest.approx(np.average(bits, weights=weights))


@given(layer_lists, st.integers(0, 7), st.sampled_from(["uniform", "power-of-two"]), st.integers(2, 7))
def test_more_bits_in_a_layer_never_cost_less(drawn, index, family, bits):
    plan = build_plan(drawn)
    name = f"l{index % len(drawn)}"
    fewer, more = (plan.with_schemes({name: f"{family}-{b}"}) for b in (bits, bits + 1))
    assert fewer.totals.storage_bits < more.totals.storage_bits
    assert fewer.totals.energy_pj <= more.totals.energy_pj


@settings(max_examples=40)
@given(layer_lists, st.dictionaries(st.sampled_from(PAPER_SPACE), st.floats(0, 1)), st.floats(0, 10))
def test_what_is_written_is_read(tmp_path_factory, drawn, probabilities, trade_off):
    search = SearchInfo(
        method="differentiable",
        seed=3,
        epochs=4,
        trade_off=trade_off,
        budget={"avg_bits": 2.2},
        space=PAPER_SPACE,
        fingerprint="f",
        validation_accuracy=0.5,
    )
    data = DataInfo(spec="digits", sha256="0", classes=("zero", "ünö"))
    plan = build_plan(drawn, data=data, search=search, probabilities={"l0": probabilities})
    mixed = dict.fromkeys(plan.schemes(), "uniform-3")
    plan = plan.with_baselines(
        [
            Baseline(scheme="uniform-2", validation_accuracy=0.25, validation_loss=1.5),
            Baseline(scheme="sensitivity", schemes=mixed, validation_accuracy=1.0),
        ]
    )
    path = tmp_path_factory.mktemp("plan") / "plan.json"
    plan.write(path)
    read = Plan.read(path)
    assert read == plan
    first = path.read_bytes()
    assert first.endswith(b"}\n")
    read.write(path)
    assert path.read_bytes() == first
    assert [p.name for p in path.parent.iterdir()] == ["plan.json"]
    assert read.layers[0].probabilities == probabilities
    assert read.totals.asked.trade_off == trade_off
    assert read.totals.asked.realised == {"avg_bits": plan.totals.avg_bits}
    assert {b.scheme: b.validation_accuracy for b in read.baselines if b.validation_accuracy} == {
        "uniform-2": 0.25,
        "sensitivity": 1.0,
    }


def test_the_file_is_made_for_editing(make, tmp_path):
    make("uniform-2").write(tmp_path / "p.json")
    text = (tmp_path / "p.json").read_text("utf-8")
    assert '"shape": [32, 2, 3, 3],' in text
    assert list(json.loads(text)) == [
        *("schema_version", "tool", "model", "data", "search", "cost_table", "layers", "totals", "groups", "baselines")
    ]


def test_only_the_scheme_is_input(make, tmp_path):
    path = tmp_path / "p.json"
    make("uniform-2").write(path)
    data = json.loads(path.read_text("utf-8"))
    for entry in data["layers"]:
        entry["scheme"] = BEST.get(entry["name"], entry["scheme"])
        entry["bits"], entry["energy_pj"] = -5, "nonsense"
    data["totals"] = {"avg_bits": 7}
    del data["groups"]
    for baseline in data["baselines"]:
        baseline["avg_bits"] = 1.0
    path.write_text(json.dumps(data), "utf-8")
    assert Plan.read(path) == make("uniform-2", BEST)


def test_with_schemes(make):
    assert make("uniform-2").with_schemes(BEST) == make("uniform-2", BEST)
    with pytest.raises(PlanError, match=r"no layer 'heed' \(did you mean 'head'\?\)"):
        make("uniform-2").with_schemes({"heed": "uniform-4"})
    with pytest.raises(
        PlanError, match=r"layer 'head': scheme: unknown scheme 'unifrm-4' \(did you mean 'uniform-4'\?\)"
    ):
        make("uniform-2").with_schemes({"head": "unifrm-4"})


def test_measured_accuracies_of_baselines(make):
    plan = make("uniform-2")
    for scheme, accuracy in (("uniform-2", 0.9), ("float32", 0.95)):
        plan = plan.with_baselines([Baseline(scheme=scheme, validation_accuracy=accuracy)])
    assert {b.scheme: b.validation_accuracy for b in plan.baselines if b.validation_accuracy} == {
        "float32": 0.95,
        "uniform-2": 0.9,
    }
    assert plan.with_schemes({"head": "uniform-4"}).baselines == plan.baselines
    with pytest.raises(ValueError, match="validation_accuracy"):
        Baseline(scheme="uniform-2", validation_accuracy=90.0)
    with pytest.raises(ValueError, match="did you mean 'uniform-2'"):
        Baseline(scheme="unifrm-2")


def test_a_mixed_baseline_is_costed_by_its_own_schemes(make, reference_layers):
    schemes = {layer.name: "uniform-2" for layer in reference_layers} | {"head": "uniform-4"}
    plan = make("uniform-4").with_baselines([Baseline(scheme="sensitivity", schemes=schemes)])
    found = {b.scheme: b for b in plan.baselines}["sensitivity"]
    assert found.avg_bits == make("uniform-2", {"head": "uniform-4"}).totals.avg_bits
    assert found.energy_fraction == make("uniform-2", {"head": "uniform-4"}).totals.energy_fraction


def test_make_plan_wants_one_scheme_for_every_layer(make, reference_layers):
    with pytest.raises(PlanError, match=r"'hed', which is not a layer \(did you mean 'head'\?\)"):
        make("uniform-2", {"hed": "uniform-2"})
    model = ModelInfo(architecture="a", layout="a", config={})
    with pytest.raises(PlanError, match="no scheme is given for layer 'head'"):
        make_plan(
            reference_layers,
            {layer.name: "uniform-2" for layer in reference_layers[:-1]},
            model=model,
            table=read_table(),
        )
    with pytest.raises(PlanError, match="at least one layer"):
        make_plan((), {}, model=model, table=read_table())


def test_a_plan_says_how_it_is_costed_and_made(make):
    plan = make("uniform-2", table="paper-fit")
    assert plan.cost_table.model_dump() == {
        "name": "paper-fit",
        "sha256": read_table("paper-fit").sha256,
        "source": None,
    }
    assert (plan.schema_version, plan.tool) == (1, "snnq 0.1.0")
    assert plan.model.config == {"image_size": [128, 128]}
    assert plan.schemes() == {layer.name: "uniform-2" for layer in plan.layer_table()}


def test_layers_come_back_as_they_were_traced(make, reference_layers):
    assert make("uniform-2").layer_table() == reference_layers


def test_todays_cost_table_is_used(make, tmp_path, monkeypatch):
    text = (TABLES / "horowitz-45nm.toml").read_text("utf-8")
    (tmp_path / "own.toml").write_text(text, "utf-8")
    monkeypatch.chdir(tmp_path)
    plan = make("uniform-2", table="own.toml")
    assert plan.cost_table.source == "own.toml"
    plan.write(tmp_path / "p.json")
    (tmp_path / "own.toml").write_text(text.replace("energy_pj = 640.0", "energy_pj = 64.0"), "utf-8")
    # The table is also found beside the plan, when the command is typed elsewhere.
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    read = Plan.read(tmp_path / "p.json")
    assert read.cost_table.sha256 != plan.cost_table.sha256
    memory = plan.totals.bits * 20
    assert plan.totals.energy_pj - read.totals.energy_pj == pytest.approx(0.9 * memory)
    (tmp_path / "own.toml").unlink()
    with pytest.raises(CostTableError, match=r"the plan's cost table: own\.toml: cannot read") as error:
        Plan.read(tmp_path / "p.json")
    assert "--cost-table horowitz-45nm" in error.value.hint
    assert Plan.read(tmp_path / "p.json", read_table()).layers == make("uniform-2").layers


def test_writing_refuses_to_overwrite_when_told(make, tmp_path):
    path = tmp_path / "deep" / "p.json"
    make("uniform-2").write(path, force=False)
    with pytest.raises(OutputExistsError, match="already there"):
        make("uniform-4").write(path, force=False)
    assert Plan.read(path) == make("uniform-2")
    make("uniform-4").write(path)
    assert Plan.read(path) == make("uniform-4")
    with pytest.raises(PlanError, match="cannot write"):
        make("uniform-4").write(path / "below.json")
    with pytest.raises(PlanError, match="cannot write"):
        make("uniform-4").write(tmp_path / "deep")
    assert [p.name for p in path.parent.iterdir()] == ["p.json"]


def test_schema_describes_what_is_written(make):
    schema, further = plan_schema(), [one for one in declared() if one.measured]
    plan = make("uniform-2", BEST).to_dict()
    assert set(schema["properties"]) == {*plan, "activity", "arrays"}
    assert schema["required"] == ["schema_version", "tool", "model", "cost_table", "layers"]
    assert schema["additionalProperties"] is False
    layer = schema["$defs"]["PlanLayer"]
    assert set(layer["properties"]) == {*plan["layers"][0], *(one.key for one in further)}
    names, rated = layer["properties"]["scheme"]["anyOf"]
    assert names == {"enum": list(NAMES)}
    assert re.fullmatch(rated["pattern"], "uniform-4@0.95")
    assert not re.fullmatch(rated["pattern"], "uniform-4")
    assert layer["properties"]["bits"]["readOnly"] is True
    assert "bits" not in layer["required"]
    assert set(schema["$defs"]["Totals"]["properties"]) == {
        *plan["totals"],
        *(key for one in further for key in one.keys),
    }
