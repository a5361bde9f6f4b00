"""``--to nir``: the graph that is read back computes the same spikes, step by step, and says what it leaves out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from lively import write_lively
from packed_samples import MIXED
from torch.nn import functional as F

import snnq
from snnq.exporting.source import Source, read_source
from snnq.exporting.to_nir import fold, missing
from snnq.network.tracing import trace
from snnq.packed.loading import load_packed


def test_folding_rounds_once(source: Source) -> None:
    for stage in trace(source.model, source.norms, source.frames_shape):
        if not stage.layer:
            continue
        found, layer = fold(source.model, stage), source.model.get_submodule(stage.layer)
        weight = layer.get_parameter("weight").numpy()
        if stage.norm is None:
            assert np.array_equal(found.weight, weight)
            continue
        assert found.multiplier is not None
        exact = np.array([w.astype("f8") * float(m) for w, m in zip(weight, found.multiplier, strict=True)])
        assert np.array_equal(found.weight, exact.astype("f4"))
        assert np.array_equal(found.bias, source.model.get_submodule(stage.norm).get_buffer("offset").numpy())


def test_the_list_of_what_nir_cannot_say() -> None:
    text = " ".join(missing())
    for word in ("Max-pooling", "attention product", "Residual sums", "mean", "Number formats"):
        assert word in text


def simulate(graph, edges, name: str, given: torch.Tensor) -> torch.Tensor:
    """Run one piece up to an output by NIR's equations, forward Euler, 1 ms a step; given (T, B, …) channels first."""
    import nir  # pyright: ignore[reportMissingImports]

    chain, node = [], next(a for a, b in edges if b == f"output.{name}")
    while not isinstance(graph.nodes[node], nir.Input):
        chain.append(node)
        node = next(a for a, b in edges if b == node)
    x = given
    for node in reversed(chain):
        x = step(graph.nodes[node], x)
    return x


def step(node, x: torch.Tensor) -> torch.Tensor:
    kind = type(node).__name__
    if kind == "LIF":
        tau, r, leak, threshold, reset = (
            torch.from_numpy(np.asarray(part))
            for part in (node.tau, node.r, node.v_leak, node.v_threshold, node.v_reset)
        )
        v, spikes = torch.zeros_like(x[0]), []
        for current in x:
            v = v + 1 / tau * ((leak - v) + r * current)
            spikes.append((v > threshold).float())
            v = torch.where(v > threshold, reset, v)
        return torch.stack(spikes)
    weight, bias = torch.from_numpy(node.weight), torch.from_numpy(node.bias)
    if kind == "Affine":
        return F.linear(x, weight, bias)
    run = F.conv2d if kind == "Conv2d" else F.conv1d
    plain = {key: np.asarray(getattr(node, key)).tolist() for key in ("stride", "padding", "dilation")}
    return run(x.flatten(0, 1), weight, bias, **plain, groups=int(node.groups)).unflatten(0, x.shape[:2])


def watch(model: torch.nn.Module, frames: torch.Tensor) -> dict[str, torch.Tensor]:
    seen: dict[str, torch.Tensor] = {}
    for name, module in model.named_modules():
        module.register_forward_hook(lambda _, i, o, name=name: seen.update({f"{name}<": i[0], f"{name}>": o}))
    with torch.no_grad():
        model(frames)
    return seen


@pytest.mark.exchange
@pytest.mark.parametrize("layout", ["cifar10dvs", "cifar10", "imagenet"])
def test_the_spikes_are_the_models(tmp_path: Path, layout: str) -> None:
    import nir  # pyright: ignore[reportMissingImports]

    folder = tmp_path / "packed"
    given = torch.from_numpy(write_lively(folder, list(MIXED), layout).astype(np.float32))
    found, source = snnq.export(folder, "nir"), read_source(folder)
    graph = nir.read(found.out)
    model = load_packed(folder, "float")
    seen, rates = watch(model, given), {}
    stages = {stage.name: stage for stage in trace(source.model, source.norms, source.frames_shape)}
    for stage in stages.values():
        first = stage
        while first.source:
            first = stages[first.source]
        fed = seen[f"{first.name}<"]
        fed = fed if first.layer is None else fed.unflatten(0, (3, 2)) if stage.name != "head" else fed[None]
        due = seen[f"{stage.neuron or stage.layer}>"]
        due = due if stage.neuron else due[None]
        linear = layout == "cifar10" and "block" in stage.name
        fed, due = (part.transpose(-1, -2) if linear else part for part in (fed, due))
        got = simulate(graph, graph.edges, stage.name, fed)
        if stage.neuron:
            assert torch.equal(got, due), stage.name
            rates[stage.name] = float(due.mean())
        else:
            torch.testing.assert_close(got, due)
    fired = [rate for name, rate in rates.items() if stages[name].layer]
    assert 0.05 < min(fired) <= max(fired) < 0.6


@pytest.mark.exchange
def test_what_is_in_the_file(folder: Path) -> None:
    import nir  # pyright: ignore[reportMissingImports]

    graph = nir.read(snnq.export(folder, "nir").out)
    node = graph.nodes["patch_embed.proj_conv"]
    assert (node.metadata["scheme"], int(node.metadata["bits"])) == ("uniform-4", 4)
    assert tuple(node.output_type["output"]) == (2, 16, 16)
    lif = graph.nodes["block.0.attn.attn_lif"]
    assert float(lif.metadata["theta"]) == 0.5
    assert set(lif.tau.ravel()) == {2.0}
    assert set(lif.v_threshold.ravel()) == {np.nextafter(np.float32(0.5), np.float32(0))}
    assert ("block.0.attn.attn_lif", "block.0.attn.proj") in graph.edges
    for word in ("units", "threshold", "not_in_it", "architecture"):
        assert graph.metadata[word]
    assert "attention product" in graph.metadata["not_in_it"]


@pytest.mark.exchange
def test_at_the_threshold_a_neuron_spikes(folder: Path) -> None:
    """h ≥ θ in snnq; NIR asks v > v_threshold, which is the number just below θ."""
    import nir  # pyright: ignore[reportMissingImports]

    graph = nir.read(snnq.export(folder, "nir").out)
    node = graph.nodes["head"], graph.nodes["patch_embed.proj_lif"]
    currents = torch.tensor([2.0, np.nextafter(np.float32(2), np.float32(0))])[:, None, None, None, None]
    currents = currents.expand(2, 1, *node[1].tau.shape)
    assert step(node[1], currents[:1]).all()
    assert not step(node[1], currents[1:]).any()
