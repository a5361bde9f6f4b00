"""The first 3×3 convolution of event counts, of few channels: three rows of sums a pixel, and its neurons behind them.

A row of the window is three pixels of at most two channels. One plane of their bits is a number below 64, whose sums of
weights lie in a table. So a pixel's sums take three rows for each plane, whether events are many or few, and no lists.
"""

# Compiled functions have no types that a checker could use.
# pyright: reportCallIssue=false
from __future__ import annotations

from collections.abc import Callable

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from snnq.runtime.compiling import compiled
from snnq.runtime.llvm import Args, Builder, Context, Signature, Value
from snnq.runtime.tables import PATTERNS
from snnq.runtime.vectors import LANES, data_of, halved, let_fire, load_vector, loop

SIDE = 3
CHANNELS = 2  # at most, two bits of a pattern each pixel has
WINDOWS = 2 ** (CHANNELS * SIDE)  # patterns of three pixels
TABLE_SIZE = SIDE * WINDOWS * LANES
HALF = LANES // 2
_I8, _I16, _I32, _I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))


@compiled
def list_windows(frames, limit, patterns, used, begin, end):  # pragma: no cover (compiled)
    """Write the patterns of event counts (S, T, C, H, W), C ≤ 2, and how many planes of them are used.

    ``patterns`` uint8 (planes, S, H + 2, W, T): bits 2·j … 2·j + 1 are plane p of the counts at column x - 1 + j; the
    first and last rows are zeros already. ``used`` uint8 (S, H + 2, W): planes up to the highest that is not zero in
    any step. ``begin`` and ``end`` count rows of pixels, S·H in all; counts above ``limit`` become it.
    """
    _, steps, channels, height, width = frames.shape
    counts = np.zeros((steps, channels, width + 2), np.int16)  # with the zeros that surround an image
    most, near = np.empty(width + 2, np.int16), np.empty(width + 2, np.uint8)
    made = np.empty((steps, width), np.uint8)
    for row in range(begin, end):
        sample, y = row // height, row % height
        _clip_row(frames, sample, y, limit, counts, most)
        highest = 0
        for x in range(width):
            left, count = most[x] | most[x + 1] | most[x + 2], 0
            while left >> count != 0:
                count += 1
            used[sample, y + 1, x] = count
            highest = max(highest, count)
        for plane in range(len(patterns)):
            mine = patterns[plane, sample, y + 1]
            if plane < highest:
                _list_plane(counts, plane, near, made, mine)
            else:
                mine[:] = 0


@compiled
def _clip_row(frames, sample, y, limit, counts, most):  # pragma: no cover
    """Write a row of event counts, clipped, and the bits that any of them has at a column."""
    most[:] = 0
    for step in range(counts.shape[0]):
        for channel in range(counts.shape[1]):
            line, given = counts[step, channel, 1:], frames[sample, step, channel, y]
            for x in range(len(given)):
                line[x] = min(given[x], limit)
            for x in range(len(given)):
                most[x + 1] |= line[x]


@compiled
def _list_plane(counts, plane, near, made, mine):  # pragma: no cover
    """Write the patterns of one plane of a row, (W, T); ``near`` and ``made`` are scratch."""
    steps, width = made.shape
    for step in range(steps):
        near[:] = 0
        for channel in range(counts.shape[1]):
            line = counts[step, channel]
            for x in range(width + 2):
                near[x] |= np.uint8(((line[x] >> plane) & 1) << channel)
        for x in range(width):
            made[step, x] = near[x] | (near[x + 1] << CHANNELS) | (near[x + 2] << (2 * CHANNELS))
    for x in range(width):
        for step in range(steps):
            mine[x, step] = made[step, x]


@compiled
def widen_table(narrow, wide, lanes):  # pragma: no cover
    """Fill the sums of all patterns of a row of three pixels, int16 (3, 64, ``lanes``), from a block's table of 3×3."""
    for row in range(SIDE):
        for pattern in range(WINDOWS):
            mine = wide[(row * WINDOWS + pattern) * lanes : (row * WINDOWS + pattern + 1) * lanes]
            mine[:] = 0
            for j in range(SIDE):
                two = (pattern >> (CHANNELS * j)) & (2**CHANNELS - 1)
                at = ((SIDE * row + j) * PATTERNS + two) * LANES
                other = narrow[at : at + lanes]
                for c in range(lanes):
                    mine[c] += other[c]


