"""snnq decompose: cores in place of layers, through every command, and dense again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from agreeing import engines_agree
from safetensors import safe_open
from small_architectures import small
from spikformer_weights import fill_model
from tiny_checkpoints import CONFIG, DATA, TINY, save_tiny

import snnq
from snnq.base.errors import OutputExistsError, UsageError
from snnq.checkpoints.opening import load_model, open_checkpoint, save_checkpoint
from snnq.cli.main import run
from snnq.models.registry import ARCHITECTURES, build
from snnq.network.layers import INPUT_BITS
from snnq.packed.arrays import open_arrays
from snnq.structure.factored import Factored, unfit

PROJ, RPE = "patch_embed.proj_conv", "patch_embed.rpe_conv"


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return save_tiny(tmp_path)


def logits(path: Path | str, config: dict = CONFIG) -> torch.Tensor:
    frames = torch.randint(
        0, 3, (3, config["steps"], 2, *config["image_size"]), generator=torch.Generator().manual_seed(1)
    )
    with torch.no_grad():
        return load_model(open_checkpoint(path)).double()(frames.double())


@pytest.mark.parametrize("mode", ["stt", "svd"])
def test_full_rank_gives_the_same_logits(mode: str, tiny: Path) -> None:
    found = snnq.decompose(tiny, mode=mode, rank="999", out="d.safetensors")
    assert len(found.layers) == 4
    assert all(one.kept == pytest.approx(1) for one in found.layers)
    torch.testing.assert_close(logits("d.safetensors"), logits(tiny), atol=1e-6, rtol=0)


@pytest.mark.parametrize("mode", ["stt", "ptt", "svd"])
def test_merged_gives_the_logits_of_the_cores(mode: str, tiny: Path) -> None:
    snnq.decompose(tiny, mode=mode, rank="4", out="d.safetensors")
    once = snnq.decompose("d.safetensors", merge=True, out="again.safetensors")
    both = snnq.decompose(tiny, mode=mode, rank="4", merge=True, out="both.safetensors")
    left = {f"{PROJ}{index}": 5 * rows * columns for index, (rows, columns) in enumerate([(4, 2), (8, 4), (16, 8)], 1)}
    masked = [{"edit": "masked", "layers": left | {"patch_embed.rpe_conv": 5 * 16 * 16}}] if mode == "ptt" else []
    assert list(open_checkpoint("again.safetensors").config.get("structure", [])) == masked
    assert once.weights_after == both.weights_after == open_weights(tiny)
    for name in ("again.safetensors", "both.safetensors"):
        torch.testing.assert_close(logits(name), logits("d.safetensors"), atol=1e-6, rtol=0)
    weight = open_checkpoint("again.safetensors").state_dict[f"{PROJ}1.weight"]
    assert bool((weight[..., 0, 0] == 0).all()) == (mode == "ptt")


def test_zero_corners_stay_zero_and_are_stored_so(tiny: Path) -> None:
    snnq.decompose(tiny, mode="ptt", rank="4", merge=True, out="merged.safetensors")
    snnq.ptq("merged.safetensors", scheme="uniform-4", method="rtn", samples=16, storage="fixed", out="packed")
    assert snnq.verify("packed")
    arrays = open_arrays("packed")
    for name in (f"{PROJ}1", f"{PROJ}2", f"{PROJ}3", "patch_embed.rpe_conv"):
        weight = arrays.scheme(name).weight(arrays.stored(name)).reshape(arrays.layer(name).shape)
        assert not weight[..., ::2, ::2].any()
        assert weight[..., 1, :].any()
    with safe_open("packed/model.safetensors", "np") as file:
        assert f"{PROJ}3.weight_mask" in file.keys()  # noqa: SIM118


def open_weights(path: Path) -> int:
    return snnq.uniform_plan("uniform-4", checkpoint=path).totals.weights


def test_htt_has_two_kernels(tiny: Path) -> None:
    found = snnq.decompose(tiny, mode="htt", rank="4", out="h.safetensors")
    snnq.decompose(tiny, mode="ptt", rank="4", out="p.safetensors")
    assert found.macs_after < snnq.decompose(tiny, mode="ptt", rank="4", out="q.safetensors").macs_after
    model = load_model(open_checkpoint("h.safetensors"))
    module = model.get_submodule(f"{PROJ}1")
    assert isinstance(module, Factored)
    assert (module.steps, module.switch) == (2, 1)
    x = torch.randn(2 * 3, 2, 8, 8, generator=torch.Generator().manual_seed(0))  # two steps of a batch of three
    cores = dict(module.named_children())
    inner = cores["reduce"](x)
    with torch.no_grad():
        first = cores["expand"](cores["vertical"](inner[:3]) + cores["horizontal"](inner[:3]))
        torch.testing.assert_close(module(x), torch.cat([first, cores["expand"](inner[3:])]))
    with pytest.raises(UsageError, match="has one kernel in its first steps and another one later"):
        snnq.decompose("h.safetensors", merge=True, out="m.safetensors")


@pytest.mark.parametrize("stride", [1, 2, (2, 1)])
def test_strides_stay_in_the_cores(stride: int | tuple[int, int]) -> None:
    from snnq.structure.cores import merge
    from snnq.structure.factored import factored, weights_of

    for mode in ("stt", "ptt", "svd"):
        torch.manual_seed(0)
        dense = torch.nn.Conv2d(5, 6, 3, stride, 1).double()
        model = factored(torch.nn.Sequential(dense), mode, {"0": 4})
        module, x = model.get_submodule("0"), torch.randn(2, 5, 7, 8, dtype=torch.float64)
        assert isinstance(module, Factored)
        due = torch.nn.functional.conv2d(x, merge(mode, weights_of(module)), dense.bias, dense.stride, 1)
        torch.testing.assert_close(module(x), due)


@pytest.mark.parametrize("name", ["sdt-dvs", "spikingformer-dvs", "qkformer-dvs", "maxformer-", "spikformer-imagenet"])
def test_every_architecture_has_layers_to_decompose(name: str, tmp_path: Path) -> None:
    name, sizes = small(next(one for one in ARCHITECTURES if one.startswith(name)))
    model = fill_model(build(name, sizes), 1)
    save_checkpoint(tmp_path / "a.safetensors", model, architecture=name, facts={})
    found = snnq.decompose(tmp_path / "a.safetensors", mode="stt", rank="4", out=tmp_path / "b.safetensors")
    assert found.weights_after < found.weights_before
    plan = snnq.uniform_plan("uniform-4", checkpoint=tmp_path / "b.safetensors")
    assert any(layer.name.endswith(".expand") and layer.input == "reals" for layer in plan.layers)


def test_every_command(tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def said(*words: str) -> dict:
        capsys.readouterr()
        assert run([*words, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    assert run(["decompose", TINY, "--mode", "htt", "--rank", "4", "--out", "d.safetensors"]) == 0
    assert "Left as it is: patch_embed.proj_conv, which is the first layer" in " ".join(capsys.readouterr().err.split())
    short = ["--epochs", "1", "--batch-size", "8"]
    found = said("inspect", "d.safetensors", "--graph")
    assert found["arithmetic"] == "integer"
    assert {one["name"]: one["input"] for one in found["layers"]}[f"{PROJ}1.vertical"] == "reals"
    assert {one["operation"] for one in found["graph"]["operations"]} >= {"first steps", "switch"}
    assert run(["search", "d.safetensors", "--method", "sensitivity", "--space", "uniform-2,uniform-4", *short]) == 0
    assert run(["finalize", "--plan", "plan.json", *short]) == 0
    results = json.loads((tmp_path / "packed/report.json").read_text())
    assert results["float_distance"]["samples"] > 0
    assert said("verify", "packed")
    found = [said("eval", "packed", "--engine", one) for one in ("torch", "integer")]
    assert found[0]["accuracy"] == found[1]["accuracy"] == results["accuracy"]["plan"]["test"]
    engines_agree(tmp_path / "packed", (2, 2, 8, 8), capsys)
    exits = [said("eval", "packed", "--engine", one, "--exit-entropy", "0.5") for one in ("torch", "integer")]
    assert exits[0]["exits"]["fixed"] == exits[1]["exits"]["fixed"]
    assert run(["export", "packed", "--to", "c", "--out", "c"]) == 2
    assert "a decomposed layer has another kernel after its first steps" in " ".join(capsys.readouterr().err.split())
    events = said("report", "packed", "--measure", "8")["event_energy"]["plan"]["layers"]
    by_name = {one["name"]: one for one in events}
    reals = {name for name, one in by_name.items() if one["multiplications"]} - {"head"}  # spikes are added
    assert {f"{PROJ}1.{core}" for core in ("vertical", "horizontal", "expand")} <= reals
    assert by_name[f"{PROJ}1.reduce"]["accumulates"] > 0
    assert all(name.rpartition(".")[2] in ("vertical", "horizontal", "expand") for name in reals)
    cores = {one["name"] for one in said("imc", "map", "packed")["unmapped"] if "real numbers" in one["why"]}
    assert cores == {one["name"] for one in said("accel", "packed")["outside"] if "real numbers" in one["what"]}
    assert len(cores) == 3 * 4 + 1  # and the head


def test_quantised_without_labels_and_in_c(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    snnq.decompose(tiny, mode="ptt", rank="4", out="d.safetensors")
    snnq.ptq("d.safetensors", scheme="uniform-4", method="rtn", samples=16, out="q")
    assert run(["export", "q", "--to", "c", "--out", "c"]) == 0
    assert Path("c/q.c").exists()


def test_cores_side_by_side_are_one_block(tiny: Path) -> None:
    """What the layer behind the first of them is given is not made of it, so that it would learn nothing."""
    snnq.decompose(tiny, mode="ptt", rank="4", layers=f"{PROJ}1", out="d.safetensors")
    words = {"method": "tesseraq", "steps_per_round": 1, "samples": 8, "batch_size": 8, "measure": 0}
    made = snnq.ptq("d.safetensors", scheme="power-of-two-3", **words, out="q", progress=snnq.silent)
    assert made.results.ptq is not None
    names = [one.block for one in made.results.ptq.blocks]
    assert names[1:4] == [f"{PROJ}1.reduce", f"{PROJ}1.vertical, {PROJ}1.horizontal", f"{PROJ}1.expand"]


def test_ranks_by_loss(tiny: Path) -> None:
    model = load_model(open_checkpoint(tiny))
    weight = model.get_submodule(f"{PROJ}3").get_parameter("weight")
    with torch.no_grad():
        left, values, right = torch.linalg.svd(weight.flatten(1), full_matrices=False)
        weight.copy_(((left[:, :2] * values[:2]) @ right[:2]).view_as(weight))  # of rank 2: nothing is lost by it
    save_checkpoint("two.safetensors", model, architecture="spikformer-cifar10dvs", facts={"data": DATA})
    found = snnq.decompose("two.safetensors", mode="svd", rank="loss:1.33", samples=32, out="d.safetensors")
    (made,) = found.layers
    assert (made.name, made.kept) == (f"{PROJ}3", pytest.approx(1))
    assert made.bonds[0] >= 2
    dense = 72 + 288 + 1152 + 2304
    assert found.weights_after <= found.weights_before - dense + dense / 1.33
    assert found.left[RPE] == "loses too much by being decomposed"
    for rank, said in {
        "loss:x": "--rank loss:x: it must be loss:TIMES",
        "loss:1": "--rank loss:1: it must be",
        "loss:60": "as svd these layers keep 1/",
    }.items():
        with pytest.raises(UsageError, match=said):
            snnq.decompose("two.safetensors", mode="svd", rank=rank, out="e.safetensors")
    with pytest.raises(UsageError, match="htt has two kernels, and losses are measured of one"):
        snnq.decompose("two.safetensors", mode="htt", rank="loss:2", out="e.safetensors")


def test_refusals(tiny: Path) -> None:
    def refused(**words: object) -> str:
        with pytest.raises(UsageError) as caught:
            snnq.decompose(tiny, out="x.safetensors", **words)
        return caught.value.message

    assert refused() == "--mode is missing"
    assert refused(mode="tt").startswith("--mode tt: it must be one of stt, ptt, htt, svd")
    assert refused(mode="stt", switch=1).startswith("--switch is for --mode htt")
    assert "switch 2: htt alone has one, of 1 to 1 of 2 steps" in refused(mode="htt", rank="2", switch=2)
    assert "no layer is decomposed; none of --layers head fits" in refused(mode="stt", layers="head")
    assert refused(merge=True).endswith("has no cores to merge")
    assert not Path("x.safetensors").exists()
    snnq.decompose(tiny, mode="svd", layers="block.*.mlp.*,head", rank="2", out="x.safetensors")
    plan = snnq.uniform_plan("uniform-4", checkpoint="x.safetensors")
    assert {one.name: one.group for one in plan.layers}["head.spatial"] == "head"
    with pytest.raises(OutputExistsError):
        snnq.decompose(tiny, mode="svd", rank="2", out="x.safetensors")


@pytest.mark.parametrize(
    "edit",
    [
        {"mode": "stt", "ranks": {PROJ: 0}},
        {"mode": "stt", "ranks": {PROJ: True}},
        {"mode": "stt", "ranks": {"nowhere": 2}},
        {"mode": "stt", "ranks": {"head": 2}},
        {"mode": "stt", "ranks": []},
        {"mode": "ztt", "ranks": {PROJ: 2}},
        {"mode": "htt", "ranks": {PROJ: 2}},
        {"mode": "stt", "ranks": {PROJ: 2}, "switch": 1},
        {"mode": "stt", "ranks": {"patch_embed": 2}},
    ],
)
def test_a_strangers_edit_is_refused(edit: dict) -> None:
    with pytest.raises(UsageError):
        build("spikformer-cifar10dvs", CONFIG | {"structure": [{"edit": "factored", **edit}]})


def test_a_pruned_model_is_refused(tiny: Path) -> None:
    snnq.prune(tiny, sparsity=0.5, rounds=0, out="pruned.safetensors")
    with pytest.raises(UsageError, match="of its layers are pruned"):
        snnq.decompose("pruned.safetensors", mode="stt", rank="2", out="d.safetensors")


def test_cores_would_lose_quantised_activations() -> None:
    layer = torch.nn.Conv2d(4, 4, 3, padding=1)
    assert unfit(layer, "svd") is None
    setattr(layer, INPUT_BITS, 4)  # as the edit "activations" leaves it
    assert str(unfit(layer, "svd")).startswith("has quantised activations")


def test_cores_whose_channels_are_pruned_become_dense_again(tiny: Path) -> None:
    snnq.decompose(tiny, mode="svd", rank="ratio:2", out="d.safetensors")
    snnq.prune("d.safetensors", structure="channels", sparsity=0.3, rounds=0, out="c.safetensors")
    snnq.decompose("c.safetensors", merge=True, out="m.safetensors")
    edits = [one["edit"] for one in open_checkpoint("m.safetensors").config["structure"]]
    assert edits == ["narrowed"]
    torch.testing.assert_close(logits("m.safetensors"), logits("c.safetensors"))
    snnq.prune("d.safetensors", sparsity=0.5, rounds=0, out="p.safetensors")
    with pytest.raises(UsageError, match="whose zeros a merged weight would not keep") as caught:
        snnq.decompose("p.safetensors", merge=True, out="n.safetensors")
    assert caught.value.hint == "merge first, then prune"
