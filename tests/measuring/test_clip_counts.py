"""Clips whose spiking part runs segment by segment: every counter counts what really ran, and a sample is a clip."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lively import wake
from small_architectures import small
from torch import Tensor, nn
from two_layers import data_of

from snnq.assessing.accel import _Running
from snnq.assessing.arrays import array_facts
from snnq.assessing.recording import recording
from snnq.assessing.silence import Firing, Profile, firing_of, together
from snnq.assessing.watching import watching
from snnq.base.progress import silent
from snnq.hardware.crossbars.mapped import at_steps, map_model
from snnq.hardware.crossbars.target import read_target
from snnq.hardware.machine import read_machine
from snnq.hardware.simulate import run_layer
from snnq.hardware.traffic import weight_bits
from snnq.models.registry import attention_table, build
from snnq.network.layers import layer_table
from snnq.network.neurons import is_neuron
from snnq.network.tracing import seeing
from snnq.structure.factored import factored

# (T, S): n segments of S − 1 steps; as many segments as steps in all of them where S is 2.
CUTS = [(6, 3), (8, 4), (4, 2)]


def awake(name: str, steps: int, stride: int) -> tuple[Any, tuple[Any, ...], Any]:
    """Return a model whose neurons fire, its layers, and random clips (3, T, C, H, W)."""
    name, sizes = small(name)
    torch.manual_seed(0)
    model = build(name, sizes | {"steps": steps, "key_stride": stride})
    frames = np.random.default_rng(0).integers(0, 5, (3, steps, 2, 26, 32)).astype(np.uint8)
    wake(model, torch.from_numpy(frames).float())
    return model, layer_table(model, (steps, 2, 26, 32), reals=True), frames


@torch.no_grad()
def called(model: Any, modules: dict[str, nn.Module], frames: Any) -> dict[str, tuple[Tensor, Tensor]]:
    """Return what every module is given and gives on one clip."""
    found: dict[str, tuple[Tensor, Tensor]] = {}
    with seeing(modules, lambda name, _, given, output: found.update({name: (given[0], output)})):
        model(torch.from_numpy(frames[:1]).float())
    return found


@pytest.mark.parametrize(("steps", "stride"), CUTS)
def test_every_segment_has_steps_of_its_own_and_weights_come_once(steps: int, stride: int) -> None:
    model, layers, frames = awake("respike-residual", steps, stride)
    spiking = {one.name: model.get_submodule(one.name) for one in layers if one.input == "spikes"}
    with torch.no_grad():
        for one in spiking.values():
            one.weight[one.weight.abs() < 0.02] = 0
    with recording(model, layers, {one.name: "uniform-4" for one in layers}, steps) as record:
        seen = called(model, spiking, frames)
    loas, segments = read_machine("loas"), steps // stride
    for name, layer in spiking.items():
        calls, given = record.operands[name], seen[name][0].unflatten(0, (stride - 1, segments))
        assert [one.planes.shape[1] for one in calls] == [stride - 1] * segments
        for place, one in enumerate(calls):
            assert np.array_equal(one.planes[0], given[:, place].bool().numpy())
        run = run_layer(loas, calls, record.outputs.get(name, ()))
        # A word of the spikes of a segment (three steps at most, of four lanes) is added once.
        words = given.any(0).float()
        assert words.any()
        adds = F.conv2d(words, (layer.weight != 0).float(), None, layer.stride, layer.padding).sum()
        assert run.counts.accumulates == int(adds)
        assert 8 * run.traffic.weights == weight_bits(loas, calls[0].mask[0], 4)
    assert set(record.outside) == {one.name for one in layers} - set(spiking)


def test_cores_of_the_first_steps_alone_are_watched_step_by_step() -> None:
    """htt: two of four steps have a whole kernel, whose cores are given these two."""
    name, sizes = small("spikformer-cifar10dvs")
    model = factored(build(name, sizes | {"steps": 4}), "htt", {"patch_embed.proj_conv1": 2}, switch=2).eval()
    layers = layer_table(model, (4, 2, 32, 32))
    with torch.no_grad(), watching(model, layers, (), 4) as watch:
        model(torch.ones(1, 4, 2, 32, 32))
        watch.close()
    lists = {one.name: len(one.nonzero) for one in watch.layer_activities()}
    core = "patch_embed.proj_conv1.vertical"
    assert (lists[core], lists["patch_embed.proj_conv1.reduce"], lists["head"]) == (2, 4, 1)
    facts = array_facts(model, layers, (), (4, 2, 32, 32))
    assert facts.runs == 4
    found = {one.name: one.operations for one in map_model(facts, layers, dict.fromkeys(lists, "uniform-4")).unmapped}
    assert found[core] == 2 * (16 * 16) * (2 * 2 * 3)


def test_what_no_machine_runs_is_counted_with_its_zeros() -> None:
    model, layers, frames = awake("respike-cross", 6, 3)
    run = _Running(
        model=model,
        layers=layers,
        products=attention_table("respike-cross", model.config.to_dict()),
        schemes={one.name: "uniform-4" for one in layers},
        machines={"sparten": read_machine("sparten")},
    )
    frames[:, :, :, ::2] = 0
    run.over(data_of(frames), "validation", 1, silent)
    found = {one.name: one for one in run._outside()}
    # Two key frames, 7 × 7 windows of two channels that make four of 13 × 16 pixels.
    assert found["ann.conv1"].operations == 2 * 49 * 2 * 4 * 13 * 16
    # 4 × 4 tokens, a head of 4 features and one of 8 in the later stages; see `Products`.
    attention = found["fusion.2.attn1"]
    assert attention.what == "σ(QKᵀ)V, real numbers with real numbers: multiplications"
    assert attention.operations == 4 * run.products[0].multiplications


@pytest.mark.parametrize(("steps", "stride"), CUTS)
def test_arrays_read_all_segments_and_membranes_serve_all_of_them(steps: int, stride: int) -> None:
    model, layers, frames = awake("respike-residual", steps, stride)
    facts = array_facts(model, layers, (), (steps, 2, 26, 32))
    schemes = {one.name: "uniform-4" for one in layers}
    found, runs = map_model(facts, layers, schemes), steps // stride * (stride - 1)
    cores = {one.name: model.get_submodule(one.name) for one in layers}
    nodes = {name: one for name, one in model.named_modules() if is_neuron(one)}
    seen = called(model, cores | nodes, frames)
    assert len(found.layers) == 8
    for one in (part.operand for part in found.layers):
        output = seen[one.name][1]
        assert one.steps == runs
        assert one.positions * one.steps == output.numel() // output.shape[1]
    for one in found.unmapped:
        weight, output = cores[one.name].weight, seen[one.name][1]
        assert one.operations == weight[0].numel() * output.numel()
    updates = sum(seen[name][1].numel() for name in nodes)
    assert found.neurons * runs == updates
    chip = read_target("spikesim-65nm")
    assert found.energy_pj["neuron"] == pytest.approx(updates * chip.event_pj("neuron"))
    # One segment alone is exactly its share.
    alone = map_model(at_steps(facts, stride), layers, schemes)
    assert alone.latency_ns * (steps // stride) == pytest.approx(found.latency_ns)
    assert alone.total_pj * (steps // stride) == pytest.approx(found.total_pj)


@pytest.mark.parametrize(("steps", "stride"), CUTS)
def test_a_profiled_sample_is_a_whole_clip(steps: int, stride: int) -> None:
    model, _, frames = awake("respike-residual", steps, stride)
    nodes = {name: one for name, one in model.named_modules() if is_neuron(one)}
    count, found = firing_of(model, data_of(frames), "validation", 3)
    fired = {name: [] for name in nodes}
    for place in range(3):
        for name, (_, spikes) in called(model, nodes, frames[place:]).items():
            fired[name].append((spikes != 0).sum((0, 1)).flatten())  # in all steps of all segments
    runs = steps // stride * (stride - 1)
    assert (count, [one.name for one in found]) == (3, list(fired))
    for one in found:
        times = torch.stack(fired[one.name]).double()
        assert one.neurons == times.shape[1]
        assert one.shares == pytest.approx([float((times == many).double().mean()) for many in range(runs + 1)])
        assert one.density == pytest.approx(float(times.mean()) / runs)
    whole = Profile("", "", "", "", count, steps, found).to_dict()
    assert set(whole["all"]) == {"name", "neurons", "density", "silent", "once", "shares"}


class Late(nn.Module):
    """Four steps, and a neuron behind their mean, which runs once a sample: all neurons fire whenever they run."""

    def __init__(self) -> None:
        super().__init__()
        from spikingjelly.activation_based.neuron import IFNode

        self.first, self.last = IFNode(step_mode="m"), IFNode(step_mode="s")

    def forward(self, frames: Tensor) -> Tensor:
        """Return (B, 3)."""
        self.first.reset()
        self.last.reset()
        return self.last(self.first(frames.transpose(0, 1).flatten(2)).mean(0)[:, :3] * 2)


def test_neurons_that_run_once_a_sample_are_counted_once_a_sample() -> None:
    frames = np.full((5, 4, 1, 2, 2), 2, np.uint8)
    first, last = firing_of(Late(), data_of(frames), "validation", 5)[1]
    assert (first.neurons, first.shares) == (4, (0, 0, 0, 0, 1))
    assert (last.neurons, last.shares, last.density) == (3, (0, 1), 1)


def test_all_neurons_together_by_hand() -> None:
    # 10 neurons of one step fire 5 times, 30 of two steps 0.3 · 30 + 0.5 · 60 = 39 times: 44 of 70.
    whole = together((Firing("a", 10, (0.5, 0.5), 1), Firing("b", 30, (0.2, 0.3, 0.5), 2)))
    assert whole.density == pytest.approx(44 / 70)
    assert (whole.neurons, whole.silent, whole.once) == (40, pytest.approx(11 / 40), pytest.approx(14 / 40))
