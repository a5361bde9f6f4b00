"""What the attentions of an architecture compute, from its sizes alone, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from snnq.models.config import SpikformerConfig
from snnq.models.registry import ARCHITECTURES
from snnq.models.sdt_config import SDTConfig
from snnq.models.spikingformer_config import SpikingformerConfig
from snnq.models.staged_config import QKFORMERS, StagedConfig
from snnq.network.products import Order, Products

_ORDERS: dict[str, tuple[Order, Literal["operand", "end"]]] = {
    "cifar10dvs": ("scores", "end"),
    "cifar10": ("scores", "operand"),
    "imagenet": ("keys", "end"),
    "spikingjelly": ("keys", "end"),
    "spikingformer-dvs": ("scores", "end"),
    "spikingformer-cifar10": ("scores", "end"),
    "spikingformer-imagenet": ("keys", "end"),
}
_SCALE = 0.125  # where upstream has it in the code


def attention_table(name: str, config: Mapping[str, Any]) -> tuple[Products, ...]:
    """Return the products of every attention of the architecture ``name``, in the order they run.

    Empty for a user's own model, whose attention is not known here. Raises ``UsageError`` for sizes that no model can
    have.
    """
    if name not in ARCHITECTURES:
        return ()
    sizes: Any = ARCHITECTURES[name].config(config)
    if isinstance(sizes, StagedConfig):
        return _staged(sizes)
    order: Order = "keys"
    scaled: Literal["operand", "end"] | None = "end"
    chunk, scale = getattr(sizes, "chunk", None), _SCALE
    if isinstance(sizes, SpikformerConfig | SpikingformerConfig):
        order, scaled = _ORDERS[sizes.layout]
        scale = getattr(sizes, "attention_scale", _SCALE)
    elif isinstance(sizes, SDTConfig):
        order, scaled, scale = "sums", None, sizes.attention_scale
    if chunk is not None:  # STAtten's, on whatever model
        order, scaled = "keys", "operand"
    return tuple(
        Products(
            name=f"block.{index}.attn",
            order=order,
            heads=sizes.heads,
            tokens=sizes.tokens,
            width=sizes.dim // sizes.heads,
            steps=sizes.steps,
            chunk=chunk or 1,
            scale=scale,
            scaled=scaled,
        )
        for index in range(sizes.depth)
    )


def _staged(sizes: StagedConfig) -> tuple[Products, ...]:
    """Return the self-attentions of the last stage and, of a QKFormer, the token attentions of those before it."""
    last, found = len(sizes.blocks) - 1, []
    for stage, (blocks, width, tokens) in enumerate(zip(sizes.blocks, sizes.widths, sizes.stage_tokens, strict=True)):
        if stage == last:
            name = "ssa" if sizes.layout in QKFORMERS and sizes.data != "imagenet" else "attn"
            more: dict[str, Any] = {"order": "keys", "scale": _SCALE, "scaled": "end"}
        elif sizes.layout in QKFORMERS:
            name, more = "tssa", {"order": "channel-gates" if sizes.layout.endswith("-channel") else "gates"}
        else:
            continue
        heads = sizes.stage_heads[stage]
        more |= {"heads": heads, "tokens": tokens, "width": width // heads, "steps": sizes.steps}
        found += [Products(name=f"stage{stage + 1}.{index}.{name}", **more) for index in range(blocks)]
    return tuple(found)
