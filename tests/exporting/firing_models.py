"""Packed folders of small random Spikformers in which every layer fires: a silent network agrees with anything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from snnq.cost.table import read_table
from snnq.data import DataSet
from snnq.models.registry import architecture
from snnq.models.spikformer.sizes import SpikformerConfig
from snnq.network.folding import fold_batchnorm
from snnq.network.layers import frames_shape, layer_table
from snnq.network.wiring import Wiring
from snnq.packed.coding import Coded
from snnq.packed.folder import write_packed
from snnq.plan import DataInfo, ModelInfo, make_plan
from snnq.schemes.scheme import scheme
from snnq.training.job import open_job

SIZES = {
    "dim": 16,
    "depth": 1,
    "heads": 2,
    "steps": 3,
    "image_size": [16, 16],
    "classes": 3,
    "pooling": [True, False, False, True],
}


def firing_folder(
    folder: Path,
    layout: str,
    schemes: Sequence[str],
    *,
    labels: Sequence[str] | None = None,
    seed: int = 0,
    change: Callable[[nn.Module], object] = lambda folded: None,
    **changes: Any,
) -> Path:
    """Write a packed folder of a random model whose layers take ``schemes`` in turn, and return it.

    ``change`` may do something to the folded model; its float32 layers and norms are packed as it leaves them.
    """
    one = architecture(f"spikformer-{layout}")
    config = one.default_config() | SIZES | changes
    sizes = SpikformerConfig.from_dict(config)
    # The sums of the attention grow with these; a single step has no voltage to start from.
    config["attention_scale"] = changes.get("attention_scale") or (60 if sizes.steps == 1 else 90) / (
        sizes.tokens * sizes.dim / sizes.heads
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = one.build(config)
        frames = torch.from_numpy(counts(config, 4, seed).astype(np.float32))
        info = ModelInfo(architecture=one.name, layout=layout, config=config)
        data = DataInfo(spec="random", sha256="0" * 64, classes=tuple(labels or map(str, range(config["classes"]))))
        return _pack(folder, model, info, data, schemes, frames, change)


def digits_folder(folder: Path, schemes: Sequence[str]) -> DataSet:
    """Write a packed folder of the built-in digits model, quantised as it is, and return its data."""
    job = open_job("digits", None)
    _pack(folder, job.model, job.model_info(), job.data_info(), schemes, None)
    return job.data


def _pack(
    folder: Path,
    model: nn.Module,
    info: ModelInfo,
    data: DataInfo,
    schemes: Sequence[str],
    frames: Tensor | None,
    change: Callable[[nn.Module], object] = lambda folded: None,
) -> Path:
    table, wiring = layer_table(model, frames_shape(info.config)), architecture(info.architecture).wiring(info.config)
    chosen = {layer.name: name for layer, name in zip(table, cycle(schemes), strict=False)}
    folded = fold_batchnorm(model, wiring.norms).eval()
    coded = {name: _code(folded, name, which) for name, which in chosen.items() if which != "float32"}
    if frames is not None:
        assert isinstance(wiring, Wiring)
        _make_it_fire(folded, wiring, frames)
    change(folded)
    plan = make_plan(table, chosen, model=info, data=data, table=read_table("horowitz-45nm"))
    write_packed(folder, model=folded, plan=plan, layers=coded, results={"schema_version": 1})
    return folder


def counts(config: dict[str, Any], samples: int, seed: int) -> np.ndarray:
    """Return random event counts, uint16 (samples, T, C, H, W)."""
    return np.random.default_rng(seed).poisson(0.7, (samples, *frames_shape(config))).astype(np.uint16)


@torch.no_grad()
def _code(model: nn.Module, name: str, which: str) -> Coded:
    weight, one = model.get_submodule(name).get_parameter("weight"), scheme(which)
    params = one.stored(one.fit(weight))
    codes = one.encode(weight, params)
    weight.copy_(one.decode(codes, params).view_as(weight))
    return Coded(which, codes, params)


@torch.no_grad()
def _make_it_fire(folded: nn.Module, wiring: Wiring, frames: Tensor) -> None:
    """Set each norm, as the first frames pass it, to give currents of deviation 1, some of turned sign.

    Their mean makes about a fifth of the neurons fire, the head's bias all classes come out.
    """
    mean = 1.4 if frames.shape[1] == 1 else 0.9
    for norm in wiring.norms.values():
        folded.get_submodule(norm).register_forward_pre_hook(partial(_normalise, mean))
    logits = folded(frames)
    for norm in wiring.norms.values():
        folded.get_submodule(norm)._forward_pre_hooks.clear()
    folded.get_submodule(wiring.head).get_parameter("bias").copy_(-logits.mean(0))


def _normalise(mean: float, norm: nn.Module, given: tuple[Tensor]) -> None:
    channels = given[0].transpose(0, 1).flatten(1)
    sign = (torch.rand(len(channels)) > 0.3).float() * 2 - 1
    multiplier = sign / channels.std(1).clamp_min(0.05)
    norm.get_buffer("multiplier").copy_(multiplier)
    norm.get_buffer("offset").copy_(mean - channels.mean(1) * multiplier)
