"""A packed folder as one C99 header and one C99 source, in whole numbers, needing only <stdint.h> and <string.h>.

The source computes exactly what ``snnq.arithmetic`` says: the same spikes at every neuron, the same whole logits.
Weights stay packed in constant arrays; a spike train is a bit a step, so that a weight is decoded once for all steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from snnq.arithmetic.whole_network import step_of
from snnq.base.errors import UsageError
from snnq.base.files import write_atomic
from snnq.base.version import __version__
from snnq.exporting.c_coded import CStream, c_stream
from snnq.exporting.c_layers import TILE, CHead, CLayer, c_head, c_layer
from snnq.exporting.c_names import c_note
from snnq.exporting.c_operations import sees_numbers
from snnq.exporting.c_program import CProgram, c_program
from snnq.network.combining import Residual
from snnq.network.streams import COUNT_LIMIT
from snnq.network.wiring import Wiring, wire
from snnq.packed.arrays import PackedArrays
from snnq.structure.edits import STRUCTURE

_LINE = 112
_LARGEST = 2**31 - 1
_FILES = {"network.h": "{}.h", "network.c": "{}.c", "main.c": "main.c", "CMakeLists.txt": "CMakeLists.txt"}

_COUNTS = {"kind": "uint16_t", "name": "counts", "what": "event counts"}
_CLIP = {"kind": "uint8_t", "name": "clip", "what": "pixels"}
_IMAGE = {"kind": "uint8_t", "name": "image", "what": "pixels, the same image at each"}


@dataclass(frozen=True)
class CSource:
    """The ``files`` by name: a header and a source named ``name``, a C identifier, and a program around them.

    ``ram`` and ``rom``: bytes of workspace and constants; ``stream_ram``: bytes for a recording that is run step by
    step, None where its steps are mixed; ``decoded``: bytes of codes that the first run decodes.
    """

    name: str
    files: dict[str, str]
    layers: tuple[CLayer, ...]
    head: CHead
    ram: int
    rom: int
    stream_ram: int | None
    decoded: int = 0

    @property
    def header(self) -> str:
        """The text of the header."""
        return self.files[f"{self.name}.h"]

    @property
    def source(self) -> str:
        """The text of the source."""
        return self.files[f"{self.name}.c"]


def write_c(source: CSource, out: Path) -> tuple[Path, Path]:
    """Write all files into the folder ``out``, made if need be; return the paths of ``<name>.h`` and ``<name>.c``."""
    out.mkdir(parents=True, exist_ok=True)
    for name, text in source.files.items():
        write_atomic(out / name, text)
    return out / f"{source.name}.h", out / f"{source.name}.c"


def c_source(arrays: PackedArrays, name: str, *, coded: bool = False) -> CSource:
    """Return a packed folder as C; ``name`` is a C identifier. ``coded``: its codes are a stream until the first run.

    Raises PackedError for an incomplete folder, UsageError for operations or sizes that have no C form.
    """
    arrays = _as_edited(arrays)
    wiring = arrays.wiring
    if wiring.beyond_c:
        why = f"{arrays.config.architecture} has no form in C, because {wiring.beyond_c}"
        raise UsageError(f"{arrays.folder}: {why}", "use another target")
    layers = tuple(c_layer(arrays, one) for one in wiring.layers)
    program = c_program(arrays.network, {one.name: one.width for one in layers})
    head = c_head(arrays, wiring.graph.head.outputs, wiring.read.channels)
    stream = c_stream(layers, head) if coded else None
    values = _values(arrays, program, layers, head, stream)
    _check_sizes(arrays, values)
    environment = Environment(
        loader=PackageLoader("snnq.exporting"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # C, not HTML: every text in it has gone through ``c_name`` or ``c_note``
    )
    environment.filters |= {"numbers": _numbers, "pairs": _pairs, "note": c_note}
    told = {"name": name, "NAME": name.upper(), "version": c_note(__version__), "unpacking": _unpacking, **values}
    files = {to.format(name): environment.get_template(f"{one}.jinja").render(told) for one, to in _FILES.items()}
    decoded = stream.ram if stream else 0
    return CSource(name, files, layers, head, values["ram"], values["rom"], program.stream_bytes, decoded)


def _as_edited(arrays: PackedArrays) -> PackedArrays:
    """Return a packed folder whose wiring has the widths of its layers, where edits of the structure made others."""
    if STRUCTURE not in arrays.config.config:
        return arrays  # any other width is a mistake, which is found layer by layer
    wiring = wire(arrays.wiring.graph.resized({name: one.shape[0] for name, one in arrays.config.layers.items()}))
    assert isinstance(wiring, Wiring), "widths change nothing of what runs in whole numbers"
    return replace(arrays, wiring=wiring)


def _check_sizes(arrays: PackedArrays, values: dict[str, Any]) -> None:
    """Raise UsageError where an offset would pass an int32_t."""
    shape = [values["steps"], *values["frame"]]
    if max(values["ram"], values["stream_ram"] or 0, values["rom"], math.prod(shape)) > _LARGEST:
        raise UsageError(
            f"{arrays.folder}: the C source counts in 32 bits, too few for {values['ram']:,} bytes of memory, "
            f"{values['rom']:,} bytes of constants and frames of {shape}",
            "use another target",
        )


def _values(
    arrays: PackedArrays, program: CProgram, layers: tuple[CLayer, ...], head: CHead, stream: CStream | None
) -> dict[str, Any]:
    """Return what the templates are filled with."""
    graph, data = arrays.wiring.graph, arrays.config.data
    outputs = graph.head.outputs
    pixels = arrays.config.quantization_config.pixels
    levels = _levels(arrays, graph.frames.channels) if pixels else None
    still = pixels is not None and pixels.still and graph.segment is None
    names = list(data.classes) if data is not None and len(data.classes) == outputs else []
    return {
        "architecture": arrays.config.architecture,
        "classes": names or [f"class {i}" for i in range(outputs)],
        "steps": graph.steps,
        "frame": (graph.frames.channels, *graph.frames.size),
        "tile": TILE,
        "count_limit": COUNT_LIMIT,
        "given": _IMAGE if still else _CLIP if pixels else _COUNTS,
        "images": pixels is not None,
        "still": still,
        "numbers": sees_numbers(arrays.wiring),
        "residual": any(isinstance(one, Residual) for one in graph.operations),
        "segment": graph.segment,
        "pass_steps": graph.pass_steps if graph.segment else None,
        "levels": levels,
        "how": pixels.how if pixels else "",
        "layers": layers,
        "rows": sorted({one.row for one in layers}),
        "decoders": sorted({(one.row, one.bits, one.width) for one in layers}),
        "code_bits": sorted({one.bits for one in (*layers, head)} - {0}),
        "depthwise": any(one.depthwise for one in layers),
        "most_taps": max(one.taps for one in layers),
        "head": head,
        **_head_values(arrays),
        "stream": stream if stream and stream.parts else None,
        "rom": _rom(layers, head, stream) + program.rom + (0 if levels is None else 2 * levels.size),
        **program.values(layers),
    }


def _head_values(arrays: PackedArrays) -> dict[str, Any]:
    """Return what makes activations of the head's sums, and what its logits are worth."""
    head, quantised = arrays.head(), arrays.wiring.graph.head.quantised
    summands = arrays.network.summands if quantised is None else 1 / step_of(quantised)
    return {
        "head_codes": head.codes,
        "summands": summands,
        "logit_bits": round(-math.log2(head.scale * summands)),
    }


def _levels(arrays: PackedArrays, channels: int) -> np.ndarray:
    """Return what the first layer sees of every byte, (channels · 256,)."""
    return arrays.frames(np.arange(256, dtype=np.uint8).reshape(1, 1, 1, 1, 256).repeat(channels, 2)).ravel()


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


def _pairs(places: list[tuple[int, int]]) -> str:
    """Return pairs as lines of a C initialiser."""
    words = [f"{{{first}, {second}}}," for first, second in places]
    return "\n".join(f"    {' '.join(words[i : i + 6])}" for i in range(0, len(words), 6))
