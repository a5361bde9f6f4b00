"""Finetuning that begins with the codes of a packed folder, such as ``snnq ptq`` makes, not with the float weights."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from snnq.base.errors import PlanError
from snnq.models.registry import architecture
from snnq.packed.coding import other_tensors, read_layer, read_weight
from snnq.packed.config import MODEL_FILE, PackedConfig, check_hash, read_config
from snnq.packed.loading import as_tensors
from snnq.packed.opening import open_tensors
from snnq.packed.safefile import TensorFile
from snnq.plan import Plan
from snnq.schemes.names import FLOAT32
from snnq.schemes.scheme import scheme
from snnq.training.evaluation import NORMS
from snnq.training.quantized import chain_of


@torch.no_grad()
def begin_from(model: nn.Module, folder: str | Path, plan: Plan) -> nn.Module:
    """Give a model of ``quantize_model`` what a packed folder holds: codes, grids, norms and whatever is stored in
    float32; changes and returns it.

    Where packing has moved the scales of a layer's channels into its norm, they come back: as those that bring the
    levels nearest to the float weights, by which the norm's multiplier is divided. A latent weight stays the float one
    where that rounds to the code, and becomes the code's level elsewhere. BN keeps what it learned; its running
    statistics become those that fold into the packed norms, so that in evaluation mode the model is the packed one.
    Raises PlanError unless the folder was packed on the same grids, PackedError.
    """
    folder = Path(folder)
    config = read_config(folder)
    check_hash(folder, MODEL_FILE, config)
    file = open_tensors(folder, config)
    _check_schemes(folder, config, plan)
    norms, gains = architecture(config.architecture).wiring(config.config).norms, {}
    floats = other_tensors(file, config.layers)
    for name, packed in config.layers.items():
        if packed.family == FLOAT32:
            floats[f"{name}.weight"] = read_weight(name, packed, file)
        else:
            stored = read_layer(name, packed, file)
            layer, codes, params = model.get_submodule(name), torch.from_numpy(stored.codes), as_tensors(stored.params)
            if name in norms:
                params, gains[norms[name]] = _scaled_back(layer, codes, params)
            _begin_layer(layer, codes, params)
    layer_of = {norm: layer for layer, norm in norms.items()}
    for path, norm in model.named_modules():
        if isinstance(norm, NORMS):
            bias = getattr(model.get_submodule(layer_of[path]), "bias", None) if path in layer_of else None
            _begin_norm(path, norm, bias, file, gains.get(path))
    own = model.state_dict()
    for name, values in as_tensors({name: one for name, one in floats.items() if name in own}).items():
        own[name].copy_(values)
    return model


def _check_schemes(folder: Path, config: PackedConfig, plan: Plan) -> None:
    # Grids alone: a rate says what the codes of that folder came to, and those are about to be trained.
    theirs = {name: scheme(layer.scheme).grid_name for name, layer in config.layers.items()}
    ours = {name: scheme(one).grid_name for name, one in plan.schemes().items()}
    for name in sorted(ours.keys() | theirs.keys()):
        if ours.get(name) != theirs.get(name):
            raise PlanError(
                f"layer {name}: {theirs.get(name, 'missing')} in {folder}, {ours.get(name, 'missing')} in the plan",
                "start from a folder of the same plan: snnq ptq --plan PLAN --out FOLDER",
            )


def _scaled_back(layer: nn.Module, codes: Tensor, params: dict[str, Tensor]) -> tuple[dict[str, Tensor], Tensor | None]:
    """Return parameters with a scale for each channel, and by how much each is larger than the shared one, (out,).

    The scale is that of least squared error, ⟨w, l⟩/⟨l, l⟩ for levels l. Scales that differ were never moved: None.
    """
    chain, latent = chain_of(layer)
    one, shared = chain.scheme, chain.scheme.factor(params)
    if bool((shared != shared[0]).any()):
        return params, None
    weight, level = latent.flatten(1).double(), one.decode(codes, params).double()
    gain = (weight * level).sum(1, keepdim=True) / level.square().sum(1, keepdim=True)
    gain = torch.where(gain.isfinite() & (gain > 0), gain, torch.ones_like(gain))
    found = one.stored(one.with_factor(params, (shared * gain).float()))
    return found, (one.factor(found).double() / shared.double()).flatten()


def _begin_layer(layer: nn.Module, codes: Tensor, params: dict[str, Tensor]) -> None:
    chain, latent = chain_of(layer)
    one = chain.scheme
    for key, value in params.items():
        getattr(chain, f"{key}_start").copy_(value)
    same = one.encode(latent, params) == codes
    level = one.decode(codes, params)
    kept = same | (latent.flatten(1) == 0) if one.holds_zero else same
    latent.copy_(torch.where(kept, latent.flatten(1), level).view_as(latent))


def _begin_norm(
    path: str, norm: nn.BatchNorm1d | nn.BatchNorm2d, bias: Tensor | None, file: TensorFile, gain: Tensor | None
) -> None:
    """Set μ and σ² so that γ/√(σ² + ε) is the packed multiplier and β + (bias − μ) · multiplier its offset.

    The multiplier is divided by the ``gain`` (out,) of the scales before it. Where no σ² gives it, for its sign or
    because it is too large, γ does, and where it is zero, β is the offset.
    """
    parts = ("multiplier", "offset")
    multiplier, offset = as_tensors({part: file.tensors[f"{path}.{part}"].astype(float) for part in parts}).values()
    if gain is not None:
        multiplier = multiplier / gain
    gamma = torch.ones_like(multiplier) if norm.weight is None else norm.weight.double()
    beta = torch.zeros_like(offset) if norm.bias is None else norm.bias.double()
    ratio = gamma / torch.where(multiplier == 0, torch.ones_like(multiplier), multiplier)
    variance = ratio.square() - norm.eps
    fits, there = (multiplier != 0) & (ratio > 0) & (variance > 0), multiplier != 0
    known = norm.get_buffer("running_var")
    known.copy_(torch.where(fits, variance, known.double()))
    mean = (beta - offset) / torch.where(there, multiplier, torch.ones_like(multiplier))
    mean = torch.where(there, mean, torch.zeros_like(mean))
    norm.get_buffer("running_mean").copy_(mean if bias is None else mean + bias.double())
    if norm.weight is not None and norm.bias is not None:
        norm.weight.copy_(torch.where(fits, gamma, multiplier * torch.sqrt(known.double() + norm.eps)))
        norm.bias.copy_(torch.where(there, beta, offset))
