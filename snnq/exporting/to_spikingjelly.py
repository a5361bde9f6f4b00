"""``--to spikingjelly``: a state dict (safetensors) that SpikingJelly 2's own class loads strictly.

For the architectures that SpikingJelly has itself (``Architecture.spikingjelly``): q, k and v of each block, which are
layers of their own here, become rows of one layer again. Weights are float32 with exactly the packed values. The folded
norms become batch normalisations in eval mode, y = (x − mean)/√(variance + ε) · weight + bias, of mean 0, variance
1 − ε, the multiplier and the offset, which holds the layer's bias too: that becomes 0.

Source: SpikingJelly 2.0, ``activation_based/model`` and ``activation_based/layer/attention.py``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from snnq.base.errors import UsageError, VerificationError
from snnq.base.version import __version__
from snnq.checkpoints.fused import cut, join
from snnq.checkpoints.keymaps import every_keys, expected_shapes
from snnq.exporting.source import Source, read_source
from snnq.exporting.targets import ExportedLayer, Facts
from snnq.models.registry import ARCHITECTURES
from snnq.models.registry import architecture as architecture_of
from snnq.packed.safefile import safetensors_bytes
from snnq.structure.edits import described, edits_of, values_only

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
    theirs = architecture_of(source.config.architecture).spikingjelly
    assert theirs is not None, "constructor_arguments refuses the others"
    module, name = theirs.module, theirs.name
    metadata = {"format": "pt", "tool": f"snnq {__version__}", name.lower(): json.dumps(arguments, sort_keys=True)}
    out.write_bytes(safetensors_bytes(state, metadata))
    largest = _check(source, names, _theirs(module, name, arguments, load_file(out)), load_file(out))
    layers = tuple(
        ExportedLayer(one.name, one.scheme, f"{names[f'{one.name}.weight']}, float32", 32) for one in source.layers
    )
    said = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
    notes = (
        f"Load it with spikingjelly.activation_based.model.{module}.{name}({said}).load_state_dict(…).",
        f"{_EVERY_STEP if theirs.every_step else ''}Largest difference for random frames: {largest:.1g}.",
    )
    return Facts(layers, notes, _UNSAID)


_EVERY_STEP = "That puts out logits of every step, (T, B, classes); their mean over T is what snnq puts out. "
_UNSAID = (
    "Number formats: weights are float32; q, k and v, of a scheme each, are rows of one layer.",
    "Statistics of the norms, which are folded: leave them in eval mode, training would normalise anew.",
)


def constructor_arguments(folder: Path, architecture: str, config: Mapping[str, object]) -> dict[str, object]:
    """Return the arguments of SpikingJelly's class; raises UsageError for a model that it cannot be."""
    one, known = architecture_of(architecture), [name for name, one in ARCHITECTURES.items() if one.spikingjelly]
    if one.spikingjelly is None:
        raise UsageError(
            f"{folder}: {architecture} is none of SpikingJelly's own models, which are {', '.join(known)}",
            "snnq export --to has other targets",
        )
    if not values_only(edits := edits_of(config)):
        raise UsageError(f"{folder}: SpikingJelly's class has no such edits: {described(edits)}")
    try:
        return one.spikingjelly.arguments(one.config(config))
    except UsageError as problem:
        raise UsageError(f"{folder}: {problem.message}") from None


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
    expected = expected_shapes(source.config.config, source.config.architecture)
    return state | {name: torch.zeros(shape) for name, shape in expected.items() if name not in state}


def _names(source: Source) -> dict[str, str]:
    name = source.config.architecture
    keys = [keys for keys in every_keys() if name in keys.architectures][-1]  # theirs, not upstream's
    return {name: keys.upstream_name(name) for name in _state(source)}


def _theirs(module: str, name: str, arguments: Mapping[str, object], state: Mapping[str, Tensor]) -> nn.Module:
    made_by = getattr(import_module(f"spikingjelly.activation_based.model.{module}"), name)
    with torch.device("meta"):  # no random numbers are drawn
        model = made_by(**arguments)
    model.load_state_dict(state, strict=True, assign=True)
    return model.eval()


@torch.no_grad()
def _check(source: Source, names: Mapping[str, str], theirs: nn.Module, state: Mapping[str, Tensor]) -> float:
    """Return the largest difference of logits; raises VerificationError where weights or logits are others."""
    shapes = {name: tuple(value.shape) for name, value in _state(source).items()}
    parts, cut_names = cut("the export", state, shapes, names, source.config.architecture)
    for layer in source.layers:
        layer.check(parts[cut_names[f"{layer.name}.weight"]], "SpikingJelly")
    frames = torch.poisson(torch.full((2, *source.frames_shape), 0.5), generator=torch.Generator().manual_seed(0))
    due, found = source.model(frames), theirs(frames.transpose(0, 1))
    found = found.mean(0) if found.ndim == 3 else found  # its Spikformer's are of every step
    largest = float((due - found).abs().max())
    if not largest <= _TOLERANCE * float(due.abs().max()):
        raise VerificationError(f"SpikingJelly's logits are others, by up to {largest:.2g}", "please report this")
    return largest
