"""config.json of a packed folder: which model it is, how each layer is packed, and the hashes of the other files."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, field_validator, model_validator

from snnq.base.errors import PackedError, SnnqError, UsageError, VerificationError, nearest
from snnq.base.files import MAX_TEXT_BYTES, open_regular, read_text, regular_size
from snnq.base.kinds import takers
from snnq.base.strict_json import Json, strict_json
from snnq.base.validation import Many, Record, dotted, validate
from snnq.network.leaks import FIXED
from snnq.packed.input import InputPixels
from snnq.plan.records import DataInfo, SchemeName
from snnq.schemes.scheme import scheme

CONFIG_FILE, MODEL_FILE, PLAN_FILE = "config.json", "model.safetensors", "plan.json"
REPORT_FILE, CARD_FILE, PAGE_FILE = "report.json", "README.md", "report.html"
HASHED = (MODEL_FILE, PLAN_FILE)
# Since 0.1: the results and the model card, and what config.json itself says.
ALSO_HASHED = (REPORT_FILE, CARD_FILE, CONFIG_FILE)
MAX_JSON_BYTES = MAX_TEXT_BYTES
REPACK = "pack it again: snnq finalize --plan plan.json --force"
_MAKE = "make one: snnq finalize --plan plan.json"
# What building a model of unchecked sizes may raise.
UNBUILDABLE = (UsageError, TypeError, ValueError, RuntimeError, AttributeError, ArithmeticError)


class PackedLayer(Record):
    """How one layer is packed. ``shape`` is the weight's, (out, in[, k[, k]]); the words hold it as (out, in·k·k).

    ``weight_sha256`` is of the decoded weight's float32 little-endian bytes: of the very weights that were evaluated.
    """

    scheme: SchemeName
    family: str
    bits: int | float
    shape: Many[PositiveInt]
    weight_sha256: str

    @model_validator(mode="after")
    def _as_the_scheme_says(self) -> PackedLayer:
        one = scheme(self.scheme)
        if (self.family, self.bits) != (one.family, one.code_width):
            raise ValueError(f"{self.scheme} is not {self.family} of {self.bits} bits")
        if len(self.shape) < 2:
            raise ValueError(f"shape {list(self.shape)} is not that of a weight (out, in, …)")
        return self

    @property
    def matrix(self) -> tuple[int, int]:
        """(out, in·k·k), the shape of the weight as a matrix."""
        return self.shape[0], math.prod(self.shape[1:])


class PackedTensor(Record):
    """Type and shape of a tensor that belongs to no layer."""

    dtype: Literal["float32", "int8", "int16", "int32", "int64"]
    shape: Many[NonNegativeInt]


class Quantization(Record):
    """The part that Hugging Face's readers look for.

    ``storage``: model.safetensors holds every tensor as it is (``fixed``) or all in one coded stream. Of a stream,
    ``tensors`` are those that belong to no layer. ``arithmetic``: what was evaluated and is run, where it is not what
    folders that say nothing run in (``packed.wired``). ``pixels``: how images become whole numbers, where it is given
    such in whole numbers, and not event counts. ``leaks``: of neurons whose leak was learned, by path, how many of 2^16
    parts of a voltage are left after a step, in whole numbers (``network.leaks``). ``activations``: of layers whose
    activations are quantised, by path, what one of these is worth in whole numbers (``structure.activations``).
    """

    quant_method: Literal["snnq"]
    layers: dict[str, PackedLayer]
    storage: Literal["fixed", "coded"] = "fixed"
    tensors: dict[str, PackedTensor] = Field(default_factory=dict)
    arithmetic: Literal["integer"] | None = None
    pixels: InputPixels | None = None
    leaks: dict[str, Annotated[int, Field(ge=0, lt=FIXED)]] = Field(default_factory=dict)
    activations: dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = Field(default_factory=dict)


class PackedConfig(Record):
    """What is read from a config.json."""

    schema_version: Literal[1]
    tool: str
    architecture: str
    config: Json
    data: DataInfo | None
    quantization_config: Quantization
    sha256: dict[str, str]

    @field_validator("sha256")
    @classmethod
    def _of_the_files(cls, hashes: dict[str, str]) -> dict[str, str]:
        for name in HASHED:
            if name not in hashes:
                raise ValueError(
                    f"the hashes of {' and '.join(HASHED)} are needed, found {', '.join(hashes) or 'none'}"
                )
        for name in hashes:
            if name not in (*HASHED, *ALSO_HASHED):
                raise ValueError(f"a packed folder has no file '{name}'{nearest(name, (*HASHED, *ALSO_HASHED))}")
        return hashes

    @model_validator(mode="after")
    def _as_deep_as_its_layers(self) -> PackedConfig:
        # Before the model is built: a million blocks that a damaged file made up would take hours, even without values.
        depth, layers = self.config.get("depth"), len(self.layers)
        if isinstance(depth, int) and depth > layers:
            raise ValueError(f"config.depth: found {depth} blocks, but only {layers} layers are packed")
        return self

    @model_validator(mode="after")
    def _of_its_channels(self) -> PackedConfig:
        pixels, channels = self.quantization_config.pixels, self.config.get("in_channels")
        if pixels is not None and not len(pixels.mean) == len(pixels.std) == channels:
            found = f"{len(pixels.mean)} means and {len(pixels.std)} deviations"
            raise ValueError(f"quantization_config.pixels: found {found}, its images have {channels} channels")
        return self

    @property
    def unprotected(self) -> tuple[str, ...]:
        """Files of the folder that no hash protects: those of folders made by early versions."""
        return tuple(name for name in ALSO_HASHED if name not in self.sha256)

    def said(self) -> Json:
        """Return plain data, ready for JSON; as in folders of early versions, what is usual is not said."""
        plain = self.model_dump(mode="json")
        if self.quantization_config.storage == "fixed":
            del plain["quantization_config"]["storage"], plain["quantization_config"]["tensors"]
        if self.quantization_config.arithmetic is None:
            del plain["quantization_config"]["arithmetic"]
        if self.quantization_config.pixels is None:
            del plain["quantization_config"]["pixels"]
        elif self.quantization_config.pixels.still:
            del plain["quantization_config"]["pixels"]["still"]
        if not self.quantization_config.leaks:
            del plain["quantization_config"]["leaks"]
        if not self.quantization_config.activations:
            del plain["quantization_config"]["activations"]
        return plain

    def own_sha256(self) -> str:
        """Return the sha256 of all that this config says, but for that hash itself."""
        said = self.said()
        said["sha256"].pop(CONFIG_FILE, None)
        return hashlib.sha256(json.dumps(said, sort_keys=True, ensure_ascii=False).encode()).hexdigest()

    @property
    def layers(self) -> dict[str, PackedLayer]:
        """Every layer of the plan by its module path."""
        return self.quantization_config.layers


def read_config(folder: Path) -> PackedConfig:
    """Return config.json of a packed folder.

    Raises PackedError naming the file and the first bad key, VerificationError where it is not what was written.
    """
    path = folder / CONFIG_FILE
    if not folder.is_dir():
        known = f"{folder}: is a file, not a packed folder" if folder.is_file() else ""
        raise PackedError(known or f"{folder}: there is no such packed folder", takers(folder) or _MAKE)
    check_size(path)
    try:
        data = strict_json(read_text(path))
    except OSError as problem:
        raise PackedError(f"{path}: cannot be read ({problem.strerror})", REPACK) from None
    except json.JSONDecodeError as problem:
        message = f"{path}: not valid JSON at line {problem.lineno}, column {problem.colno}: {problem.msg}"
        raise PackedError(message, REPACK) from None
    except ValueError as problem:
        raise PackedError(f"{path}: not the config of a packed folder ({problem})", REPACK) from None
    config = validate(PackedConfig, data, str(path), PackedError, REPACK, dotted)
    due = config.sha256.get(CONFIG_FILE)
    if due is not None and config.own_sha256() != due:
        raise VerificationError(
            f"{path}: what it says has the sha256 {config.own_sha256()[:12]}…, not {due[:12]}…", REPACK
        )
    return config


def check_size(path: Path) -> None:
    """Raise PackedError where a JSON file of the folder is missing, no file, or larger than any can be."""
    try:
        regular_size(path, MAX_JSON_BYTES)
    except FileNotFoundError:
        message = f"{path} is missing: {path.parent} is not a complete packed folder"
        raise PackedError(message, _MAKE) from None
    except OSError as problem:
        raise PackedError(f"{path}: cannot be read ({problem.strerror})", REPACK) from None


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file in hexadecimal; raises PackedError if it cannot be read."""
    try:
        with open_regular(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as problem:
        raise PackedError(f"{path}: cannot be read ({problem.strerror})", REPACK) from None


def check_hash(folder: Path, name: str, config: PackedConfig) -> None:
    """Raise VerificationError where a file of the folder is not the one config.json was written for."""
    found, due = file_sha256(folder / name), config.sha256[name]
    if found != due:
        message = f"{folder / name}: sha256 is {found[:12]}…, {CONFIG_FILE} says {due[:12]}…"
        raise VerificationError(message, REPACK)


def no_model(folder: Path, problem: Exception) -> PackedError:
    """Return the error of a config whose sizes are those of no model, of what building it raised."""
    if isinstance(problem, SnnqError):
        return PackedError(f"{folder / CONFIG_FILE}: {problem.message}", problem.hint or REPACK)
    said = str(problem).partition("\n")[0]
    return PackedError(f"{folder / CONFIG_FILE}: its config describes no model ({said})", REPACK)
