"""Where the bits of model.safetensors go: the weights the plan counts, and everything else by kind."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from snnq.packed.coding import other_tensors
from snnq.packed.config import MODEL_FILE, PackedLayer, read_config
from snnq.packed.safefile import TensorFile
from snnq.schemes.scheme import scheme


def file_bits(file_bytes: int, weights: int) -> float:
    """Return what a weight takes on disk, all told: all bits of model.safetensors over the weights of the plan."""
    return 8 * file_bytes / weights


def bits_words(plan: float, file: float) -> str:
    """Return both bits per weight as a sentence that says what is in each."""
    return (
        f"{plan:.3f} bits per weight by the plan, {file:.3f} in the file: weights, scales, zero points, norms and all "
        "the rest."
    )


def folder_bits(folder: Path) -> tuple[float, float]:
    """Return bits per weight of a packed folder: the plan's, and the file's. Raises PackedError."""
    layers = read_config(folder).layers.values()
    weights = sum(math.prod(layer.shape) for layer in layers)
    plan_bits = sum(scheme(layer.scheme).storage_bits(layer.shape) for layer in layers)
    return plan_bits / weights, file_bits((folder / MODEL_FILE).stat().st_size, weights)


@dataclass(frozen=True)
class FileBits:
    """Bits of a model.safetensors by kind; together they are the whole file.

    ``weights`` is what their codes take: in fixed storage what the plan counts, Σ weights · bits, in coded storage
    their symbols' code lengths. The rest is overhead: ``tables`` of the codes' frequencies, with the classes of
    channels, ``padding`` of rows to whole words, ``scales``, ``zero_points`` and ``shapes`` of the layers,
    ``batchnorm`` (folded multipliers and offsets), ``biases``, ``other`` tensors, ``states`` of the lanes of a coded
    stream, and the file's ``header`` (names, types, offsets) with what fills up bits and words.
    """

    weights: float
    tables: float
    padding: float
    scales: float
    zero_points: float
    shapes: float
    batchnorm: float
    biases: float
    other: float
    states: float
    header: float

    @property
    def overhead(self) -> dict[str, float]:
        """Everything but the weights, in bits, by kind."""
        return {kind: bits for kind, bits in asdict(self).items() if kind != "weights"}

    @property
    def total(self) -> int:
        """All bits of the file."""
        return round(self.weights + sum(self.overhead.values()))

    @property
    def total_bytes(self) -> int:
        """Size of the file in bytes."""
        return self.total // 8

    def rows(self) -> list[tuple[str, str, str]]:
        """Return (kind, bytes, share of the file) for a table; the last row is the file. Empty kinds are left out."""
        kinds = {kind: bits for kind, bits in asdict(self).items() if bits} | {"model.safetensors": self.total}
        return [(kind.replace("_", " "), f"{b / 8:,.10g}", f"{b / self.total:.2%}") for kind, b in kinds.items()]


def measure_sizes(file: TensorFile, layers: Mapping[str, PackedLayer]) -> FileBits:
    """Return where the bits of a file go, measured on its tensors."""
    bits: dict[str, float] = dict.fromkeys(FileBits.__dataclass_fields__, 0)
    for name, layer in layers.items():
        weights = weight_bits(file, name, layer)
        bits["weights"] += weights
        bits["padding"] -= weights
        for key, kind in scheme(layer.scheme).format.tensors.items():
            taken = file.taken(f"{name}.{key}")
            if kind == "words":
                bits["padding"] += taken.content
                bits["tables"] += taken.tables
            else:
                bits[kind] += taken.all
    for name in other_tensors(file, layers):
        bits[_kind(name)] += file.taken(name).all
    bits["header"] = 8 * file.header_bytes
    if file.coding:
        bits["states"] = file.coding.state_bits
        bits["header"] += 8 * (file.header_bytes + file.coding.bytes) - sum(bits.values())
    return FileBits(**bits)


def weight_bits(file: TensorFile, name: str, layer: PackedLayer) -> float:
    """Return what the weights of a layer take: their code lengths, or in fixed storage the price of the scheme.

    Of a sparse layer these are its mask and the codes of weights that are not zero.
    """
    one = scheme(layer.scheme)
    words = [f"{name}.{key}" for key, kind in one.format.tensors.items() if kind == "words"]
    if file.coding is None:
        sparse = file.sparse.get(words[0])
        return one.storage_bits(layer.shape) if sparse is None else sparse.codes
    return sum(file.taken(key).content for key in words)


def _kind(name: str) -> str:
    """Return the kind of a tensor that belongs to no layer of the plan, by its name."""
    last = name.rpartition(".")[2]
    return {"multiplier": "batchnorm", "offset": "batchnorm", "bias": "biases"}.get(last, "other")
