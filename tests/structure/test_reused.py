"""An attention that reuses the spikes of the one before: what it computes, in a model, a graph and every engine."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lively import wake, write_lively
from small_architectures import small
from torch import Tensor, nn

from snnq.base.errors import UsageError
from snnq.models.registry import architecture, attention_table, build
from snnq.network.graph_check import check_graph
from snnq.network.layers import layer_table
from snnq.network.operations import Attention, Neuron
from snnq.network.replay import find_layout
from snnq.packed.loading import load_packed
from snnq.runtime import Engine
from snnq.runtime.reference import Reference
from snnq.structure.edits import apply_edits

DVS = "spikformer-cifar10dvs"
SIZES: dict[str, Any] = {"in_channels": 2, "image_size": [8, 8], "dim": 16, "depth": 3, "heads": 2, "steps": 4}
SIZES |= {"classes": 3, "pooling": [False, False, True, True]}
CHAIN = {"block.2.attn": "block.1.attn", "block.1.attn": "block.0.attn"}


def edit(attentions: dict[str, str]) -> dict[str, Any]:
    return {"edit": "reused", "attentions": attentions}


def frames_of(sizes: dict[str, Any], samples: int = 3) -> Tensor:
    draw = torch.Generator().manual_seed(5)
    shape = (samples, sizes["steps"], sizes["in_channels"], *sizes["image_size"])
    return torch.poisson(torch.full(shape, 0.7), generator=draw)


def seen(model: nn.Module, names: list[str], frames: Tensor) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    hooks = [
        model.get_submodule(name).register_forward_hook(lambda _, __, out, name=name: found.update({name: out}))
        for name in names
    ]
    with torch.no_grad():
        model(frames)
    for hook in hooks:
        hook.remove()
    return found


def lively(sizes: dict[str, Any] = SIZES, **more: Any) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(2)
        return wake(build(DVS, {**sizes, **more}), frames_of(sizes, 8))


def test_a_block_of_hand_made_weights_is_the_equation() -> None:
    """LIF(norm(W A)) by an oracle in numpy: leak ½, threshold 1, reset to 0."""
    model = apply_edits(lively(), [edit({"block.1.attn": "block.0.attn"})]).double()
    block = model.get_submodule("block.1.attn")
    draw = np.random.default_rng(0)
    weight, gain, shift = draw.normal(0, 0.4, (16, 16)), draw.uniform(0.5, 2, 16), draw.normal(0.5, 0.5, 16)
    mean, variance = draw.normal(0, 0.3, 16), draw.uniform(0.2, 1, 16)
    with torch.no_grad():
        block.get_parameter("reuse.weight").copy_(torch.from_numpy(weight)[..., None])
        for name, values in (("weight", gain), ("bias", shift), ("running_mean", mean), ("running_var", variance)):
            getattr(block.get_submodule("reuse_bn"), name).copy_(torch.from_numpy(values))
    names = ["block.0.attn.attn_lif", "block.1.attn.reuse_lif", "block.1.attn.proj"]
    found = seen(model, names, frames_of(SIZES).double())
    given = found[names[0]].numpy()  # (T, B, C, N)
    column = (1, 1, 16, 1)
    currents = np.einsum("oc,tbcn->tbon", weight, given) - mean.reshape(column)
    currents = currents / np.sqrt(variance.reshape(column) + 1e-5) * gain.reshape(column) + shift.reshape(column)
    voltage, due = np.zeros_like(currents[0]), np.zeros_like(currents)
    for t, current in enumerate(currents):
        voltage = voltage + (current - voltage) / 2
        due[t] = voltage >= 1
        voltage = voltage * (1 - due[t])
    assert np.array_equal(found[names[1]].numpy(), due)
    assert 0.05 < due.mean() < 0.95
    assert not np.array_equal(due, given)


def test_before_training_spikes_pass_along_a_chain_and_nothing_else_of_the_attention_is_left() -> None:
    model = apply_edits(lively(), [edit(CHAIN)])
    found = seen(model, [f"block.{i}.attn.{'attn' if i == 0 else 'reuse'}_lif" for i in range(3)], frames_of(SIZES))
    first, *others = found.values()
    assert 0 < float(first.mean()) < 1
    assert all(torch.equal(first, one) for one in others)
    names = {name for name, _ in model.get_submodule("block.2.attn").named_children()}
    assert names == {"reuse", "reuse_bn", "reuse_lif", "proj", "proj_bn", "proj_lif"}
    table = {one.name: one for one in layer_table(model, (4, 2, 8, 8))}
    assert (table["block.2.attn.reuse"].group, table["block.2.attn.reuse"].input) == ("attention", "spikes")
    assert [one.name for one in attention_table(DVS, {**SIZES, "structure": [edit(CHAIN)]})] == ["block.0.attn"]


def test_gradients_reach_the_attention_that_is_reused_and_the_model_can_be_copied_afterwards() -> None:
    model = apply_edits(lively(), [edit(CHAIN)]).train()
    model(frames_of(SIZES)).square().sum().backward()
    for name in ("block.0.attn.q", "block.1.attn.reuse", "block.2.attn.reuse"):
        gradient = model.get_parameter(f"{name}.weight").grad
        assert gradient is not None
        assert float(gradient.abs().sum()) > 0
    copy = deepcopy(model).eval()
    with torch.no_grad():
        assert torch.equal(copy(frames_of(SIZES)), model.eval()(frames_of(SIZES)))
        next(copy.parameters()).add_(1)  # the copy passes spikes of its own
        assert not torch.equal(copy(frames_of(SIZES)), model(frames_of(SIZES)))


ARCHITECTURES = {
    "spikformer-cifar10dvs": ("block.{}.attn", 4),
    "spikformer-cifar10": ("block.{}.attn", 4),
    "spikformer-cifar10, chunked": ("block.{}.attn", 4),
    "statten-static": ("block.{}.attn", 4),
    "spikingformer-dvs": ("block.{}.attn", 4),
    "qkformer-cifar10": ("stage3.{}.ssa", 6),
    "maxformer-cifar10": ("stage3.{}.attn", 6),
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_graph_of_every_architecture_follows_the_edit(name: str) -> None:
    one, sizes = architecture(small(name)[0]), small(name)[1] | {"steps": 4}
    pattern, sizes["depth"] = ARCHITECTURES[name]
    paths = [pattern.format(index) for index in range(4)]
    structure = [edit({paths[3]: paths[2], paths[1]: paths[0]})]
    config = {**sizes, "structure": structure}
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = wake(one.build(config), frames_of(sizes))
    for reused in (paths[1], paths[3]):  # so that its layer matters
        layer = next(part for key, part in model.get_submodule(reused).named_children() if key.startswith("reuse"))
        torch.nn.init.normal_(layer.get_parameter("weight"), 0.2, 0.5, generator=torch.Generator().manual_seed(1))
    graph = one.graph(config)
    assert graph is not None
    assert check_graph(graph, model, frames_of(sizes)) > 100
    neurons = {path for path, module in model.named_modules() if hasattr(module, "v_threshold")}
    assert {each.neuron for each in graph.operations if isinstance(each, Neuron)} == neurons
    mixing = [each.module for each in graph.operations if isinstance(each, Attention)]
    assert [path for path in paths if path in mixing] == [paths[0], paths[2]]


@pytest.mark.parametrize("name", ["spikformer-cifar10dvs", "spikformer-cifar10", "spikingformer-dvs"])
def test_every_engine_gives_the_same_bits(name: str, tmp_path: Path) -> None:
    attentions = {"block.1.attn": "block.0.attn", "block.2.attn": "block.1.attn"}
    sizes: dict[str, Any] = {"depth": 3, "structure": [edit(attentions)]}
    frames = write_lively(tmp_path / "packed", ["uniform-4", "power-of-two-4", "ternary"], name, seed=4, **sizes)
    model = load_packed(tmp_path / "packed")
    assert model.arithmetic == "integer"
    with torch.no_grad():
        due = model(torch.from_numpy(frames.astype(np.float32))).numpy()
    assert np.ptp(due) > 0
    assert np.array_equal(Engine(tmp_path / "packed")(frames), due)
    assert np.array_equal(Reference(tmp_path / "packed")(frames), due)


def test_a_block_is_never_reconstructed_without_the_one_whose_spikes_it_takes() -> None:
    groups = {one.name: one.group for one in layer_table(lively(), (4, 2, 8, 8))}
    assert len(find_layout(lively(), groups, frames_of(SIZES)).blocks) > 1
    model = apply_edits(lively(), [edit(CHAIN)])
    groups = {one.name: one.group for one in layer_table(model, (4, 2, 8, 8))}
    assert len(find_layout(model, groups, frames_of(SIZES)).blocks) == 1


@pytest.mark.parametrize(
    ("name", "attentions", "said"),
    [
        (DVS, {}, "one by the name of another is wanted"),
        (DVS, {"block.9.attn": "block.0.attn"}, r"'block.9.attn' is no attention .* mean 'block"),
        (DVS, {"block.1.mlp": "block.0.attn"}, "'block.1.mlp' is no attention that can be reused"),
        (DVS, {"block.0.attn": "block.1.attn"}, "'block.1.attn' does not run before 'block.0.attn'"),
        (DVS, {"block.0.attn": "block.0.attn"}, "does not run before"),
        (DVS, {"block.1.attn": "block.0.attn", "block.2.attn": "block.0.attn"}, "its spikes are passed on already"),
        ("sdt-static", {"block.1.attn": "block.0.attn"}, "it multiplies no matrices"),
        ("statten-dvs", {"block.1.attn": "block.0.attn"}, "its projection takes sums of spikes"),
    ],
)
def test_what_cannot_be_is_refused(name: str, attentions: dict[str, str], said: str) -> None:
    sizes = {**SIZES, "chunk": 2} if name == "statten-dvs" else SIZES
    with pytest.raises(UsageError, match=said):
        apply_edits(build(name, sizes), [edit(attentions)])


def test_a_second_edit_cannot_take_spikes_away() -> None:
    model = apply_edits(lively(), [edit({"block.2.attn": "block.1.attn"})])
    with pytest.raises(UsageError, match="it reuses spikes already"):
        apply_edits(model, [edit({"block.2.attn": "block.0.attn"})])
    with pytest.raises(UsageError, match="its own spikes are reused already"):
        apply_edits(model, [edit({"block.1.attn": "block.0.attn"})])
