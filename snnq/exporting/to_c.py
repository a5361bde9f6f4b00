"""``--to c``: the whole network as one C99 header and source, in integers, without any dependency.

Weights stay packed, spikes are bits, and every neuron compares whole numbers, as ``snnq.packed.integers`` says: logits
are those of snnq's engines bit for bit. It is written to be read and to run anywhere, not to be fast.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from snnq import __version__
from snnq.errors import UsageError
from snnq.exporting.c_layers import CLayer, c_layer, numbers
from snnq.exporting.records import ExportedLayer, Facts
from snnq.models.config import SpikformerConfig
from snnq.models.wiring import COUNT_LIMIT
from snnq.packed import integers
from snnq.packed.arrays import PackedArrays, open_arrays

MAX_TOKEN_VALUE = 255  # whole numbers of the residual stream are kept in bytes


def export(folder: Path, out: Path) -> Facts:
    """Write ``<name>.h`` and ``<name>.c`` to a new folder ``out``; the name is the packed folder's as an identifier."""
    arrays = open_arrays(folder)
    if arrays.wiring.bound > MAX_TOKEN_VALUE:
        raise UsageError(f"{folder}: {len(arrays.wiring.mixings)} blocks are more than the C export holds in a byte")
    name = identifier(folder.resolve().name)
    layers = [c_layer(arrays, stage) for stage in arrays.wiring.stages]
    facts = _facts(arrays, layers, name)
    templates = Environment(
        loader=PackageLoader("snnq.exporting"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # C, not HTML: every text in it has gone through ``comment`` or ``identifier``
    )
    out.mkdir()
    for suffix in ("h", "c"):
        text = templates.get_template(f"network.{suffix}.jinja").render(facts)
        (out / f"{name}.{suffix}").write_text(text, encoding="ascii")
    written = tuple(ExportedLayer(one.name, one.scheme, one.written_as, one.bits) for one in layers)
    head = ExportedLayer(arrays.wiring.head, arrays.scheme(arrays.wiring.head), "int32 fixed point", 32)
    notes = (f"{facts['rom']:,} bytes of read-only data, {facts['ram']:,} bytes of working memory",)
    return Facts((*written, head), notes)


def identifier(name: str) -> str:
    """Return a name as a C identifier: letters, digits and underscores of ASCII, a letter first."""
    plain = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_").lower()
    return plain if plain[:1].isalpha() else f"snnq_{plain}".rstrip("_")


def comment(text: str) -> str:
    """Return text that can stand in a C comment: ASCII, one line, and nothing that ends it or continues it."""
    plain = re.sub(r"[^\x20-\x7e]", "?", text)
    return re.sub(r"[*/\\?]{2,}", "?", plain)[:200].rstrip("\\")


def _facts(arrays: PackedArrays, layers: list[CLayer], name: str) -> dict[str, Any]:
    config, wiring, head = SpikformerConfig.from_dict(arrays.config.config), arrays.wiring, arrays.head()
    (height, width), tokens = config.image_size, config.tokens
    wide = any(layer.wide for layer in layers)
    size = config.dim // config.heads
    sizes = {
        "voltages": max(tokens * size, *(layer.outputs for layer in layers)),
        "listed": max(layer.columns for layer in layers),
        "tokens": tokens * config.steps * config.dim,
        "map": _largest_map(config, layers),
    }
    classes = arrays.config.data.classes if arrays.config.data else ()
    rom = sum(layer.nbytes for layer in layers) + 4 * head.weight.size + 8 * head.bias.size
    ram = sizes["voltages"] * (8 if wide else 4) + 4 * size * size + 7 * sizes["listed"] + sizes["tokens"]
    return sizes | {
        "name": name,
        "NAME": name.upper(),
        "tool": f"snnq {__version__}",
        "title": comment(f"{arrays.config.architecture}, packed"),
        "classes": comment(", ".join(classes)) or "not named",
        "layers": layers,
        "formats": "UNIFORM, POWER_OF_TWO, FIXED_POINT",
        "sum_type": "int64_t" if wide else "int32_t",
        "steps": config.steps,
        "channels": config.in_channels,
        "height": height,
        "width": width,
        "count": config.classes,
        "dim": config.dim,
        "heads": config.heads,
        "head_size": size,
        "token_count": tokens,
        "limit": COUNT_LIMIT,
        "pools": any(config.pooling),
        "head": {
            "comment": comment(f"{wiring.head}: {arrays.scheme(wiring.head)}, as fixed point"),
            "size": head.weight.size,
            "weight": numbers(head.weight),
            "bias": numbers(head.bias),
        },
        "scale_exponent": int(np.log2(head.scale * wiring.summands)),
        "summands": wiring.summands,
        "rom": rom,
        "ram": ram + 2 * sizes["map"],
        "program": list(_program(config, arrays)),
    }


def _largest_map(config: SpikformerConfig, layers: list[CLayer]) -> int:
    """Return the bytes of the largest map of spikes, or of q, k and v together."""
    (height, width), found = config.image_size, []
    for layer, pooled in zip(layers[:4], config.pooling, strict=True):
        found.append(height * width * layer.row)
        if pooled:
            height, width = -(-height // 2), -(-width // 2)
    found += [height * width * max(3 * -(-config.dim // 8), -(-config.hidden // 8))]
    return max(found) * config.steps


def _program(config: SpikformerConfig, arrays: PackedArrays) -> Iterable[str]:
    """Yield the calls of the network, in order."""
    stages, (height, width) = arrays.wiring.stages, config.image_size
    here, there = "a", "b"
    for index, pooled in enumerate(config.pooling):
        source = "counts, 0" if index == 0 else f"0, {there}"
        yield f"convolve(&layer_{index}, w, {source}, {here}, {height}, {width});"
        here, there = there, here
        if pooled:
            yield f"pool({there}, {here}, {arrays.rows(stages[index].layer)[0]}, {height}, {width});"
            here, there = there, here
            height, width = -(-height // 2), -(-width // 2)
    yield "memset(w->tokens, 0, sizeof w->tokens);"
    yield f"add(w, {there});"
    yield f"convolve(&layer_4, w, 0, {there}, {here}, {height}, {width});"
    yield f"add(w, {here});"
    for block, mixing in enumerate(arrays.wiring.mixings):
        first = 5 + 6 * block
        shift, threshold = integers.mixing_threshold(mixing.scale, mixing.threshold)
        for i, place in enumerate(("a", "a + part", "a + 2 * part")):
            yield f"transform(&layer_{first + i}, w, 0, {place});"
        yield f"attend(w, a, a + part, a + 2 * part, b, {shift}, {threshold});"
        yield f"transform(&layer_{first + 3}, w, b, a);"
        yield "add(w, a);"
        yield f"transform(&layer_{first + 4}, w, 0, a);"
        yield f"transform(&layer_{first + 5}, w, a, b);"
        yield "add(w, b);"
