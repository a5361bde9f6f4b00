"""A packed folder as one C99 header and one C99 source, in whole numbers, needing only <stdint.h> and <string.h>.

The source computes exactly what ``snnq.arithmetic.integers`` says: the same spikes at every neuron, the same whole
logits. Weights stay packed in constant arrays; a spike train is a bit a step, so that a weight is decoded once for all
steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from snnq.base.errors import UsageError
from snnq.base.files import write_atomic
from snnq.base.version import __version__
from snnq.exporting.c_coded import CStream, c_stream
from snnq.exporting.c_layers import CHead, CLayer, c_head, c_layer
from snnq.exporting.c_memory import TILE, Memory, plan_memory
from snnq.exporting.c_names import c_note
from snnq.models.registry import architecture
from snnq.models.spikformer.sizes import SpikformerConfig
from snnq.network.graph import COUNT_LIMIT
from snnq.packed.arrays import PackedArrays
from snnq.structure.edits import STRUCTURE

_LINE = 112
_LARGEST = 2**31 - 1


@dataclass(frozen=True)
class CSource:
    """A header and a source named ``name``, a C identifier.

    ``ram`` and ``rom``: bytes of workspace and constants; ``decoded``: bytes of codes that the first run decodes.
    """

    name: str
    header: str
    source: str
    layers: tuple[CLayer, ...]
    head: CHead
    ram: int
    rom: int
    decoded: int = 0


def write_c(source: CSource, out: Path) -> tuple[Path, Path]:
    """Write ``<name>.h`` and ``<name>.c`` into the folder ``out``, made if need be; return their paths."""
    out.mkdir(parents=True, exist_ok=True)
    paths = out / f"{source.name}.h", out / f"{source.name}.c"
    for path, text in zip(paths, (source.header, source.source), strict=True):
        write_atomic(path, text)
    return paths


def c_source(arrays: PackedArrays, name: str, *, coded: bool = False) -> CSource:
    """Return a packed folder as C; ``name`` is a C identifier. ``coded``: its codes are a stream until the first run.

    Raises PackedError for an incomplete folder, UsageError for an architecture or sizes that have no C form.
    """
    config = _spikformer(arrays)
    memory = plan_memory(config, arrays.wiring)
    layers, head = _layers(arrays, config), c_head(arrays, config.classes, config.dim)
    stream = c_stream(layers, head) if coded else None
    values = _values(arrays, config, memory, layers, head, stream)
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
    decoded = stream.ram if stream else 0
    return CSource(name, header, source, layers, head, values["ram"], values["rom"], decoded)


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
        why = f", because {arrays.wiring.beyond}" if arrays.wiring.beyond else edited
        raise UsageError(f"{arrays.folder}: {name} has no form in C{why}", "export a Spikformer, or another target")
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
    arrays: PackedArrays,
    config: SpikformerConfig,
    memory: Memory,
    layers: tuple[CLayer, ...],
    head: CHead,
    stream: CStream | None,
) -> dict[str, Any]:
    """Return what the templates are filled with."""
    wiring, network, data = arrays.wiring, arrays.network, arrays.config.data
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
        "mixings": [(one.shift, one.threshold) for one in map(network.compared, (one.fires for one in wiring.mixings))],
        "summands": network.summands,
        "logit_bits": round(-math.log2(arrays.head().scale * network.summands)),
        "ram": _ram(config, widths, sizes),
        "stream": stream if stream and stream.parts else None,
        "rom": _rom(layers, head, stream),
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


def _rom(layers: tuple[CLayer, ...], head: CHead, stream: CStream | None) -> int:
    """Return the bytes of all constants: of codes the stream's, where there is one."""
    arrays = [array for one in (*layers, head) for array in one.arrays]
    if stream is None:
        return sum(array.bytes for array in arrays)
    return sum(array.bytes for array in arrays if array.field != "codes") + stream.rom


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
