"""``--to compressed-tensors``: a folder in the library's format ``pack-quantized``, for plans without power-of-two.

Every uniform layer of b bits becomes a matrix (out, in·k·k) of packed integers; the library packs matrices only, so
convolutions are flattened, and ``config.json`` holds their true shapes under ``snnq.shapes``. Its zero-points are
whole: a layer with half ones takes one more bit (``whole_integers``). Where that would be nine, the codes are written
in the library's ``naive-quantized`` format instead: one byte each, with float zero-points, which it does take there.
Ternary and binary layers are int2 without zero-points.

A weight is s · (q − z) with z a multiple of ½. With m = 2 for the channels whose z is not whole, and 1 for the others,

    s · (q − z) = (s/m) · v,   v = m·q − m·z, an integer (``snnq.arithmetic.integers``),

and both sides are the same float32 number: q − z and v are exact, and halving s is exact (but for a subnormal s).

Sources: compressed-tensors 0.20, ``compressors/pack_quantized`` and ``quantization/quant_config.py``. Since 0.18 its
words are dense (code i begins at bit i·b of its row, across words); before, and in packed folders, each word holds
32 // b whole codes. For 2, 4 and 8 bits that is the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from snnq.base.errors import UsageError
from snnq.base.version import __version__
from snnq.exporting.source import Source, SourceLayer, broken_torchvision_hidden, read_source, require
from snnq.exporting.targets import ExportedLayer, Facts
from snnq.packed.coding import Coded
from snnq.packed.config import CONFIG_FILE, MODEL_FILE
from snnq.packed.safefile import safetensors_bytes
from snnq.plan.files import plan_text
from snnq.schemes.binary import BINARY
from snnq.schemes.names import FLOAT32
from snnq.schemes.scheme import Params, scheme
from snnq.schemes.ternary import TERNARY
from snnq.schemes.uniform import UNIFORM

MAX_BITS = 8
# Formats whose levels are evenly spaced.
_PACKABLE = (UNIFORM.name, TERNARY.name, BINARY.name)


@dataclass(frozen=True)
class Integers:
    """scale · (codes − zero_point): codes (out, n) and zero_point (out, 1) are int8 of ``bits`` bits, signed.

    ``zero_point`` is None where it is 0 in every channel. ``scale`` is float32 (out, 1).
    """

    codes: Tensor
    scale: Tensor
    zero_point: Tensor | None
    bits: int


def whole_integers(name: str, codes: Tensor, params: Params) -> Integers | None:
    """Return a layer with whole zero-points in the fewest bits, at least its own; None where 8 are not enough.

    Without zero-points where that takes no more bits: those of the codes that occur, and 0, then fit as they are.
    """
    whole, bits = scheme(name).whole(Coded(name, codes, params).stored(), bound=1), scheme(name).width
    values, scale = torch.from_numpy(whole.values), torch.from_numpy(whole.unit).float()[:, None]
    low, high = values.amin(1, keepdim=True).clamp_max(0), values.amax(1, keepdim=True).clamp_min(0)
    plain = max(bits, _signed_bits(low, high))
    shifted = max(bits, int((high - low).max()).bit_length())
    if min(plain, shifted) > MAX_BITS:
        return None
    if plain <= shifted:
        return Integers(values.to(torch.int8), scale, None, plain)
    zero_point = -(2 ** (shifted - 1)) - low  # the lowest value of each channel gets the lowest code
    return Integers((values + zero_point).to(torch.int8), scale, zero_point.to(torch.int8), shifted)


def _signed_bits(low: Tensor, high: Tensor) -> int:
    """Return the bits of two's complement that hold everything from ``low`` ≤ 0 to ``high`` ≥ 0."""
    return 1 + max((-int(low.min()) - 1).bit_length() if int(low.min()) < 0 else 0, int(high.max()).bit_length())


PACKED, BYTES, MIXED = "pack-quantized", "naive-quantized", "mixed-precision"
TO = "compressed-tensors"


@dataclass(frozen=True)
class Form:
    """How the library is told to read a layer; layers of one form make one of its config groups."""

    bits: int
    symmetric: bool
    format: str

    @property
    def title(self) -> str:
        """In a few words."""
        zero_points = "no zero-point" if self.symmetric else "zero-points"
        return f"{self.format} int{self.bits}, {'float ' if self.format == BYTES else ''}{zero_points}"


def export(folder: Path, out: Path) -> Facts:
    """Write the folder ``out``, have the library decompress it, and return what was written.

    Raises UsageError naming a layer the format cannot hold, MissingLibraryError, and VerificationError where the
    library decompresses other weights than those of the packed folder.
    """
    source = read_source(folder)
    check_plan(source.layers, folder)
    with broken_torchvision_hidden():
        require(TO, "compressed_tensors.compressors", "compressed_tensors.quantization")
    forms: dict[str, Form] = {}
    tensors = dict(source.others)
    for layer in source.layers:
        if layer.family == FLOAT32:
            tensors[f"{layer.name}.weight"] = layer.weight
            continue
        forms[layer.name], own = _written(layer)
        tensors |= {f"{layer.name}.{key}": value for key, value in own.items()}
    out.mkdir()
    content = safetensors_bytes(tensors, {"format": "pt", "snnq": __version__})
    (out / MODEL_FILE).write_bytes(content)
    (out / CONFIG_FILE).write_text(plan_text(make_config(source, forms)), encoding="utf-8", newline="\n")
    _read_back(out, source, forms)
    return _facts(source, forms, len(content))


