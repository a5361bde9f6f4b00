"""Where the spikes of each part of the network lie in the one buffer of the C source.

A spike train is ``ceil(T/8)`` bytes, a bit a step. Every convolution finds its input at the end of the buffer and
writes its output from the start, over rows that no later row needs: the buffer is hardly larger than the largest
activation.
"""

from __future__ import annotations

from dataclasses import dataclass

from snnq.models.spikformer.sizes import SpikformerConfig
from snnq.network.graph import COUNT_LIMIT
from snnq.network.wiring import Wiring

# Channels whose sums are formed at a time; the scratch for them is STEPS times as large.
TILE = 32


@dataclass(frozen=True)
class Convolution:
    """A 3×3 convolution over (height, width), the side lengths of its input, and of its output (rows, columns).

    ``source`` is where its input begins and ``bytes`` how long it is; the output begins at 0.
    """

    height: int
    width: int
    rows: int
    columns: int
    pooled: bool
    source: int
    bytes: int


@dataclass(frozen=True)
class Memory:
    """All buffers, in bytes or, for planes, in bits a value.

    ``convolutions``: the four of the tokenizer and the relative-position one, whose output are the tokens.
    ``queries``: where q begins, behind the tokens; k and v follow it.
    """

    time_bytes: int
    count_planes: int
    token_planes: int
    convolutions: tuple[Convolution, ...]
    queries: int
    arena: int


def plan_memory(config: SpikformerConfig, wiring: Wiring) -> Memory:
    """Return where everything lies."""
    time_bytes, token_planes = -(-config.steps // 8), wiring.largest.bit_length()
    dim, (height, width) = config.dim, config.image_size
    found, pixel, arena = [], 0, 0
    for channels, pooled in zip((dim // 8, dim // 4, dim // 2, dim), config.pooling, strict=True):
        found.append(_convolution(height, width, pooled, pixel, channels * time_bytes))
        height, width, pixel = found[-1].rows, found[-1].columns, channels * time_bytes
        arena = max(arena, found[-1].source + found[-1].bytes, height * width * pixel)
    found.append(_convolution(height, width, False, pixel, pixel * token_planes))
    tokens = height * width * pixel
    queries = tokens * token_planes
    arena = max(arena, found[-1].source + found[-1].bytes, queries + 3 * tokens)
    return Memory(time_bytes, COUNT_LIMIT.bit_length(), token_planes, tuple(found), queries, arena)


def _convolution(height: int, width: int, pooled: bool, pixel: int, made: int) -> Convolution:
    """Return a convolution of ``pixel`` bytes to ``made`` bytes a pixel, its input as near to its output as can be.

    While row y is computed, input rows from y - 1 on are still needed, and output rows up to y, or (y + 1) / 2 where
    they are pooled, are written.
    """
    rows, columns = (-(-height // 2), -(-width // 2)) if pooled else (height, width)
    source = 0
    # Both are linear in y but for the first and the last rows and for odd and even ones: no row between needs more.
    for y in {*range(min(height, 4)), *range(max(height - 4, 0), height)}:
        last = min((y + 1) // 2, rows - 1) if pooled else y
        source = max(source, (last + 1) * columns * made - max(y - 1, 0) * width * pixel)
    return Convolution(height, width, rows, columns, pooled, source if pixel else 0, height * width * pixel)
