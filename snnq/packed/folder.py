"""Writing a packed folder: all of it under a temporary name beside its place, then one rename."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NoReturn

import torch
from torch import Tensor, nn

from snnq.arithmetic.integer_form import learned_leaks, learned_steps
from snnq.base.errors import OutputExistsError, PackedError, VerificationError
from snnq.base.files import read_text
from snnq.base.placing import install, is_temporary, sweep, workplace
from snnq.base.strict_json import Config, Json, strict_json
from snnq.base.validation import require_finite
from snnq.base.version import __version__
from snnq.models.registry import described
from snnq.network.leaks import FIXED
from snnq.network.wiring import Wiring
from snnq.packed.card import model_card
from snnq.packed.coding import Coded, pack_layer, weight_sha256
from snnq.packed.config import (
    CARD_FILE,
    CONFIG_FILE,
    MODEL_FILE,
    PAGE_FILE,
    PLAN_FILE,
    REPORT_FILE,
    PackedConfig,
    PackedLayer,
    Quantization,
)
from snnq.packed.input import InputPixels
from snnq.packed.safefile import DTYPES
from snnq.packed.sizes import measure_sizes
from snnq.packed.storage import Storage, WrittenFile, write_tensors
from snnq.packed.wired import Arithmetic, said_arithmetic
from snnq.plan import Plan
from snnq.plan.files import plan_text
from snnq.schemes.scheme import scheme

FILES = (CONFIG_FILE, MODEL_FILE, PLAN_FILE, REPORT_FILE, CARD_FILE, PAGE_FILE)
SCHEMA_VERSION = 1
QUANT_METHOD = "snnq"
_ADD_FORCE = "add --force to overwrite it, or name another --out"


def write_packed(
    folder: str | Path,
    *,
    model: nn.Module,
    plan: Plan,
    layers: Mapping[str, Coded],
    results: Config,
    storage: Storage = "coded",
    pixels: InputPixels | None = None,
    force: bool = False,
) -> None:
    """Write a packed folder: config.json, model.safetensors, plan.json, report.json and README.md.

    ``model`` is folded (no batch normalisation); ``layers`` holds the codes of every layer that the plan does not leave
    in float32, and each of those layers' weight must be exactly what its codes decode to. ``results`` becomes
    report.json. ``storage`` is that of model.safetensors, ``pixels`` what a model in whole numbers
    sees. Equal inputs give equal bytes. An old folder is kept until the new one is complete.

    Raises OutputExistsError if the folder is there (with ``force``: if it holds anything that is no packed folder's),
    VerificationError naming the first layer whose codes are not the model's weights or the first tensor that is not
    finite, NotFiniteError for a result that is not, PackedError if it cannot be written.
    """
    folder = Path(os.path.abspath(folder))
    check_free(folder, force)
    tensors, packed = _pack_model(model, plan, layers)
    written, how = write_tensors(tensors, packed, storage), _how_it_runs(model, plan, pixels)
    files = contents(plan, written, storage, packed, results, *how)
    try:
        with workplace(folder) as new:
            new.mkdir()
            for name, content in files.items():
                (new / name).write_bytes(content)
            check_free(folder, force)  # again: another process may have been first
            install(new, folder, overwrite=force)
    except FileExistsError:
        raise OutputExistsError(f"{folder} is already there", _ADD_FORCE) from None
    except OSError as problem:
        raise PackedError(f"{folder}: cannot be written ({problem.strerror})", "choose another --out") from None


def _how_it_runs(
    model: nn.Module, plan: Plan, pixels: InputPixels | None
) -> tuple[Arithmetic, InputPixels | None, dict[str, int], dict[str, float]]:
    """Return a model's arithmetic and, in whole numbers, the pixels it sees, and the leaks and steps it has learned."""
    arithmetic = said_arithmetic(plan.model.architecture, plan.model.config, pixels)
    if arithmetic != "integer":
        return arithmetic, None, {}, {}
    wiring = described(plan.model.architecture).wiring(plan.model.config)
    assert isinstance(wiring, Wiring), "it says integer"
    leaks = {path: one - FIXED for path, one in learned_leaks(model, wiring).items()}
    return arithmetic, pixels, leaks, learned_steps(model, wiring)


def tensors_file(model: nn.Module, plan: Plan, layers: Mapping[str, Coded], storage: Storage = "coded") -> WrittenFile:
    """Return the model.safetensors that ``write_packed`` would write of the same."""
    return write_tensors(*_pack_model(model, plan, layers), storage)


def check_free(folder: Path, force: bool) -> None:
    """Raise OutputExistsError if a packed folder may not be written here; an empty folder is free.

    First, what killed processes left beside it is removed.
    """
    sweep(folder)
    if not os.path.lexists(folder):
        return
    if not folder.is_dir() or folder.is_symlink():
        raise OutputExistsError(f"{folder} is there and is not a folder", "name another --out")
    found = sorted(entry.name for entry in folder.iterdir())
    if not found:
        return
    if not force:
        raise OutputExistsError(f"{folder} is already there", _ADD_FORCE)
    for name in found:
        if name not in FILES and not is_temporary(name):
            message = f"{folder} holds '{name}', which is not a packed folder's: it is not overwritten"
            raise OutputExistsError(message, "name another --out")
    if not _says_packed(folder):
        message = f"{folder} is no packed folder by its {CONFIG_FILE}: it is not overwritten"
        raise OutputExistsError(message, "name another --out, or remove it yourself")


def _says_packed(folder: Path) -> bool:
    """Return whether a folder's config.json is a packed folder's, or too damaged to say."""
    try:
        said = strict_json(read_text(folder / CONFIG_FILE))
        return said["quantization_config"]["quant_method"] == QUANT_METHOD
    except FileNotFoundError:
        return False
    except (KeyError, TypeError):  # JSON of somebody else's
        return False
    except (OSError, ValueError):
        return True


def _pack_model(
    model: nn.Module, plan: Plan, layers: Mapping[str, Coded]
) -> tuple[dict[str, Tensor], dict[str, PackedLayer]]:
    """Return every tensor of the file, and how each layer of the plan is packed."""
    tensors = {name: value.detach().cpu() for name, value in model.state_dict().items()}
    packed = {}
    for entry in plan.layers:
        weight = tensors.get(f"{entry.name}.weight")
        if weight is None or tuple(weight.shape) != tuple(entry.shape):
            found = "missing" if weight is None else list(weight.shape)
            _refuse(entry.name, f"the plan says shape {list(entry.shape)}, the model's weight is {found}")
        one = scheme(entry.scheme)
        if not one.is_float:
            weight = _decoded(entry.name, entry.scheme, layers.get(entry.name), weight)
            del tensors[f"{entry.name}.weight"]
            arrays = pack_layer(entry.name, layers[entry.name])
            tensors |= {name: torch.from_numpy(array) for name, array in arrays.items()}
        packed[entry.name] = PackedLayer(
            scheme=entry.scheme,
            family=one.family,
            bits=one.code_width,
            shape=entry.shape,
            weight_sha256=weight_sha256(weight.numpy()),
        )
    for name, tensor in tensors.items():
        if str(tensor.dtype).removeprefix("torch.") not in DTYPES:
            raise VerificationError(f"tensor {name} is {tensor.dtype}, it must be float32", "please report this")
        if not bool(tensor.isfinite().all()):
            raise VerificationError(f"tensor {name} holds numbers that are not finite", "see: snnq eval")
    for name in layers:
        if name not in packed or scheme(packed[name].scheme).is_float:
            _refuse(name, "it has codes, but the plan quantises no such layer")
    return tensors, packed


def _decoded(name: str, scheme_name: str, coded: Coded | None, weight: Tensor) -> Tensor:
    """Return what the codes decode to; raises VerificationError unless that is exactly the model's weight."""
    if coded is None or coded.scheme != scheme_name:
        _refuse(name, f"the plan says {scheme_name}, its codes are {coded.scheme if coded else 'missing'}")
    if tuple(coded.codes.shape) != (weight.shape[0], math.prod(weight.shape[1:])):
        _refuse(name, f"codes {list(coded.codes.shape)} for a weight {list(weight.shape)}")
    decoded = scheme(scheme_name).decode(coded.codes.cpu(), {key: p.detach().cpu() for key, p in coded.params.items()})
    if not bool(decoded.isfinite().all()):
        _refuse(name, "its weights are not finite")
    if decoded.dtype != torch.float32 or not torch.equal(decoded.view_as(weight), weight):
        _refuse(name, "its codes do not decode to the model's weight")
    return decoded


def _refuse(name: str, message: str) -> NoReturn:
    raise VerificationError(f"layer {name}: {message}", "please report this")


def contents(
    plan: Plan,
    written: WrittenFile,
    storage: Storage,
    packed: Mapping[str, PackedLayer],
    results: Config,
    arithmetic: Arithmetic,
    pixels: InputPixels | None = None,
    leaks: Mapping[str, int] = MappingProxyType({}),
    activations: Mapping[str, float] = MappingProxyType({}),
) -> dict[str, bytes]:
    """Return the bytes of every file of the folder; from ``arithmetic`` on, what it says of them.

    Raises NotFiniteError for a result that is not finite.
    """
    require_finite(results, REPORT_FILE)
    sizes = measure_sizes(written.file, packed)
    files = {
        MODEL_FILE: written.content,
        PLAN_FILE: plan_text(plan.to_dict()).encode(),
        REPORT_FILE: plan_text(dict(results)).encode(),
        CARD_FILE: model_card(plan, results, sizes, storage).encode(),
    }
    quantization = Quantization(
        quant_method=QUANT_METHOD,
        layers=dict(packed),
        storage=storage,
        tensors=written.others,
        arithmetic=arithmetic,
        pixels=pixels,
        leaks=dict(leaks),
        activations=dict(activations),
    )
    return files | {CONFIG_FILE: plan_text(_config(plan, quantization, files)).encode()}


def _config(plan: Plan, quantization: Quantization, files: Mapping[str, bytes]) -> Json:
    """Return what config.json says, the sha256 of the other files and its own among it."""
    config = PackedConfig(
        schema_version=SCHEMA_VERSION,
        tool=f"snnq {__version__}",
        architecture=plan.model.architecture,
        config=plan.model.config,
        data=plan.data,
        quantization_config=quantization,
        sha256={name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    )
    said = config.said()
    said["sha256"][CONFIG_FILE] = config.own_sha256()
    return said
