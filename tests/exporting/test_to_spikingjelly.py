"""``--to spikingjelly``: SpikingJelly's own class loads it strictly and gives our logits; other models are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from spikingjelly.activation_based.model.spikformer import Spikformer
from torch import Tensor, nn

import snnq
from snnq.base.errors import UsageError, VerificationError
from snnq.checkpoints.opening import load_model, open_checkpoint
from snnq.cli.main import run
from snnq.cost.table import read_table
from snnq.exporting import to_spikingjelly
from snnq.models.registry import architecture
from snnq.network.folding import fold_batchnorm
from snnq.network.layers import frames_shape, layer_table
from snnq.packed.coding import Coded
from snnq.packed.folder import write_packed
from snnq.plan import DataInfo, ModelInfo, make_plan
from snnq.schemes.scheme import scheme

NAME = "spikformer-spikingjelly"
# 16 channels a head and 16 tokens: the attention's sums reach its threshold.
SIZES: dict[str, Any] = {"dim": 32, "depth": 2, "heads": 2, "steps": 4, "classes": 5, "image_size": [16, 16]}
SCHEMES = ("uniform-4", "power-of-two-4", "uniform-2", "float32", "power-of-two-2")


@torch.no_grad()
def packed(folder: Path, seed: int = 0, name: str = NAME, **changes: Any) -> Path:
    """Write a packed folder of a random model that fires, its layers in different schemes."""
    one = architecture(name)
    config = one.default_config() | SIZES | changes
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = one.build(config).train()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.momentum = None
                module.weight.uniform_(-1.5, 2.0)
                module.bias.normal_(0.8, 0.4)
        model(torch.poisson(torch.full((4, *frames_shape(config)), 0.5)))
    table = layer_table(model, frames_shape(config))
    chosen = {layer.name: SCHEMES[i % len(SCHEMES)] for i, layer in enumerate(table)}
    folded, coded = fold_batchnorm(model, one.wiring(config).norms), {}
    for layer, which in chosen.items():
        form, weight = scheme(which), folded.get_submodule(layer).get_parameter("weight")
        if not form.is_float:
            params = form.stored(form.fit(weight))
            coded[layer] = Coded(which, form.encode(weight, params), params)
            weight.copy_(form.decode(coded[layer].codes, params).view_as(weight))
    info = ModelInfo(architecture=name, layout=one.layout, config=config)
    data = DataInfo(spec="random", sha256="0" * 64, classes=tuple("abcde"))
    plan = make_plan(table, chosen, model=info, data=data, table=read_table("horowitz-45nm"))
    write_packed(folder, model=folded, plan=plan, layers=coded, results={"schema_version": 1})
    return folder


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packed(tmp_path_factory.mktemp("small") / "packed")


def frames(steps: int = 4, channels: int = 3, side: int = 16) -> Tensor:
    draw = torch.Generator().manual_seed(3)
    return torch.poisson(torch.full((3, steps, channels, side, side), 0.6), generator=draw)


@pytest.mark.parametrize(
    ("changes", "patch"),
    [({}, 4), ({"in_channels": 2, "mlp_ratio": 2.0, "image_size": [64, 64], "pooling": [True] * 4, "depth": 1}, 16)],
)
@torch.no_grad()
def test_spikingjelly_loads_it_strictly_and_gives_our_logits(
    changes: dict[str, Any], patch: int, tmp_path: Path
) -> None:
    folder = packed(tmp_path / "packed", **changes)
    found = snnq.export(folder, "spikingjelly")
    assert found.out == f"{folder}-spikingjelly.safetensors"
    sizes = SIZES | {"in_channels": 3, "mlp_ratio": 4.0} | changes
    height, width = sizes["image_size"]
    theirs = Spikformer(
        T=4,
        in_channels=sizes["in_channels"],
        img_size_h=height,
        img_size_w=width,
        patch_size=patch,
        num_classes=5,
        embed_dims=32,
        num_heads=2,
        mlp_ratio=sizes["mlp_ratio"],
        depths=sizes["depth"],
    ).eval()
    theirs.load_state_dict(load_file(found.out), strict=True)
    ours, x = snnq.load_packed(folder, "float"), frames(4, sizes["in_channels"], height)
    rates: list[float] = []
    ours.get_submodule("block.0.attn.attn_lif").register_forward_hook(
        lambda _module, _args, spikes: rates.append(float(spikes.mean()))
    )
    logits = ours(x)
    assert 0.01 < rates[0] < 0.99
    torch.testing.assert_close(theirs(x.transpose(0, 1)).mean(0), logits, rtol=0, atol=1e-5)
    decoded: list[torch.Tensor] = [ours.get_submodule(f"block.0.attn.{name}").get_parameter("weight") for name in "qkv"]
    assert torch.equal(load_file(found.out)["blocks.0.attn.qkv_conv_bn.0.weight"], torch.cat(decoded))
    with safe_open(found.out, framework="pt") as file:
        assert json.loads(file.metadata()["spikformer"])["patch_size"] == patch


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("sdt-spikingjelly", {"pooling": [False, True, False, True]}, "SpikeDrivenTransformer(T=4"),
        ("qkformer-spikingjelly", {"depth": 4, "heads": [1, 2, 2]}, "num_heads=(1, 2, 2), depths=(1, 2, 1)"),
        ("qkformer-spikingjelly-channel", {"depth": 3, "early": [1, 1]}, "qka_type='channel'"),
        ("maxformer-spikingjelly", {"depth": 4, "heads": 1}, "MaxFormer(T=4"),
        ("maxformer-cifar10", {"depth": 3, "dim": 64, "heads": 8}, "cifar=True"),
    ],
)
def test_its_other_models(name: str, changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    """The export itself loads the file into their class and compares weights and logits."""
    folder = packed(tmp_path / "packed", name=name, **changes)
    found = snnq.export(folder, "spikingjelly")
    assert said in found.notes[0]
    given: dict[str, Any] = {"architecture": name, "steps": 4, "image_size": (16, 16)}
    given |= {key: changes[key] for key in ("heads", "pooling") if key in changes and "maxformer" not in name}
    given |= {"heads": 2} if "heads" not in changes else {}
    given = {key: tuple(value) if isinstance(value, list) else value for key, value in given.items()}
    opened = open_checkpoint(found.out, **given)
    x = frames()
    with torch.no_grad():
        torch.testing.assert_close(load_model(opened)(x), snnq.load_packed(folder, "float")(x), rtol=0, atol=1e-5)


@torch.no_grad()
def test_snnq_opens_what_it_wrote(small: Path, tmp_path: Path) -> None:
    out = snnq.export(small, "spikingjelly", out=tmp_path / "out.safetensors").out
    opened = open_checkpoint(out, steps=4, heads=2, image_size=(16, 16), pooling=(False, False, True, True))
    x = frames()
    torch.testing.assert_close(load_model(opened)(x), snnq.load_packed(small)(x), rtol=0, atol=1e-5)


def test_the_command_says_how_to_load_it(small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    typed = ["export", str(small), "--to", "spikingjelly", "--out", str(tmp_path / "out.safetensors")]
    assert run(typed) == 0
    shown = capsys.readouterr()
    assert "blocks.1.attn.qkv_conv_bn.0.weight" in shown.out.replace("\n", "")
    said = " ".join(shown.err.split())
    assert "Spikformer(T=4, in_channels=3, img_size_h=16, img_size_w=16, patch_size=4, num_classes=5," in said
    assert "their mean over T is what snnq puts out" in said
    assert run(typed) == 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "spikformer-cifar10"}, "spikformer-cifar10 is none of SpikingJelly's own models"),
        ({"chunk": 2}, "its chunk is 2"),
        ({"attention_scale": 0.25}, "its attention_scale is 0.25"),
        ({"pooling": [False, True, True, True]}, "its pooling is"),
    ],
)
def test_what_spikingjelly_cannot_be_is_refused(changes: dict[str, Any], words: str, tmp_path: Path) -> None:
    name = changes.pop("name", NAME)
    config = architecture(name).config(SIZES | {"heads": 1} | changes).to_dict()
    with pytest.raises(UsageError, match=words):
        to_spikingjelly.constructor_arguments(tmp_path, name, config)


@pytest.mark.parametrize("ratio", [2.3, 0.7, 1 / 3])  # SpikingJelly rounds 16 · 2.3 down, snnq to the nearest
def test_hidden_features_of_any_ratio_are_as_many_there(ratio: float, tmp_path: Path) -> None:
    config: Any = architecture(NAME).config(SIZES | {"dim": 48, "heads": 1, "mlp_ratio": ratio})
    arguments: dict[str, Any] = to_spikingjelly.constructor_arguments(tmp_path, NAME, config.to_dict())
    with torch.device("meta"):
        assert Spikformer(**arguments).get_parameter("blocks.0.mlp.fc1.0.weight").shape[0] == config.hidden


def test_other_logits_are_not_kept(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = to_spikingjelly.constructor_arguments
    monkeypatch.setattr(to_spikingjelly, "constructor_arguments", lambda *given: right(*given) | {"num_heads": 16})
    with pytest.raises(VerificationError, match="SpikingJelly's logits are others"):
        snnq.export(small, "spikingjelly", out=tmp_path / "out.safetensors")
    assert list(tmp_path.iterdir()) == []
