"""Checking that a packed folder holds what its plan says, layer by layer and bit by bit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np

from snnq.base.errors import PackedError, UsageError, VerificationError
from snnq.base.strict_json import Json
from snnq.models.registry import unregistered
from snnq.packed.coding import is_canonical, read_layer, read_weight, weight_sha256
from snnq.packed.config import (
    CONFIG_FILE,
    PLAN_FILE,
    REPACK,
    PackedConfig,
    PackedLayer,
    check_hash,
    check_size,
    read_config,
)
from snnq.packed.loading import assemble
from snnq.packed.opening import open_tensors
from snnq.packed.safefile import TensorFile
from snnq.packed.sizes import FileBits, file_bits, measure_sizes, weight_bits
from snnq.packed.source import source_state
from snnq.plan.files import read_json
from snnq.plan.plan import parse_plan
from snnq.plan.records import LayerInput, PlanInput
from snnq.schemes.scheme import scheme
from snnq.structure.edits import edits_of
from snnq.structure.masked import weights_left

LAYER_COLUMNS = ("layer", "scheme", "bits in plan", "bits on disk", "padding bits", "levels used")
SIZE_COLUMNS = ("what", "bytes", "share")


@dataclass(frozen=True)
class LayerCheck:
    """One layer that was found right. ``bits_on_disk`` is what its codes take, without ``padding_bits`` of words.

    ``codes_used`` of ``codes`` possible ones occur; both are 0 for float32. ``sparse``: the file holds a mask and the
    codes of weights that are not zero.
    """

    name: str
    scheme: str
    bits_in_plan: float
    bits_on_disk: float
    padding_bits: float
    codes_used: int
    codes: int
    sparse: bool = False


@dataclass(frozen=True)
class Verification:
    """A folder that holds what its plan says: every layer, where the file's bits go, and the files' sha256.

    ``unprotected`` files have no hash, in folders of early versions. ``source`` says of the float checkpoint that the
    plan names whether it lies there still: a key of ``packed.source.SENTENCES``.
    """

    folder: str
    layers: tuple[LayerCheck, ...]
    sizes: FileBits
    sha256: dict[str, str]
    unprotected: tuple[str, ...]
    source: str
    weights: int

    @property
    def avg_bits(self) -> float:
        """Bits per weight, as the plan claims."""
        return sum(layer.bits_in_plan for layer in self.layers) / self.weights

    @property
    def coded_avg_bits(self) -> float:
        """Bits per weight of the codes alone, as they lie in the file."""
        return self.sizes.weights / self.weights

    @property
    def file_avg_bits(self) -> float:
        """Bits per weight of the whole file."""
        return file_bits(self.sizes.total_bytes, self.weights)

    def to_dict(self) -> Json:
        """Return plain data; sizes in bits, by kind, and the size of the file in bytes."""
        sizes = {"file_bytes": self.sizes.total_bytes, "weights_bits": self.sizes.weights}
        sizes |= {"avg_bits": self.avg_bits, "coded_avg_bits": self.coded_avg_bits, "file_avg_bits": self.file_avg_bits}
        return {
            "folder": self.folder,
            "verified": True,
            **sizes,
            "overhead_bits": self.sizes.overhead,
            "layers": [asdict(layer) for layer in self.layers],
            "sha256": self.sha256,
            "unprotected": list(self.unprotected),
            "source": self.source,
        }

    def layer_rows(self) -> list[tuple[str | float | None, ...]]:
        """Return a row of ``LAYER_COLUMNS`` for every layer."""
        return [
            (
                one.name,
                one.scheme,
                f"{round(one.bits_in_plan, 2):,}",
                f"{one.bits_on_disk:,}",
                round(one.padding_bits, 2),
                f"{one.codes_used}/{one.codes}" if one.codes else None,
            )
            for one in self.layers
        ]


def verify(path: str | Path) -> Verification:
    """Check a packed folder against its plan, and return what was found.

    For every layer: the scheme and shape are the plan's, its words take the bits of the scheme, every code is a level
    of it, padding is zero, and the decoded weight has the sha256 of the weight that was evaluated. Then: all tensors
    together are the model (a user's own that is not registered is not built), config.json and plan.json tell of the
    same model and data, every file has its hash, and the sizes of the tensors add up to the file.

    Raises VerificationError naming the first layer, or else the file, that differs; PackedError or PlanError for a
    folder that cannot be read.
    """
    folder = Path(path)
    config = read_config(folder)
    check_size(folder / PLAN_FILE)
    # Only what the plan says of its layers: a cost table of the user's own need not be at hand.
    plan = parse_plan(read_json(folder / PLAN_FILE), str(folder / PLAN_FILE))
    _check_names(plan.layers, config)
    file = open_tensors(folder, config)
    weights: dict[str, np.ndarray] = {}
    checks = []
    for entry in plan.layers:
        layer = config.layers[entry.name]
        weights[entry.name] = read_weight(entry.name, layer, file)
        checks.append(_check_layer(entry, layer, file, weights[entry.name]))
    _check_masks(config, weights)
    if not unregistered(config.architecture):
        assemble(folder, config, file, weights)
    _check_facts(folder, config, plan)
    _check_hashes(folder, config)
    sizes = measure_sizes(file, config.layers)
    _check_total(file.path, sizes)
    return Verification(
        str(folder),
        tuple(checks),
        sizes,
        dict(config.sha256),
        config.unprotected,
        source_state(plan.model),
        sum(math.prod(entry.shape) for entry in plan.layers),
    )


def _check_hashes(folder: Path, config: PackedConfig) -> None:
    for name in config.sha256:
        if name != CONFIG_FILE:  # read_config has seen to that
            check_hash(folder, name, config)


def _check_names(entries: tuple[LayerInput, ...], config: PackedConfig) -> None:
    for entry in entries:
        layer = config.layers.get(entry.name)
        if layer is None:
            _refuse(entry.name, "it is in plan.json, but not in config.json")
        elif layer.scheme != entry.scheme:
            _refuse(entry.name, f"it is packed as {layer.scheme}, plan.json says {entry.scheme}")
        elif layer.shape != entry.shape:
            _refuse(entry.name, f"its shape is {list(layer.shape)}, plan.json says {list(entry.shape)}")
    for name in config.layers.keys() - {entry.name for entry in entries}:
        _refuse(name, "it is in config.json, but not in plan.json")


def _check_masks(config: PackedConfig, weights: Mapping[str, np.ndarray]) -> None:
    """Refuse a masked layer with more weights than its mask has left."""
    try:
        left = weights_left(edits_of(config.config))
    except UsageError as problem:
        raise PackedError(f"{CONFIG_FILE}: {problem.message}", problem.hint) from None
    for name, most in left.items():
        found = int(np.count_nonzero(weights[name])) if name in weights else 0
        if found > most:
            _refuse(name, f"{found:,} of its weights are not zero, its mask has left {most:,}")


def _check_facts(folder: Path, config: PackedConfig, plan: PlanInput) -> None:
    """Refuse a config.json that says what its plan.json does not, whether or not a hash protects it."""
    found = {"architecture": config.architecture, "data": config.data, **_keyed(config.config)}
    due = {"architecture": plan.model.architecture, "data": plan.data, **_keyed(plan.model.config)}
    for key in (*due, *found):
        if key not in found or key not in due or found[key] != due[key]:
            raise VerificationError(f"{folder}: {CONFIG_FILE} and {PLAN_FILE} do not agree on {key}", REPACK)


def _keyed(config: Json) -> Json:
    return {f"config.{key}": value for key, value in config.items()}


def _check_layer(entry: LayerInput, layer: PackedLayer, file: TensorFile, weight: np.ndarray) -> LayerCheck:
    one = scheme(entry.scheme)
    words = [f"{entry.name}.{key}" for key, kind in one.format.tensors.items() if kind == "words"]
    found = 8 * sum(file.tensors[key].nbytes for key in words)
    due = one.word_bits(entry.shape)
    if found != due:
        _refuse(entry.name, f"{found} bits are on disk, {entry.scheme} of {list(entry.shape)} takes {due}")
    used = 0 if one.is_float else _codes_used(entry.name, layer, file)
    if weight_sha256(weight) != layer.weight_sha256:
        _refuse(entry.name, "its codes do not decode to the weight that was evaluated (sha256 differs)")
    price, taken = one.storage_bits(entry.shape), weight_bits(file, entry.name, layer)
    sparse = file.sparse.get(words[0])
    padding = 0 if file.coding else found - price if sparse is None else sparse.all - sparse.codes
    codes = len(one.valid_codes)
    return LayerCheck(entry.name, entry.scheme, price, taken, padding, used, codes, sparse is not None)


def _codes_used(name: str, layer: PackedLayer, file: TensorFile) -> int:
    """Return how many of the possible codes occur; refuses others, and padding that is not zero."""
    stored = read_layer(name, layer, file)
    if not is_canonical(name, layer, stored, file):
        _refuse(name, "bits that hold no code are not zero")
    codes = np.unique(stored.codes)
    others = np.setdiff1d(codes, scheme(layer.scheme).valid_codes)
    if others.size:
        _refuse(name, f"code {others[0]} is not one of {layer.scheme}'s")
    return len(codes)


def _check_total(path: Path, sizes: FileBits) -> None:
    size = path.stat().st_size
    if size * 8 != sizes.total:
        raise VerificationError(f"{path} has {size} bytes, its tensors and header take {sizes.total / 8:g}", REPACK)


def _refuse(name: str, message: str) -> NoReturn:
    raise VerificationError(f"layer {name}: {message}", REPACK)
