"""Packed folders of small random Spikformers in which every neuron layer fires: a silent network agrees with anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from snnq.cost.table import read_table
from snnq.finalizing.quantized import Coded
from snnq.layers import frames_shape, layer_table
from snnq.models.folding import fold_batchnorm
from snnq.models.registry import architecture
from snnq.models.wiring import Wiring
from snnq.packed.folder import write_packed
from snnq.packed.integer_form import IntegerHead
from snnq.packed.loading import load_packed
from snnq.plan import DataInfo, ModelInfo, make_plan
from snnq.schemes.scheme import scheme

SIZES = {"dim": 16, "depth": 1, "heads": 2, "steps": 3, "image_size": [16, 16], "classes": 3, "attention_scale": 0.25}


def firing_folder(
    folder: Path,
    layout: str,
    schemes: Sequence[str],
    *,
    classes: Sequence[str] | None = None,
    seed: int = 0,
    **changes: Any,
) -> Path:
    """Write a packed folder whose layers take ``schemes`` in turn, and return it."""
    one = architecture(f"spikformer-{layout}")
    config = one.default_config() | SIZES | changes
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = one.build(config)
        table, wiring = layer_table(model, frames_shape(config)), one.wiring(config)
        chosen = {layer.name: name for layer, name in zip(table, cycle(schemes), strict=False)}
        folded = fold_batchnorm(model, wiring.norms).eval()
        nn.init.normal_(folded.get_submodule(wiring.head).get_parameter("bias"))
        coded = {name: _code(folded, name, which) for name, which in chosen.items() if which != "float32"}
        _make_it_fire(folded, wiring, torch.from_numpy(counts(config, 4, seed).astype(np.float32)))
    plan = make_plan(
        table,
        chosen,
        model=ModelInfo(architecture=one.name, layout=layout, config=config),
        data=DataInfo(spec="random", sha256="0" * 64, classes=tuple(classes or map(str, range(config["classes"])))),
        table=read_table("horowitz-45nm"),
    )
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
    """Set each norm, as the first frames pass it, to give currents of mean 0.4 and deviation 1, some of turned sign."""
    for norm in wiring.norms.values():
        folded.get_submodule(norm).register_forward_pre_hook(_normalise)
    folded(frames)
    for norm in wiring.norms.values():
        folded.get_submodule(norm)._forward_pre_hooks.clear()


def _normalise(norm: nn.Module, given: tuple[Tensor]) -> None:
    channels = given[0].transpose(0, 1).flatten(1)
    sign = (torch.rand(len(channels)) > 0.3).float() * 2 - 1
    multiplier = sign / channels.std(1).clamp_min(0.05)
    norm.get_buffer("multiplier").copy_(multiplier)
    norm.get_buffer("offset").copy_(0.4 - channels.mean(1) * multiplier)


@dataclass(frozen=True)
class Answers:
    """What torch computes: whole logits int64 (samples, classes), predictions (samples,) and spikes of every part.

    ``spikes``: bool (samples, positions, channels, T), the wiring's stages first, then its attentions' neurons.
    """

    logits: np.ndarray
    predictions: np.ndarray
    spikes: list[np.ndarray]


@torch.no_grad()
def torch_answers(folder: Path, frames: np.ndarray, wiring: Wiring) -> Answers:
    """Return what the folder's integer form computes for counts (samples, T, C, H, W)."""
    model, spikes, logits = load_packed(folder), {}, []
    modules = [(stage.layer.rpartition(".")[0], stage.neuron) for stage in wiring.stages]
    for parent, neuron in modules + [(one.module, one.neuron) for one in wiring.mixings]:
        last = getattr(model.get_submodule(parent), "channels_last", False)
        model.get_submodule(neuron).register_forward_hook(partial(_keep_spikes, spikes, neuron, last))
    model.get_submodule(wiring.head).register_forward_hook(partial(_keep_whole_logits, logits))
    real = model(torch.from_numpy(frames.astype(np.float32)))
    return Answers(torch.cat(logits).numpy(), real.argmax(1).numpy(), list(_in_order(spikes, wiring)))


def _keep_spikes(kept: dict[str, np.ndarray], name: str, last: bool, _: nn.Module, __: Any, out: Tensor) -> None:
    spikes = out.flatten(3) if not last else out.transpose(2, 3)  # (T, B, channels, positions)
    kept[name] = spikes.permute(1, 3, 2, 0).bool().numpy()


def _keep_whole_logits(kept: list[Tensor], head: nn.Module, given: tuple[Tensor], _: Tensor) -> None:
    assert isinstance(head, IntegerHead)
    sums = (given[0].double() * head.summands).round().long()
    kept.append(sums @ head.weight.long().T + head.bias.long())


def _in_order(spikes: dict[str, np.ndarray], wiring: Wiring):
    yield from (spikes[stage.neuron] for stage in wiring.stages)
    yield from (spikes[mixing.neuron] for mixing in wiring.mixings)
