"""``snnq decompose``: several small layers in place of a large one, or the large one again."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Unpack

from torch import nn

from snnq.base.errors import OutputExistsError, UsageError
from snnq.base.strict_json import Config
from snnq.checkpoints.opening import Checkpoint, load_model, open_checkpoint, save_checkpoint
from snnq.checkpoints.sizes import Given
from snnq.models.registry import architecture
from snnq.network.layers import Layer, frames_shape, layer_table
from snnq.structure.cores import MODES, bonds, count, kept, merge
from snnq.structure.edits import STRUCTURE, apply_edits, edits_of
from snnq.structure.factored import NAME, Factored, unfit, weights_of
from snnq.structure.masked import masked_edit, masked_layers
from snnq.structure.narrowed import NARROWED
from snnq.structure.ranks import rank_rule


@dataclass(frozen=True)
class DecomposedLayer:
    """A layer before and after: the channels between its cores, its weights, and the share of its energy kept.

    ``after`` counts the weights of all cores, or of the dense layer again; ``kept`` is None where cores were merged
    that a file held.
    """

    name: str
    bonds: tuple[int, ...]
    before: int
    after: int
    kept: float | None


@dataclass(frozen=True)
class Decomposed:
    """A written checkpoint, its layers that changed, and the others with the reason why they did not."""

    out: str
    mode: str
    merged: bool
    layers: tuple[DecomposedLayer, ...]
    left: dict[str, str]
    weights_before: int
    weights_after: int
    macs_before: int
    macs_after: int


def decompose(
    path: str | Path,
    *,
    mode: str | None = None,
    rank: str | Mapping[str, int] = "vbmf",
    layers: str | None = None,
    switch: int | None = None,
    merged: bool = False,
    out: str | Path,
    force: bool = False,
    **given: Unpack[Given],
) -> Decomposed:
    """Write a float checkpoint whose layers are cores (``structure.cores``), or with ``merged`` dense ones again.

    By default every 3×3 convolution but the first layer is decomposed; ``layers`` names others, by patterns with commas
    between them. ``rank`` is a rule of ``structure.ranks``, or ranks by layer: others stay dense. ``switch`` (htt):
    after so many steps the kernel is 1×1; half of them by default. ``merged`` without ``mode`` makes a checkpoint of
    cores dense again. ``given`` are sizes that the file cannot tell. What comes out wants a short finetuning.

    Raises UsageError for words that do not fit the model, OutputExistsError, and what opening raises.
    """
    check_words(mode, switch, merged, out, force=force)
    opened = open_checkpoint(path, **given)
    before = _dense(opened, merged=mode is None)
    table = _layers(before, opened.config)
    if mode is None:
        model, changed, left = _merge_again(opened, before)
    else:
        names, left = _worth_it(*chosen(before, table, mode, layers), rank)
        model, changed = _factor(before, mode, rank, names, switch)
        model, changed = _merge(opened, model, changed) if merged else (model, changed)
    facts = {"data": opened.data} if opened.data else {}
    save_checkpoint(out, model, architecture=opened.architecture, facts=facts, overwrite=force)
    tables = (table, _layers(model, opened.config))
    weights = [sum(one.weights for one in layers) for layers in tables]
    macs = [sum(one.macs for one in layers) for layers in tables]
    return Decomposed(str(out), mode or "merged", merged, tuple(changed), left, *weights, *macs)


def _dense(opened: Checkpoint, *, merged: bool) -> nn.Module:
    """Return the model of a checkpoint; raises UsageError where some of its layers are pruned."""
    model = load_model(opened)
    if masked := masked_layers(model):
        what, order = ("a merged weight", "merge first") if merged else ("cores", "decompose first")
        raise UsageError(
            f"{opened.path}: {len(masked)} of its layers are pruned, whose zeros {what} would not keep",
            f"{order}, then prune",
        )
    return model


def _worth_it(
    names: list[str], left: dict[str, str], rank: str | Mapping[str, int]
) -> tuple[list[str], dict[str, str]]:
    """Return the layers that have a rank where ranks are given by layer, and why others are left dense."""
    if isinstance(rank, str):
        return names, left
    costly = dict.fromkeys((name for name in names if name not in rank), "loses too much by being decomposed")
    return [name for name in names if name in rank], left | costly


def check_words(mode: str | None, switch: int | None, merged: bool, out: str | Path, *, force: bool) -> None:
    """Raise UsageError for words that no model fits, OutputExistsError where something stands at ``out``."""
    if os.path.lexists(out) and not force:
        raise OutputExistsError(f"{out} is already there", "add --force to overwrite it, or name another --out")
    if mode is None and not merged:
        raise UsageError("--mode is missing", f"give one of {', '.join(MODES)}")
    if mode is not None and mode not in MODES:
        raise UsageError(f"--mode {mode}: it must be one of {', '.join(MODES)}")
    if switch is not None and mode != "htt":
        raise UsageError("--switch is for --mode htt, whose kernel is smaller after so many steps")


def _layers(model: nn.Module, config: Config) -> tuple[Layer, ...]:
    return layer_table(model, frames_shape(config))


def chosen(
    model: nn.Module, table: Iterable[Layer], mode: str, patterns: str | None
) -> tuple[list[str], dict[str, str]]:
    """Return the layers to decompose, and the others with the reason; raises UsageError where none is left."""
    names, left, modules = [], {}, dict(model.named_modules())
    for index, layer in enumerate(table):
        named = patterns is not None and any(fnmatchcase(layer.name, one) for one in patterns.split(","))
        why = unfit(modules[layer.name], mode)
        if patterns is not None and not named:
            why = "is not among --layers"
        elif not named and why is None:
            if index == 0:
                why = "is the first layer, which takes the frames"
            elif layer.kind != "conv2d" or layer.shape[2:] != (3, 3):
                why = "has no 3 × 3 kernel"
        if why is None:
            names.append(layer.name)
        else:
            left[layer.name] = why
    if not names:
        raise UsageError(
            f"--mode {mode}: no layer is decomposed" + (f"; none of --layers {patterns} fits" if patterns else ""),
            "; ".join(f"{name} {why}" for name, why in list(left.items())[:3]),
        )
    return names, left


def _factor(
    model: nn.Module, mode: str, rank: str | Mapping[str, int], names: Iterable[str], switch: int | None
) -> tuple[nn.Module, list[DecomposedLayer]]:
    rule = rank_rule(rank) if isinstance(rank, str) else lambda name, weight, mode: rank[name]
    changed, ranks = [], {}
    for name in names:
        weight = model.get_submodule(name).get_parameter("weight").detach()
        ranks[name] = rule(name, weight, mode)
        facts = bonds(mode, weight.shape, ranks[name]), weight.numel(), count(mode, weight.shape, ranks[name])
        changed.append(DecomposedLayer(name, *facts, kept(weight, mode, ranks[name])))
    edit: dict[str, object] = {"edit": NAME, "mode": mode, "ranks": ranks}
    if mode == "htt":
        edit["switch"] = switch if switch is not None else max(1, int(model.config.steps) // 2)  # pyright: ignore
    return apply_edits(model, [edit]), changed


def _merge(
    opened: Checkpoint, model: nn.Module, changed: Iterable[DecomposedLayer] = ()
) -> tuple[nn.Module, list[DecomposedLayer]]:
    """Return the model with dense weights in place of its cores, and what became of each layer.

    The corners of a cross are masked: they are zeros and stay it.
    """
    edits = [_of_layers(one, model) for one in model.structure if one["edit"] != NAME]  # pyright: ignore
    state, known, layers, crosses = model.state_dict(), {one.name: one for one in changed}, [], []
    for name, module in model.named_modules():
        if not isinstance(module, Factored):
            continue
        if module.switch is not None:
            raise UsageError(f"--merge: {name} has one kernel in its first steps and another one later (htt)")
        weight = merge(module.mode, weights_of(module))
        crosses += [name] if module.mode == "ptt" else []
        cores = [key for key in state if key.startswith(f"{name}.")]
        bias = state.get(f"{name}.{Factored.last}.bias")
        size = sum(core.numel() for core in weights_of(module).values())
        state = {key: value for key, value in state.items() if key not in cores}
        state |= {f"{name}.weight": weight.float()} | ({} if bias is None else {f"{name}.bias": bias})
        layers.append(
            DecomposedLayer(name, known[name].bonds, known[name].before, math.prod(weight.shape), known[name].kept)
            if name in known
            else DecomposedLayer(name, (), size, math.prod(weight.shape), None)
        )
    config = {key: value for key, value in opened.config.items() if key != STRUCTURE}
    dense = apply_edits(architecture(opened.architecture).build(config), edits)
    dense.load_state_dict(state, strict=True)
    return apply_edits(dense, [masked_edit(dense, crosses)] if crosses else []), layers


def _of_layers(edit: Config, model: nn.Module) -> Config:
    """Return an edit of cores as one of the layers that they become: channels between layers stay what they are."""
    layer_of = {
        f"{name}.{core}": name
        for name, module in model.named_modules()
        if isinstance(module, Factored)
        for core, _ in module.named_children()
    }
    if edit["edit"] == NARROWED:
        ends = [{end: layer_of.get(one[end], one[end]) for end in ("layer", "reader")} for one in edit["channels"]]
        return {**edit, "channels": [one | both for one, both in zip(edit["channels"], ends, strict=True)]}
    named = next((core for core in layer_of if core in edit.get("layers", ())), None)
    if named is not None:
        raise UsageError(f"--merge: '{named}' was changed after it was made a core, by the edit '{edit['edit']}'")
    return edit


def _merge_again(opened: Checkpoint, model: nn.Module) -> tuple[nn.Module, list[DecomposedLayer], dict[str, str]]:
    if not any(one["edit"] == NAME for one in edits_of(opened.config)):
        raise UsageError(f"{opened.path} has no cores to merge", f"give --mode, one of {', '.join(MODES)}")
    dense, layers = _merge(opened, model)
    return dense, layers, {}
