"""Cores in whole numbers: torch, engine and reference agree, whole or step by step, and are close to the float form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from c_programs import c_agrees, have_gcc
from lively import wake, write_lively
from small_architectures import small
from test_engine import MIXED, all_agree
from test_running import run_through

from snnq.base.errors import UsageError
from snnq.exporting.c_source import c_source
from snnq.models.registry import architecture
from snnq.network.graph_check import check_graph
from snnq.network.layers import frames_shape
from snnq.network.wiring import Wiring
from snnq.packed.arrays import open_arrays
from snnq.packed.config import read_config
from snnq.packed.loading import load_packed
from snnq.packed.wired import wiring_of
from snnq.runtime import Engine
from snnq.runtime.reference import Reference
from snnq.structure.factored import unfit

# Spikes before a max-pool, potentials behind layers, potentials pooled before neurons, and strides.
FOUR = ["spikformer-cifar10dvs", "sdt-dvs", "qkformer-dvs", "sdt-v2-imagenet"]
CASES = [(name, mode) for name in FOUR for mode in ("stt", "ptt", "htt", "svd")]


def decomposed(name: str, mode: str, rank: int = 5) -> tuple[str, dict[str, Any]]:
    """An architecture and sizes whose 3×3 layers are cores, but for the first one; of svd, all that may be."""
    one, sizes = small(name)
    sizes |= {"steps": 4}
    with torch.device("meta"):
        model = architecture(one).build(sizes)
    layers = [path for path, module in model.named_modules() if unfit(module, mode) is None]
    ranks = {path: rank + place % 2 for place, path in enumerate(layers) if place and path != "head"}
    edit = {"edit": "factored", "mode": mode, "ranks": ranks} | ({"switch": 1} if mode == "htt" else {})
    return one, sizes | {"structure": [edit]}


@pytest.mark.parametrize(("name", "mode"), CASES)
def test_all_three_agree(name: str, mode: str, tmp_path: Path) -> None:
    one, sizes = decomposed(name, mode)
    frames = write_lively(tmp_path / "packed", MIXED, one, **sizes)
    rates = all_agree(tmp_path / "packed", frames, threads=2)
    assert sorted(rates.values())[len(rates) // 4] > 0.01, rates
    engine, reference = Engine(tmp_path / "packed", 1), Reference(tmp_path / "packed")
    due, mine, other = engine(frames), run_through(engine.stream(), frames), run_through(reference.stream(), frames)
    assert np.array_equal(mine[-1], due)
    assert all(np.array_equal(a, b) for a, b in zip(mine, other, strict=True))
    wiring = wiring_of(read_config(tmp_path / "packed"))
    assert isinstance(wiring, Wiring)
    if wiring.beyond_c:
        with pytest.raises(UsageError, match="has no form in C, because a decomposed layer has another kernel after"):
            c_source(open_arrays(tmp_path / "packed"), "a")
    elif have_gcc():
        c_agrees(tmp_path / "packed", tmp_path / "c", frames)
    exact, rounded = (load_packed(tmp_path / "packed", kind) for kind in ("integer", "float"))
    given = torch.from_numpy(np.minimum(frames, 4095).astype(np.float32))
    with torch.no_grad():
        logits = rounded(given)
        print("FAR", name, mode, float((exact(given) - logits).abs().max()) / float(logits.max() - logits.min()))


@pytest.mark.parametrize(("name", "mode"), CASES)
def test_the_graph_is_what_the_model_computes(name: str, mode: str) -> None:
    one, sizes = decomposed(name, mode)
    torch.manual_seed(1)
    frames = torch.poisson(torch.full((2, *frames_shape(sizes)), 0.5))
    model, graph = wake(architecture(one).build(sizes), frames), architecture(one).graph(sizes)
    assert graph is not None
    assert check_graph(graph, model, frames) > 100