def _steps(lanes: int) -> Callable[..., None]:
    """Return what runs ``lanes`` outputs of a block at one pixel for all steps, their voltages in registers."""

    @intrinsic
    def run_steps(  # type: ignore[no-untyped-def]
        typingctx, table, patterns, at, down, plane, used, steps, shift, offset, threshold, voltages, out, to, stride
    ):
        """Run all steps; patterns of plane 0 and the row above begin at ``at``, those of other rows ``down`` behind.

        ``plane``: from plane to plane; ``used`` planes, 1 and more. ``out`` uint64, flat: words at ``to``, ``to`` +
        ``stride``, …; ``shift``, ``offset``, ``threshold`` and ``voltages`` int32, of which ``lanes`` are read.
        """
        whole = types.intp
        kind = types.void(table, patterns, *[whole] * 5, shift, offset, threshold, voltages, out, whole, whole)

        def codegen(context: Context, builder: Builder, signature: Signature, args: Args) -> Value:
            return _code(context, builder, signature, args, lanes)

        return kind, codegen

    return run_steps


def _code(context: Context, builder: Builder, signature: Signature, args: Args, lanes: int) -> Value:
    data = {i: data_of(context, builder, signature, args, i) for i in (0, 1, 7, 8, 9, 10, 11)}
    at, down, plane, used, steps = args[2:7]
    wide = ir.VectorType(_I32, lanes)
    shift, offset, threshold, first = (load_vector(builder, data[i], wide) for i in (7, 8, 9, 10))
    last = builder.sub(used, _I64(1))

    def sums(step: Value) -> Value:
        def add(i: Value, summed: Value) -> Value:
            p = builder.sub(last, i)
            begin = builder.add(builder.add(at, builder.mul(p, plane)), step)
            rows = [_row(builder, data[0], data[1], begin, down, row, lanes) for row in range(SIDE)]
            row = builder.sext(builder.add(builder.add(rows[0], rows[1]), rows[2]), wide)
            return builder.add(builder.shl(summed, ir.Constant(wide, [1] * lanes)), row)

        return loop(builder, used, ir.Constant(wide, [0] * lanes), add)

    def run(step: Value, voltages: Value) -> Value:
        word, left = let_fire(builder, sums(step), voltages, (shift, offset, threshold), halved)
        word = word if lanes == LANES else builder.zext(word, _I64)
        place = builder.add(args[12], builder.mul(step, args[13]))
        builder.store(word, builder.gep(data[11], [place]))
        return left

    left = loop(builder, steps, first, run)
    builder.store(left, builder.bitcast(data[10], wide.as_pointer()), align=1)
    return context.get_dummy_value()


def _row(builder: Builder, table: Value, patterns: Value, at: Value, down: Value, row: int, lanes: int) -> Value:
    """Return the sums of a window's row, of the pattern that lies there."""
    place = builder.add(at, builder.mul(down, _I64(row)))
    pattern = builder.zext(builder.load(builder.gep(patterns, [place])), _I64)
    first = builder.mul(builder.add(pattern, _I64(row * WINDOWS)), _I64(lanes))
    return load_vector(builder, builder.gep(table, [first]), ir.VectorType(_I16, lanes))


_all_lanes, _half_lanes = _steps(LANES), _steps(HALF)


@compiled
def run_frames(
    table, patterns, used, lanes, shift, offset, threshold, state, kept, out, block, begin, end
):  # pragma: no cover
    """Run one block of outputs and its LIF neurons, of a leak of 2, over the pixels from ``begin`` to ``end``.

    ``table`` int16 (3, 64, ``lanes``), flat, with ``lanes`` 32 or 64; ``patterns`` and ``used`` as ``list_windows``
    writes them, both flat behind their shapes; ``shift``, ``offset`` and ``threshold`` int32 (64,); ``state`` and
    ``kept`` as in ``kernels.voltages_at``.
    """
    samples, rows, width, steps = patterns.shape[1:]
    height, words = rows - 2, out.shape[2]
    flat, words_out, down = patterns.reshape(-1), out.reshape(-1), width * steps
    plane, silent = samples * rows * down, -1
    for pixel in range(begin, end):
        sample, place = pixel // (height * width), pixel % (height * width)
        y, x = place // width, place % width
        most = max(used[sample, y, x], used[sample, y + 1, x], used[sample, y + 2, x])
        if most == 0 and not kept:  # without an event all pixels do the same
            if silent >= 0:
                out[pixel, :, block] = out[silent, :, block]
                continue
            silent = pixel
        most = max(1, most)
        voltages = state[pixel, block] if kept else state[0, 0]
        if not kept:
            voltages[:] = 0
        at, to = ((sample * rows + y) * width + x) * steps, pixel * steps * words + block
        if lanes == HALF:
            _half_lanes(
                table, flat, at, down, plane, most, steps, shift, offset, threshold, voltages, words_out, to, words
            )
        else:
            _all_lanes(
                table, flat, at, down, plane, most, steps, shift, offset, threshold, voltages, words_out, to, words
            )
