"""What the attentions of an architecture compute, from its sizes alone, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from snnq.models.config import SpikformerConfig
from snnq.models.registry import ARCHITECTURES
from snnq.models.sdt_config import SDTConfig
from snnq.products import Order, Products

_ORDERS: dict[str, tuple[Order, Literal["operand", "end"]]] = {
    "cifar10dvs": ("scores", "end"),
    "cifar10": ("scores", "operand"),
    "imagenet": ("keys", "end"),
}


def attention_table(name: str, config: Mapping[str, Any]) -> tuple[Products, ...]:
    """Return the products of every attention of the architecture ``name``, in the order they run.

    Empty for a model whose attention is not known here. Raises ``UsageError`` for sizes that no model can have.
    """
    if name not in ARCHITECTURES:
        return ()
    sizes = ARCHITECTURES[name].config(config)
    if not isinstance(sizes, SpikformerConfig | SDTConfig):
        return ()
    if sizes.chunk is not None:  # STAtten's, on whatever model
        order, scaled = "keys", "operand"
    elif isinstance(sizes, SpikformerConfig):
        order, scaled = _ORDERS[sizes.layout]
    else:
        order, scaled = "sums", None
    return tuple(
        Products(
            name=f"block.{index}.attn",
            order=order,
            heads=sizes.heads,
            tokens=sizes.tokens,
            width=sizes.dim // sizes.heads,
            steps=sizes.steps,
            chunk=sizes.chunk or 1,
            scale=sizes.attention_scale,
            scaled=scaled,
        )
        for index in range(sizes.depth)
    )
