"""Cores in whole numbers: torch, engine, reference and C agree, whole or step by step, and merge exactly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from c_programs import c_agrees, have_gcc
from hypothesis import given, settings
from hypothesis import strategies as st
from lively import wake, write_lively
from sifted import slow_but
from small_architectures import small
from test_engine import MIXED, all_agree
from test_running import run_through

from snnq.base.errors import UsageError
from snnq.checkpoints.decomposing import decompose
from snnq.checkpoints.opening import load_model, open_checkpoint, save_checkpoint
from snnq.cost.table import read_table
from snnq.exporting.c_source import c_source
from snnq.models.registry import architecture
from snnq.network.folding import ChannelAffine, fold_batchnorm
from snnq.network.graph_check import check_graph
from snnq.network.layers import frames_shape, layer_table
from snnq.packed.arrays import open_arrays
from snnq.packed.folder import write_packed
from snnq.packed.loading import load_packed, take_steps
from snnq.plan import ModelInfo, make_plan
from snnq.runtime import Engine
from snnq.runtime.reference import Reference, convolve
from snnq.structure.cores import core_shapes, merge

STAGES = [f"patch_embed.{layer}" for layer in ("proj_conv1", "proj_conv2", "proj_conv3", "rpe_conv")]
# Spikes before a max-pool; potentials behind layers, pooled; strides, of cores one after the other and switched.
LAYERS = {"spikformer-cifar10dvs": STAGES, "sdt-dvs": STAGES, "sdt-v2-imagenet": ["downsample1_2.encode_conv"]}
STRIDED = {"edit": "factored", "mode": "stt", "ranks": {"downsample2.encode_conv": 7}}
CASES = [("spikformer-cifar10dvs", mode) for mode in ("stt", "ptt", "htt", "svd")]
CASES += [("sdt-dvs", "ptt"), ("sdt-v2-imagenet", "htt")]


def decomposed(name: str, mode: str) -> tuple[str, dict[str, Any]]:
    """An architecture, and sizes of it with cores in place of layers."""
    one, sizes = small(name)
    edit = {"edit": "factored", "mode": mode, "ranks": {layer: 5 + i % 2 for i, layer in enumerate(LAYERS[name])}}
    edit |= {"switch": 2} if mode == "htt" else {}
    return one, sizes | {"steps": 3, "structure": [edit, *([STRIDED] if name == "sdt-v2-imagenet" else [])]}


@pytest.mark.parametrize(("name", "mode"), slow_but((CASES[1], CASES[2]), CASES))
def test_all_agree(name: str, mode: str, tmp_path: Path) -> None:
    one, sizes = decomposed(name, mode)
    frames = write_lively(tmp_path / "packed", MIXED, one, **sizes)
    rates = all_agree(tmp_path / "packed", frames, threads=2)
    assert sorted(rates.values())[len(rates) // 4] > 0.01, rates
    engine, reference = Engine(tmp_path / "packed", 1), Reference(tmp_path / "packed")
    due, mine, other = engine(frames), run_through(engine.stream(), frames), run_through(reference.stream(), frames)
    assert np.array_equal(mine[-1], due)
    assert all(np.array_equal(a, b) for a, b in zip(mine, other, strict=True))
    model, given = load_packed(tmp_path / "packed"), torch.from_numpy(frames.astype(np.float32))
    for steps, logits in enumerate(mine, 1):  # fewer steps than it was made for
        take_steps(model, steps)
        with torch.no_grad():
            assert np.array_equal(model(given[:, :steps]).numpy(), logits)
    if mode == "htt":
        with pytest.raises(UsageError, match="has no form in C, because a decomposed layer has another kernel after"):
            c_source(open_arrays(tmp_path / "packed"), "a")
    elif have_gcc() and name != "sdt-v2-imagenet":  # many layers: half a minute
        c_agrees(tmp_path / "packed", tmp_path / "c", frames)


@pytest.mark.parametrize(("name", "mode"), CASES)
def test_the_graph_is_what_the_model_computes(name: str, mode: str) -> None:
    one, sizes = decomposed(name, mode)
    torch.manual_seed(1)
    frames = torch.poisson(torch.full((2, *frames_shape(sizes)), 0.5))
    model, graph = wake(architecture(one).build(sizes), frames), architecture(one).graph(sizes)
    assert graph is not None
    assert check_graph(graph, model, frames) > 100


def drawn(shape: tuple[int, ...], seed: int, most: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-most, most + 1, shape, generator=generator).double()


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(["stt", "ptt"]), st.integers(1, 4), st.integers(1, 2), st.integers(1, 2), st.integers(0, 99))
def test_whole_cores_merge_to_a_whole_kernel(mode: str, rank: int, down: int, across: int, seed: int) -> None:
    shapes = core_shapes(mode, (5, 4, 3, 3), rank)
    cores = {name: drawn(shape, seed + i) for i, (name, shape) in enumerate(shapes.items())}
    whole = {name: core.numpy().astype(np.int64) for name, core in cores.items()}
    dense, x = merge(mode, cores).numpy(), drawn((2, 3, 4, 6, 5), seed).numpy().astype(np.int64)
    assert np.array_equal(dense, np.rint(dense))
    inner = convolve(x, whole["reduce"])
    if mode == "stt":
        found = convolve(convolve(inner, whole["vertical"], (down, 1)), whole["horizontal"], (1, across))
    else:
        vertical, horizontal = (convolve(inner, whole[name], (down, across)) for name in ("vertical", "horizontal"))
        found = vertical + horizontal
    due = convolve(x, dense.astype(np.int64), (down, across))
    assert np.array_equal(convolve(found, whole["expand"]), due)


def fired(folder: Path, frames: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Logits and all spikes of the engine."""
    spikes: dict[str, np.ndarray] = {}
    return Engine(folder)(frames, lambda name, seen: spikes.__setitem__(name, seen.copy())), spikes


