"""What upstream's files hold of a Meta-SpikeFormer and its kin, and how it becomes the weights of a ``MetaFormer``.

Four things are said otherwise there, and each is the same function of the frames:

- RepConv: four layers and two norms, of sdt-v3-large two and two, folded to one convolution (``repconv.folded``), but
  for ``-repconv`` and QSD.
- Integer spikes: upstream's neurons put out c/D (behind QSD's attention 2c/D, before both sdt-v3's head c), ours c. The
  weights of what sees them are multiplied by 1/D (2/D, 1).
- Learned steps (LSQ, Esser et al. 2020, arXiv:1902.08153): QSD's layers hold float weights W and a step α for every
  output channel, and compute with α · round(clamp(W/α, −8, 7)). Those are the weights, derived by that very rule.
- ``layer_scale``: a factor per channel behind attention and MLP, moved into the norm before it. A distilled head: the
  mean of both heads is one; of sdt-v3-large they see other inputs, which are one head's, side by side.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from snnq.base.errors import UsageError
from snnq.models.metaformer.module import MetaFormer, MetaFormerBlock
from snnq.models.metaformer.repconv import PointwisePair, RepConv, folded, folded_pair
from snnq.models.metaformer.sizes import QSD, V2, V2_PARTS, V3, V3_LARGE, MetaFormerConfig

BITS = 4  # of QSD's codes, two's complement, as its models.py has them


def stored_model(config: MetaFormerConfig) -> nn.Module:
    """Return a model whose state dict has the tensors of upstream's, by our names (``facts.RENAMED``)."""
    model = MetaFormer(replace(config, layout=V2_PARTS) if config.layout == V2 else config)
    if config.distilled:
        model.head, model.head_kd = (nn.Linear(config.dim, config.classes) for _ in range(2))
    if config.layout == QSD:
        for layer in [one for one in model.modules() if isinstance(one, nn.Linear | nn.Conv1d | nn.Conv2d)]:
            layer.register_parameter("alpha", nn.Parameter(torch.ones(layer.weight.shape[0])))
            layer.register_buffer("init_state", torch.zeros(1))
    if config.layout == V3_LARGE:
        _keep_pairs(model, config)
    if config.layout in (QSD, V3_LARGE):
        for name, block in model.named_modules():
            if isinstance(block, MetaFormerBlock):
                width = config.width3 if name.startswith("block3") else config.dim
                for scale in ("layer_scale1", "layer_scale2"):
                    block.register_parameter(scale, nn.Parameter(torch.ones(width)))
    return model


def _keep_pairs(model: nn.Module, config: MetaFormerConfig) -> None:
    """Give a model of sdt-v3-large the layers that upstream's has in the place of one."""
    width = config.width3
    for block in [one for one in model.modules() if isinstance(one, MetaFormerBlock)]:
        for name in ("q", "k", "v", "proj"):
            block.attn.register_module(f"{name}_conv", PointwisePair(width, int(width * 1.5), width))
        if config.mixed:
            block.register_module("rep_conv", PointwisePair(width, width, width))


def converted(state: dict[str, Tensor], config: MetaFormerConfig) -> dict[str, Tensor]:
    """Return the state dict of a ``MetaFormer`` for one of upstream's, float32; raises ``UsageError`` for no steps."""
    state = dict(state)
    if config.layout == QSD:
        state = _with_steps_applied(state)
    if config.layout in (QSD, V3_LARGE):
        _move_scales(state)
    if config.distilled and config.layout == V3_LARGE:
        both = [state[f"{name}.weight"] / 2 for name in ("head", "head_kd")]
        state["head.weight"], state["head.bias"] = torch.cat(both, 1), (state["head.bias"] + state["head_kd.bias"]) / 2
        del state["head_kd.weight"], state["head_kd.bias"]
    elif config.distilled:
        for part in ("weight", "bias"):
            state[f"head.{part}"] = (state[f"head.{part}"] + state.pop(f"head_kd.{part}")) / 2
    if config.layout in (V2, V3_LARGE):
        for prefix in _repconvs(config):
            found = folded(state, prefix) if config.layout == V2 else folded_pair(state, prefix)
            state = {name: one for name, one in state.items() if not name.startswith(f"{prefix}.")}
            state |= zip((f"{prefix}.weight", f"{prefix}.bias"), found, strict=True)
    if config.substeps is not None:
        for name in list(state):
            layer, _, part = name.rpartition(".")
            if part == "weight" and state[name].ndim > 1:
                state[name] = state[name] * _unit(layer, config)
    return state


def _repconvs(config: MetaFormerConfig) -> list[str]:
    with torch.device("meta"):
        model = stored_model(config)
    return [name for name, module in model.named_modules() if isinstance(module, RepConv | PointwisePair)]


def _unit(layer: str, config: MetaFormerConfig) -> float:
    """Return what upstream's neurons in front of a layer put out for one spike; 1 where it sees no spikes."""
    assert config.substeps is not None
    if layer == "downsample1_1.encode_conv" or (layer == "head" and config.layout in (V3, V3_LARGE)):
        return 1.0
    if config.layout == QSD:
        if layer.endswith((".pwconv2", ".body.2.0", ".body.2.1")):  # these see real numbers
            return 1.0
        if ".attn.proj_conv." in layer:
            return 2.0 / config.substeps
    return 1.0 / config.substeps


def _with_steps_applied(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the state dict with the weights that QSD's layers compute with, and without their steps."""
    least, most = -(2 ** (BITS - 1)), 2 ** (BITS - 1) - 1
    for name in [name for name in state if name.endswith(".alpha")]:
        layer = name.removesuffix(".alpha")
        weight, steps = state[f"{layer}.weight"], state.pop(name)
        if not bool(state.pop(f"{layer}.init_state").all()):
            raise UsageError(f"'{layer}.init_state' is 0: its steps were never set, so that it was never trained")
        if not bool((steps > 0).all()):
            raise UsageError(f"'{name}' holds {float(steps.min()):g}, a step is greater than 0")
        steps = steps.view(-1, *[1] * (weight.ndim - 1))
        state[f"{layer}.weight"] = (weight / steps).clamp(least, most).round() * steps
    return state


def _move_scales(state: dict[str, Tensor]) -> None:
    """Multiply the norms in front of them by the layer scales, in place."""
    for name in [name for name in state if ".layer_scale" in name]:
        block, _, scale = name.rpartition(".")
        norm = f"{block}.attn.proj_bn" if scale == "layer_scale1" else f"{block}.mlp.fc2_bn"
        factor = state.pop(name)
        for part in ("weight", "bias"):
            state[f"{norm}.{part}"] = state[f"{norm}.{part}"] * factor
