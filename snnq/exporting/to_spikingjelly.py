"""``--to spikingjelly``: a state dict (safetensors) that SpikingJelly 2's own Spikformer loads strictly.

Only for ``spikformer-spikingjelly``: q, k and v of each block, which are layers of their own here, become rows of one
layer again. Weights are float32 with exactly the packed values. The folded norms become batch normalisations in eval
mode, y = (x − mean)/√(variance + ε) · weight + bias, of mean 0, variance 1 − ε, the multiplier and the offset.

Source: SpikingJelly 2.0, ``activation_based/model/spikformer.py`` and ``activation_based/layer/attention.py``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from snnq import __version__
from snnq.checkpoints.fused import cut, join
from snnq.checkpoints.keymaps import keys_of
from snnq.errors import UsageError, VerificationError
from snnq.exporting.records import ExportedLayer, Facts
from snnq.exporting.source import Source, read_source
from snnq.models.config import SpikformerConfig
from snnq.packed.safefile import safetensors_bytes

ARCHITECTURE = "spikformer-spikingjelly"
SCALE, PATCHES = 0.125, {(False, False, True, True): 4, (True, True, True, True): 16}
_EPSILON = nn.BatchNorm2d(1).eps
# Of the largest logit: far above what a rounded current can do, far below what a wrong weight does.
_TOLERANCE = 0.1


def export(folder: Path, out: Path) -> Facts:
    """Write the file ``out``, load it into SpikingJelly's own class, and return what was written.

    Raises UsageError for another architecture or a size that SpikingJelly's class has not, VerificationError where it
    holds other weights or gives other logits.
    """
    source = read_source(folder)
    arguments = constructor_arguments(folder, source.config.architecture, source.config.config)
    names = _names(source)
    state = join(_state(source), names)
    metadata = {"format": "pt", "tool": f"snnq {__version__}", "spikformer": json.dumps(arguments, sort_keys=True)}
    out.write_bytes(safetensors_bytes(state, metadata))
    largest = _check(source, names, _theirs(arguments, load_file(out)), load_file(out))
    layers = tuple(
        ExportedLayer(one.name, one.scheme, f"{names[f'{one.name}.weight']}, float32", 32) for one in source.layers
    )
    said = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
    notes = (
        f"Load it with spikingjelly.activation_based.model.spikformer.Spikformer({said}).load_state_dict(…).",
        "That puts out logits of every step, (T, B, classes); their mean over T is what snnq puts out. "
        f"Largest difference for random frames: {largest:.1g}.",
    )
    return Facts(layers, notes, _UNSAID)


_UNSAID = (
    "Number formats: weights are float32; q, k and v, of a scheme each, are rows of one layer.",
    "Statistics of the norms, which are folded: leave them in eval mode, training would normalise anew.",
)


def constructor_arguments(folder: Path, architecture: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of SpikingJelly's ``Spikformer``; raises UsageError for a model that it cannot be."""
    if architecture != ARCHITECTURE:
        raise UsageError(
            f"{folder}: {architecture} is none of SpikingJelly's own models, only {ARCHITECTURE} is",
            "snnq export --to has other targets",
        )
    sizes = SpikformerConfig.from_dict(config)
    for name, found, due in (
        ("chunk", sizes.chunk, (None,)),
        ("attention_scale", sizes.attention_scale, (SCALE,)),
        ("pooling", sizes.pooling, tuple(PATCHES)),
    ):
        if found not in due:
            raise UsageError(f"{folder}: its {name} is {config[name]}, and SpikingJelly's Spikformer has no such model")
    ratio = sizes.hidden / sizes.dim
    return {
        "T": sizes.steps,
        "in_channels": sizes.in_channels,
        "img_size_h": sizes.image_size[0],
        "img_size_w": sizes.image_size[1],
        "patch_size": PATCHES[sizes.pooling],
        "num_classes": sizes.classes,
        "embed_dims": sizes.dim,
        "num_heads": sizes.heads,
        "mlp_ratio": ratio if int(sizes.dim * ratio) == sizes.hidden else math.nextafter(ratio, math.inf),
        "depths": sizes.depth,
    }


def _state(source: Source) -> dict[str, Tensor]:
    """Return the unfused state dict by our names, with batch normalisations for the folded norms."""
    folded = source.model.state_dict()
    state = {name: value for name, value in folded.items() if not name.endswith((".multiplier", ".offset"))}
    for norm in source.norms.values():
        multiplier = folded[f"{norm}.multiplier"]
        state |= {f"{norm}.weight": multiplier, f"{norm}.bias": folded[f"{norm}.offset"]}
        state[f"{norm}.running_mean"] = torch.zeros_like(multiplier)
        state[f"{norm}.running_var"] = torch.full_like(multiplier, 1 - _EPSILON)
        state[f"{norm}.num_batches_tracked"] = torch.tensor(0)
    return state


def _names(source: Source) -> dict[str, str]:
    keys = keys_of(ARCHITECTURE)
    return {name: keys.upstream_name(name) for name in _state(source)}


def _theirs(arguments: Mapping[str, Any], state: Mapping[str, Tensor]) -> nn.Module:
    from spikingjelly.activation_based.model.spikformer import Spikformer

    with torch.device("meta"):  # no random numbers are drawn
        model = Spikformer(**arguments)
    model.load_state_dict(state, strict=True, assign=True)
    return model.eval()


@torch.no_grad()
def _check(source: Source, names: Mapping[str, str], theirs: nn.Module, state: Mapping[str, Tensor]) -> float:
    """Return the largest difference of logits; raises VerificationError where weights or logits are others."""
    shapes = {name: tuple(value.shape) for name, value in _state(source).items()}
    parts, cut_names = cut("the export", state, shapes, names, ARCHITECTURE)
    for layer in source.layers:
        layer.check(parts[cut_names[f"{layer.name}.weight"]], "SpikingJelly")
    frames = torch.poisson(torch.full((2, *source.frames_shape), 0.5), generator=torch.Generator().manual_seed(0))
    due, found = source.model(frames), theirs(frames.transpose(0, 1)).mean(0)
    largest = float((due - found).abs().max())
    if not largest <= _TOLERANCE * float(due.abs().max()):
        raise VerificationError(f"SpikingJelly's logits are others, by up to {largest:.2g}", "please report this")
    return largest