@pytest.mark.parametrize("mode", ["stt", "ptt", "svd"])
@torch.no_grad()
def test_cores_of_whole_weights_give_the_logits_of_the_merged_layers(mode: str, tmp_path: Path) -> None:
    """Nothing is rounded between cores of whole numbers, so both folders have the same bits of every logit."""
    name, sizes = decomposed("spikformer-cifar10dvs", mode)
    model = architecture(name).build(sizes)
    model.get_submodule("head").get_parameter("weight").normal_()
    for seed, layer in enumerate(LAYERS[name]):
        for core in model.get_submodule(layer).children():
            core.get_parameter("weight").copy_(drawn(tuple(core.get_parameter("weight").shape), seed, 1))
    save_checkpoint(tmp_path / "cores.safetensors", model, architecture=name, facts={})
    decompose(tmp_path / "cores.safetensors", merged=True, out=tmp_path / "dense.safetensors")
    frames = np.random.default_rng(0).poisson(0.5, (2, *frames_shape(sizes))).astype(np.uint16)
    found = []
    for file in ("cores", "dense"):
        opened = open_checkpoint(tmp_path / f"{file}.safetensors")
        folded = fold_batchnorm(load_model(opened), architecture(name).wiring(opened.config).norms)
        for affine in (one for one in folded.modules() if isinstance(one, ChannelAffine)):
            affine.multiplier.fill_(2.0**-2)
            affine.offset.copy_(torch.arange(len(affine.offset)) % 4)
        info = ModelInfo(architecture=name, layout=opened.layout, config=opened.config)
        table = layer_table(folded, frames_shape(sizes))
        schemes = {one.name: "float32" for one in table}
        plan = make_plan(table, schemes, model=info, data=None, table=read_table("horowitz-45nm"))
        write_packed(tmp_path / file, model=folded, plan=plan, layers={}, results={})
        found.append(fired(tmp_path / file, frames))
    (logits, spikes), (due, others) = found
    assert np.array_equal(logits, due)
    assert np.ptp(due) > 0
    for layer in LAYERS[name]:
        neuron = layer.replace("conv", "lif")
        assert np.array_equal(spikes[neuron], others[neuron])
        assert spikes[neuron].any()