def check_plan(layers: tuple[SourceLayer, ...], folder: Path) -> None:
    """Raise UsageError unless every layer's levels are evenly spaced or it is float32, and not all are."""
    for layer in layers:
        if layer.family not in (*_PACKABLE, FLOAT32):
            message = f"layer {layer.name} is {layer.scheme}; compressed-tensors packs uniform integers only"
            hint = "use --to qonnx, which says both, or finalize an all-uniform plan: snnq plan uniform"
            raise UsageError(message, hint)
    if all(layer.family == FLOAT32 for layer in layers):
        raise UsageError(
            f"{folder}: every layer is float32, there is nothing to pack", "finalize a plan with fewer bits"
        )


def make_config(source: Source, forms: Mapping[str, Form]) -> dict[str, object]:
    """Return config.json: the library's ``quantization_config``, and under ``snnq`` what it has no place for."""
    formats = {form.format for form in forms.values()}
    groups = {}
    for number, form in enumerate(sorted(set(forms.values()), key=lambda one: (one.format, one.bits, one.symmetric))):
        weights: dict[str, object] = {"num_bits": form.bits, "type": "int", "symmetric": form.symmetric}
        weights |= {"strategy": "channel", "dynamic": False}
        if form.format == BYTES:
            weights["zp_dtype"] = "torch.float32"
        targets = [name for name, one in forms.items() if one == form]
        groups[f"group_{number}"] = {"format": form.format, "targets": targets, "weights": weights}
    return {
        "quantization_config": {
            "quant_method": "compressed-tensors",
            "format": formats.pop() if len(formats) == 1 else MIXED,
            "quantization_status": "compressed",
            "config_groups": groups,
            "ignore": [layer.name for layer in source.layers if layer.family == FLOAT32],
        },
        "snnq": {
            "tool": f"snnq {__version__}",
            "architecture": source.config.architecture,
            "config": source.config.config,
            "schemes": {layer.name: layer.scheme for layer in source.layers},
            "shapes": {layer.name: list(layer.weight.shape) for layer in source.layers},
        },
    }


def _written(layer: SourceLayer) -> tuple[Form, dict[str, Tensor]]:
    """Return how a quantised layer is written, and its tensors."""
    from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32  # pyright: ignore[reportMissingImports]

    assert layer.codes is not None
    whole = whole_integers(layer.scheme, layer.codes, layer.params)
    if whole is None:
        # q and z moved by the same amount, so that q fits a signed byte; their difference is as before.
        middle = 2 ** (scheme(layer.scheme).width - 1)
        tensors = {
            "weight": (layer.codes.to(torch.int16) - middle).to(torch.int8),
            "weight_scale": layer.params["scale"],
        }
        return Form(8, False, BYTES), tensors | {"weight_zero_point": layer.params["zero_point"] - middle}
    tensors = {
        "weight_packed": pack_to_int32(whole.codes, whole.bits),
        "weight_scale": whole.scale,
        "weight_shape": torch.tensor(whole.codes.shape),
    }
    if whole.zero_point is not None:
        tensors["weight_zero_point"] = pack_to_int32(whole.zero_point, whole.bits, packed_dim=0)
    return Form(whole.bits, whole.zero_point is None, PACKED), tensors


def _read_back(out: Path, source: Source, forms: Mapping[str, Form]) -> None:
    """Raise VerificationError unless the library decompresses the written files to exactly the packed weights."""
    weights = read_weights(out)
    for layer in source.layers:
        if layer.name in forms:
            layer.check(weights[layer.name], "compressed-tensors")


def read_weights(out: Path) -> dict[str, Tensor]:
    """Return every quantised weight (out, n) of an exported folder, decompressed by the library."""
    from compressed_tensors.compressors import BaseCompressor  # pyright: ignore[reportMissingImports]
    from compressed_tensors.quantization import QuantizationConfig  # pyright: ignore[reportMissingImports]
    from safetensors.torch import load_file

    config = json.loads((out / CONFIG_FILE).read_text(encoding="utf-8"))
    tensors, weights = load_file(out / MODEL_FILE), {}
    for group in QuantizationConfig.model_validate(config["quantization_config"]).config_groups.values():
        compressor = BaseCompressor.get_value_from_registry(group.format)
        for name in group.targets:
            keys = compressor.compression_param_names(group)
            weights[name] = compressor.decompress({key: tensors[f"{name}.{key}"] for key in keys}, group)["weight"]
    return weights


def _facts(source: Source, forms: Mapping[str, Form], file_bytes: int) -> Facts:
    layers, planned, taken = [], 0, 0
    for layer in source.layers:
        form = forms.get(layer.name)
        layers.append(ExportedLayer(layer.name, layer.scheme, form.title if form else "float32, ignored", layer.bits))
        if form:
            layers[-1] = replace(layers[-1], bits=form.bits)
        planned, taken = planned + layer.weight.numel() * layer.bits, taken + layer.weight.numel() * layers[-1].bits
    weights = sum(layer.weight.numel() for layer in source.layers)
    notes = [
        "compressed-tensors decompresses it to the packed weights, bit for bit, as matrices (out, in·k·k); "
        "the shapes of convolutions are in config.json under snnq.shapes.",
        f"model.safetensors has {file_bytes:,} bytes; that of the packed folder has {source.file_bytes:,}.",
    ]
    if taken > planned:
        notes.append(
            f"The weights take {taken / weights:.3g} bits each, the plan's {planned / weights:.3g}: "
            "whole zero-points for ones that are multiples of ½ cost one more bit, ternary and binary ones are int2."
        )
    why = f"is in {BYTES}: with whole zero-points its codes would need more than eight bits."
    notes.extend(f"Layer {name} {why}" for name, form in forms.items() if form.format == BYTES)
    unsaid = ("The network: transformers and vLLM know no Spikformer, so only the weights are read, by their names.",)
    return Facts(tuple(layers), tuple(notes), unsaid)
