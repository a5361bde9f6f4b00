"""``--to c``: the whole network as one C99 header and one C99 source, in integers, without any dependency.

They need only <stdint.h> and <string.h>. The source computes exactly what ``snnq.arithmetic.integers`` says: the same
spikes at every neuron, the same whole logits. Weights stay packed in constant arrays; a spike train is a bit a step, so
that a weight is decoded once for all steps. Nothing from a stranger's folder can break out of a name or a comment.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from snnq.arithmetic import integers
from snnq.base.errors import UsageError
from snnq.base.files import write_atomic
from snnq.base.version import __version__
from snnq.exporting.c_layers import CHead, CLayer, c_head, c_layer
from snnq.exporting.c_memory import TILE, Memory, plan_memory
from snnq.exporting.targets import ExportedLayer, Facts
from snnq.models.registry import architecture
from snnq.models.spikformer.sizes import SpikformerConfig
from snnq.network.wiring import COUNT_LIMIT
from snnq.packed.arrays import PackedArrays, open_arrays
from snnq.structure.edits import STRUCTURE

# C99 promises that 31 characters of an external name count, and our longest ending is ``_workspace``.
_LONGEST = 20
# A header of these names would hide the compiler's own where its folder is searched first.
_TAKEN = frozenset(
    (
        *("assert", "complex", "ctype", "errno", "fenv", "float", "inttypes", "iso646", "limits", "locale", "math"),
        *("memory", "setjmp", "signal", "stdalign", "stdarg", "stdatomic", "stdbool", "stddef", "stdint", "stdio"),
        *("stdlib", "stdnoreturn", "string", "strings", "tgmath", "threads", "time", "uchar", "unistd", "wchar"),
        "wctype",
    )
)
_NO_NOTE = re.compile(r"[^A-Za-z0-9 _.,+-]")


def c_name(text: str) -> str:
    """Return a C identifier made of any text: lower-case letters, digits and single underscores, at most 20.

    It begins with a letter, since names with an underscore in front are the compiler's; text without a letter or digit
    gives ``network``.
    """
    plain = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
    if not plain:
        return "network"
    # <stdint.h> may define macros such as INT8_WIDTH.
    if plain in _TAKEN or re.match(r"\d|u?int|size|ptrdiff|wchar|wint|sig", plain):
        plain = f"net_{plain}"
    return plain[:_LONGEST].rstrip("_")


def c_note(text: str) -> str:
    """Return text for one line of a comment, at most 60 characters: what could end it or splice lines becomes ``_``."""
    return _NO_NOTE.sub("_", text[:60])


_LINE = 112
_LARGEST = 2**31 - 1


@dataclass(frozen=True)
class CSource:
    """A header and a source named ``name``, a C identifier; ``ram`` and ``rom``: bytes of workspace and constants."""

    name: str
    header: str
    source: str
    layers: tuple[CLayer, ...]
    head: CHead
    ram: int
    rom: int


def write_c(source: CSource, out: Path) -> tuple[Path, Path]:
    """Write ``<name>.h`` and ``<name>.c`` into the folder ``out``, made if need be; return their paths."""
    out.mkdir(parents=True, exist_ok=True)
    paths = out / f"{source.name}.h", out / f"{source.name}.c"
    for path, text in zip(paths, (source.header, source.source), strict=True):
        write_atomic(path, text)
    return paths


def c_source(arrays: PackedArrays, name: str) -> CSource:
    """Return a packed folder as C; ``name`` is a C identifier.

    Raises PackedError for an incomplete folder, UsageError for an architecture or sizes that have no C form.
    """
    config = _spikformer(arrays)
    memory = plan_memory(config, arrays.wiring)
    layers, head = _layers(arrays, config), c_head(arrays, config.classes, config.dim)
    values = _values(arrays, config, memory, layers, head)
    _check_sizes(arrays, config, values)
    environment = Environment(
        loader=PackageLoader("snnq.exporting"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # C, not HTML: every text in it has gone through ``c_name`` or ``c_note``
    )
    environment.filters |= {"numbers": _numbers, "note": c_note}
    given = {"name": name, "NAME": name.upper(), "version": c_note(__version__), "unpacking": _unpacking, **values}
    header, source = (environment.get_template(f"network.{kind}.jinja").render(given) for kind in "hc")
    return CSource(name, header, source, layers, head, values["ram"], values["rom"])


def _check_sizes(arrays: PackedArrays, config: SpikformerConfig, values: dict[str, Any]) -> None:
    """Raise UsageError where an offset, or a sum of an attention, would pass an int32_t."""
    mixed = max(config.tokens * values["head_dim"] << shift for shift, _ in values["mixings"])
    if max(values["ram"], values["rom"], math.prod(config.frames_shape), 2 * mixed) > _LARGEST:
        raise UsageError(
            f"{arrays.folder}: the C source counts in 32 bits, too few for {values['ram']:,} bytes of memory, "
            f"{values['rom']:,} bytes of constants, frames of {list(config.frames_shape)} and {config.tokens:,} tokens",
            "use another target",
        )


def _spikformer(arrays: PackedArrays) -> SpikformerConfig:
    name, values = arrays.config.architecture, arrays.config.config
    if not arrays.wiring.in_c:
        edited = " after edits of its structure" if STRUCTURE in values else ""
        raise UsageError(f"{arrays.folder}: {name} has no form in C{edited}", "export a Spikformer, or another target")
    sizes: Any = architecture(name).config(values)
    return sizes


def _layers(arrays: PackedArrays, config: SpikformerConfig) -> tuple[CLayer, ...]:
    """Return the layers before a neuron in the order of the wiring's stages."""
    dim, hidden = config.dim, config.hidden
    widths = (config.in_channels, dim // 8, dim // 4, dim // 2, dim, dim)
    shapes = [(made, taken, 9) for taken, made in pairwise(widths)]
    shapes += [*[(dim, dim, 1)] * 4, (hidden, dim, 1), (dim, hidden, 1)] * config.depth
    return tuple(c_layer(arrays, stage, *shape) for stage, shape in zip(arrays.wiring.stages, shapes, strict=True))


def _values(
    arrays: PackedArrays, config: SpikformerConfig, memory: Memory, layers: tuple[CLayer, ...], head: CHead
) -> dict[str, Any]:
    """Return what the templates are filled with."""
    wiring, data = arrays.wiring, arrays.config.data
    widths = sorted({one.width for one in layers})
    names = list(data.classes) if data is not None and len(data.classes) == config.classes else []
    sizes = _sizes(config, memory)
    planes = [memory.count_planes, *[1] * 4, *[*[memory.token_planes] * 3, 1, memory.token_planes, 1] * config.depth]
    return {
        "architecture": arrays.config.architecture,
        "classes": names or [f"class {i}" for i in range(config.classes)],
        "steps": config.steps,
        "frame": config.frames_shape[1:],
        "grid": config.grid,
        "dim": config.dim,
        "heads": config.heads,
        "head_dim": config.dim // config.heads,
        "memory": memory,
        "tile": TILE,
        "count_limit": COUNT_LIMIT,
        "sizes": sizes,
        "widths": widths,
        "layers": layers,
        "planes": planes,
        "rows": sorted({one.row for one in layers}),
        "decoders": sorted({(one.row, one.bits, one.width) for one in layers}),
        "code_bits": sorted({one.bits for one in (*layers, head)} - {0}),
        "head": head,
        "mixings": [integers.mixing_threshold(one.scale, one.threshold) for one in wiring.mixings],
        "summands": wiring.summands,
        "logit_bits": round(-math.log2(arrays.head().scale * wiring.summands)),
        "ram": _ram(config, widths, sizes),
        "rom": sum(array.bytes for one in (*layers, head) for array in one.arrays),
    }


def _sizes(config: SpikformerConfig, memory: Memory) -> dict[str, int]:
    """Return the bytes of each buffer in the workspace."""
    counts = 9 * config.in_channels * memory.count_planes
    fired = max(config.dim, config.hidden)
    sizes = {"counts": counts, "fired": fired, "hidden": fired}
    return {name: size * memory.time_bytes for name, size in sizes.items()} | {"arena": memory.arena}


def _ram(config: SpikformerConfig, widths: list[int], sizes: dict[str, int]) -> int:
    """Return the size of the workspace, which begins with 64-bit numbers and is padded to whole ones."""
    scratch = max(8 * config.dim, 4 * config.dim // config.heads * config.steps)
    scratch = max(scratch, *(width // 8 * TILE * config.steps for width in widths))
    rows = sum(width // 8 * TILE for width in widths)
    return -(-(-(-scratch // 8) * 8 + rows + sum(sizes.values())) // 8) * 8


def _unpacking(bits: int) -> list[str]:
    """Return the C lines that take eight codes of b bits, lowest first, out of b bytes."""
    lines = []
    for i in range(8):
        byte, shift = divmod(i * bits, 8)
        value = f"from[{byte}] >> {shift}" if shift else f"from[{byte}]"
        if shift + bits > 8:
            value = f"({value}) | from[{byte + 1}] << {8 - shift}"
        lines.append(f"q[{i}] = (uint8_t)(({value}) & {2**bits - 1});")
    return lines


def _numbers(values: np.ndarray) -> str:
    """Return whole numbers as lines of a C initialiser."""
    words = [f"{value}," for value in values.tolist()]
    longest = max(map(len, words))
    each = max(1, _LINE // (longest + 1))
    lines = (" ".join(words[i : i + each]) for i in range(0, len(words), each))
    return "\n".join(f"    {line}" for line in lines)


def export(folder: Path, out: Path) -> Facts:
    """Write ``<name>.h`` and ``<name>.c`` to a new folder ``out``; the name is the packed folder's as an identifier."""
    source = c_source(open_arrays(folder), c_name(folder.resolve().name))
    write_c(source, out)
    notes = (f"{source.rom:,} bytes of read-only data, {source.ram:,} bytes of working memory",)
    return Facts(tuple(map(_exported, (*source.layers, source.head))), notes)


def _exported(one: CLayer | CHead) -> ExportedLayer:
    if one.bits:
        return ExportedLayer(one.name, one.scheme, f"codes of {one.bits} bits", one.bits)
    bits = 32 if isinstance(one, CHead) else 64
    return ExportedLayer(one.name, one.scheme, f"int{bits} fixed point", bits)
