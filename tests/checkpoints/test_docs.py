"""docs/checkpoints.md says of every architecture what the code does: what keys tell, what is asked, written out."""

from __future__ import annotations

from pathlib import Path

from upstream_files import HEADS, TINY, upstream_shapes

from snnq.checkpoints.keymaps import every_keys
from snnq.checkpoints.sizes import OPTIONS, shown
from snnq.models.registry import ARCHITECTURES, architecture

ARITHMETIC = {"integer": "whole numbers", "float": "floating point"}
PAGE = Path(__file__).parents[2] / "docs" / "checkpoints.md"


def asked(name: str) -> str:
    if not any(name in keys.architectures for keys in every_keys()):
        return ""
    found = [OPTIONS[size] for size in architecture(name).asked()]
    others = [one for keys in every_keys() if name in keys.architectures for one in keys.architectures if one != name]
    if others:
        found.insert(0, "--architecture")
    return ", ".join(f"`{one}`" for one in found)


def written(name: str) -> str:
    config, out = architecture(name).default_config(), architecture(name).upstream
    parts = [f"{size.replace('_', ' ')} {_value(name, size, config)}" for size in out.always]
    for (dim, depth), sizes in out.beside.items():
        told = ", ".join(f"{size.replace('_', ' ')} {shown(size, value)}" for size, value in sizes.items())
        parts.append(f"of {depth} blocks of {dim}: {told}")
    return "; ".join(parts)


def _value(name: str, size: str, config: dict) -> str:
    if size == "heads" and architecture(name).config({"dim": 512}).heads != config["heads"]:
        return "dim / 64"
    if size == "attention_scale" and "chunk" in config:
        return "1/(rows² · chunk)" if name.endswith("-dvs") else "1/rows"
    return shown(size, config[size])


def told(name: str) -> str:
    keys = next((keys for keys in every_keys() if name in keys.architectures), None)
    if keys is None:
        return "no file but snnq's own"
    leaks = architecture(name).upstream.told(["head_lif.w"])
    more = {"learned leaks": leaks, "blocks of every stage": keys.free, "image size": "pos_embed" in _published(name)}
    return ", ".join(["sizes", *(what for what, is_so in more.items() if is_so)])


def _published(name: str) -> set[str]:
    """The keys of upstream's published state dict, of those whose shapes were written down."""
    layout = name.removeprefix("spikformer-")
    return set(upstream_shapes(layout, **TINY)) if layout in HEADS else set()


def rows() -> list[str]:
    return [
        f"| `{name}` | {told(name)} | {asked(name)} | {written(name)} | {ARITHMETIC[one.wiring({}).arithmetic]} |"
        for name, one in ARCHITECTURES.items()
    ]


def test_the_table_is_what_the_code_does() -> None:
    text = PAGE.read_text(encoding="utf-8")
    table = [line for line in text.splitlines() if line.startswith("| `") and line.count("|") == 6]
    assert table == rows(), "\n".join(["write this into docs/checkpoints.md:", *rows()])
