"""Every architecture's graph computes what its model does, to the last bit, and nothing less than it does."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small_architectures import NAMES, small
from torch import nn

from snnq.base.errors import VerificationError
from snnq.checkpoints.opening import save_checkpoint
from snnq.cli.main import run
from snnq.models.registry import architecture
from snnq.network.combining import Pool
from snnq.network.graph import Graph, Operation
from snnq.network.graph_check import check_graph, run_graph
from snnq.network.operations import Attention, LayerOperation, Neuron
from snnq.network.streams import LOGITS
from snnq.structure.edits import structure_key


def made(name: str) -> tuple[Graph, nn.Module, torch.Tensor]:
    """A model whose neurons fire, its graph, and counts for it."""
    one, sizes = architecture(small(name)[0]), small(name)[1] | {"steps": 4}
    sizes |= {"image_size": [32, 32]} | ({"key_stride": 2} if sizes.get("key_stride") else {})
    with torch.random.fork_rng():
        torch.manual_seed(1)
        frames = torch.poisson(torch.rand(3, 4, 2, 32, 32) * 4 * torch.rand(3, 1, 2, 1, 1))
        model = one.build(sizes)
        for norm in [norm for norm in model.modules() if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d)]:
            norm.momentum = None
            torch.nn.init.constant_(norm.weight, 2.0)
            torch.nn.init.normal_(norm.bias, 0.3, 0.5)
        with torch.no_grad():
            model.train()(frames)  # norms are estimated
        model.eval()
        torch.nn.init.normal_(model.get_submodule("head").get_parameter("bias"))
    own: Any = model.config
    graph = one.graph(own.to_dict() | structure_key(model))
    assert graph is not None
    return graph, model, frames


@pytest.mark.parametrize("name", NAMES)
def test_a_graph_gives_its_models_logits(name: str) -> None:
    graph, model, frames = made(name)
    streams = run_graph(graph, model, frames)
    with torch.no_grad():
        due = model(frames)
    if name.startswith("respike"):  # means over pixels, steps and segments in another order
        torch.testing.assert_close(streams[LOGITS], due)
        assert (check_graph(graph, model, frames) > 100) == any(isinstance(one, Neuron) for one in graph.operations)
    else:
        assert torch.equal(streams[LOGITS], due)
    assert bool((due != due[:1]).any())
    norms = [path for path, one in model.named_modules() if isinstance(one, nn.BatchNorm1d | nn.BatchNorm2d)]
    assert sorted(path for one in graph.operations if isinstance(one, LayerOperation) for path in one.norms) == sorted(
        norms
    )
    for one in graph.operations:
        found, says = streams[one.gives], graph.streams[one.gives]
        if one.gives != LOGITS:
            assert tuple(found.shape[2:]) == (says.channels, *says.size), one
        if says.bound is not None and says.kind != "codes":  # of which floats are made by the layer that has them
            whole = found.double() / says.unit * says.parts
            assert torch.allclose(whole, whole.round(), atol=1e-3), one
            assert float(whole.min()) >= (-says.bound if says.kind == "pixels" else 0), one
            assert float(whole.max()) <= says.bound, one
    fired = [float(streams[one.gives].mean()) for one in graph.operations if isinstance(one, Neuron)]
    assert not fired or sorted(fired)[len(fired) // 4] > 0


def _otherwise(one: Operation) -> Operation:
    """Another operation of the same shape."""
    if isinstance(one, Neuron):
        return one
    if isinstance(one, Attention):
        return replace(one, scale=one.scale / 4)
    return replace(one, heads=1) if isinstance(one, Pool) and one.heads else one


@pytest.mark.parametrize("name", ["spikformer-cifar10", "sdt-dvs"])
def test_a_graph_that_says_something_else_is_found_out(name: str) -> None:
    graph, model, frames = made(name)
    assert check_graph(graph, model, frames) > 100
    other = replace(graph, operations=tuple(map(_otherwise, graph.operations)))
    assert other != graph
    with pytest.raises(VerificationError, match="the graph's logits differ from the model's by up to"):
        check_graph(other, model, frames)


def test_inspect_shows_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph, model, _ = made("sdt-dvs")
    path = str(tmp_path / "sdt.safetensors")
    save_checkpoint(Path(path), model, architecture="sdt-dvs", facts={})
    assert run(["inspect", path, "--graph", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["graph"]
    assert [one["gives"] for one in found["operations"]] == [one.gives for one in graph.operations]
    assert found["streams"]["patch_embed"]["kind"] == "reals"
    assert found["checked_spikes"] > 0
    assert run(["inspect", path, "--graph", "--format", "markdown"]) == 0
    text = capsys.readouterr().out
    for words in ("block.0.attn.talking", "sum over tokens", "fixed point from sums", "sums compared"):
        assert words in text
    assert run(["inspect", path, "--json"]) == 0
    assert "graph" not in json.loads(capsys.readouterr().out)
