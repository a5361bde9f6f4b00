"""Vector routines in LLVM's own vector types: 64 channels at once, in registers.

Written as LLVM code because compilers of plain loops keep such sums in memory, and because a comparison of 64 lanes
*is* a word of 64 spikes. LLVM lowers each to whatever vectors the machine has. All arrays are C-contiguous; indices
count elements and are not checked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from snnq.network.leaks import FIXED, FRACTION_BITS
from snnq.runtime.llvm import Args, ArrayType, Builder, Context, Signature, Value

LANES = 64  # channels of a block, and bits of a word of spikes
CHUNK = 4  # rows added in their own few bits before they are widened; lists of rows are padded to a multiple of it
SPREAD = 16  # entries that ``place_rows`` moves at once, and how far it may write past the end
# The code of what is left of voltages u, by their type.
Leak = Callable[[Builder, Value, ir.VectorType], Value]
_I1, _I16, _I32, _I64 = (ir.IntType(bits) for bits in (1, 16, 32, 64))


@intrinsic
def sum_rows(typingctx, table, offsets, count, sums, doubling):  # type: ignore[no-untyped-def]
    """sums[0:64] ← (sums[0:64] << doubling) + Σ_i table[offsets[i] : offsets[i] + 64] for i < count.

    ``table`` int8, int16, int32 or int64; ``sums`` the same or wider; ``offsets`` int32; ``count`` a multiple of CHUNK.
    CHUNK rows together must fit the table's type where that is int8 or int16.
    """
    row_type, sum_type = (ir.VectorType(ir.IntType(one.dtype.bitwidth), LANES) for one in (table, sums))

    def codegen(context: Context, builder: Builder, signature: Signature, args: Args) -> Value:
        table_at, offsets_at, sums_at = (data_of(context, builder, signature, args, i) for i in (0, 1, 3))
        count_value, place = args[2], builder.bitcast(sums_at, sum_type.as_pointer())
        first = builder.load(place, align=1)
        first = builder.shl(first, splat(builder, builder.trunc(args[4], sum_type.element), sum_type))
        before = builder.basic_block
        head, after = builder.append_basic_block("rows"), builder.append_basic_block("summed")
        builder.cbranch(builder.icmp_signed(">", count_value, _I64(0)), head, after)
        builder.position_at_end(head)
        index, summed = builder.phi(_I64), builder.phi(sum_type)

        def row(place: Value) -> Value:
            offset = builder.load(builder.gep(offsets_at, [place]))
            return load_vector(builder, builder.gep(table_at, [builder.sext(offset, _I64)]), row_type)

        part = row(index)
        for j in range(1, CHUNK):
            part = builder.add(part, row(builder.add(index, _I64(j))))
        new = builder.add(summed, part if row_type == sum_type else builder.sext(part, sum_type))
        following = builder.add(index, _I64(CHUNK))
        for phi, start, again in ((index, _I64(0), following), (summed, first, new)):
            phi.add_incoming(start, before)
            phi.add_incoming(again, head)
        builder.cbranch(builder.icmp_signed("<", following, count_value), head, after)
        builder.position_at_end(after)
        result = builder.phi(sum_type)
        result.add_incoming(first, before)
        result.add_incoming(new, head)
        builder.store(result, place, align=1)
        return context.get_dummy_value()

    return types.void(table, offsets, types.intp, sums, types.intp), codegen


@intrinsic
def fire(typingctx, sums, voltages, shifts, offsets, thresholds, start):  # type: ignore[no-untyped-def]
    """Let 64 LIF neurons take one step and return their spikes as a word, channel ``start`` in the lowest bit.

    u = v + (sums << shift) + offset; spike = [u ≥ threshold]; v ← 0 on a spike, else u >> 1. ``sums``, ``voltages``
    have 64 elements; ``shifts``, ``offsets`` and ``thresholds`` are read from ``start``, of the type of ``voltages``.
    """
    kind = types.uint64(sums, voltages, shifts, offsets, thresholds, types.intp)
    return kind, _fire(sums, voltages, halved)


@intrinsic
def fire_third(typingctx, sums, voltages, shifts, offsets, thresholds, start):  # type: ignore[no-untyped-def]
    """``fire`` with a leak of 3: v ← 0 on a spike, else ⌊u / 3⌋."""
    kind = types.uint64(sums, voltages, shifts, offsets, thresholds, types.intp)
    return kind, _fire(sums, voltages, thirded)


@intrinsic
def fire_whole(typingctx, sums, voltages, shifts, offsets, thresholds, start):  # type: ignore[no-untyped-def]
    """``fire`` without a leak: v ← 0 on a spike, else u."""
    kind = types.uint64(sums, voltages, shifts, offsets, thresholds, types.intp)
    return kind, _fire(sums, voltages, kept_whole)


@intrinsic
def fire_fixed(typingctx, sums, voltages, shifts, offsets, thresholds, start, leak):  # type: ignore[no-untyped-def]
    """``fire`` with a leak in fixed point: v ← 0 on a spike, else ⌊(u·k + 2^15)/2^16⌋ (``snnq.network.leaks``)."""
    kind = types.uint64(sums, voltages, shifts, offsets, thresholds, types.intp, types.intp)

    def leaked(builder: Builder, u: Value, wide: ir.VectorType, leak: Value) -> Value:
        kept = splat(builder, builder.trunc(builder.sub(leak, _I64(FIXED)), _I32), ir.VectorType(_I32, LANES))
        return left_in_fixed_point(builder, u, wide, kept if wide.element == _I32 else builder.zext(kept, wide))

    return kind, _fire(sums, voltages, leaked, 6)


def _fire(sums: ArrayType, voltages: ArrayType, leaked: Callable[..., Value], *given: int) -> Callable[..., Value]:
    """Return the code of ``fire`` whose voltages are what ``leaked`` leaves of u, ``given`` some of the arguments."""
    sum_type, wide = (ir.VectorType(ir.IntType(one.dtype.bitwidth), LANES) for one in (sums, voltages))

    def codegen(context: Context, builder: Builder, signature: Signature, args: Args) -> Value:
        at = [data_of(context, builder, signature, args, i) for i in range(5)]
        shift, offset, threshold = (load_vector(builder, builder.gep(one, [args[5]]), wide) for one in at[2:])
        summed = load_vector(builder, at[0], sum_type)
        summed = summed if sum_type == wide else builder.sext(summed, wide)
        voltages = load_vector(builder, at[1], wide)
        more = [args[i] for i in given]
        numbers = shift, offset, threshold
        word, left = let_fire(builder, summed, voltages, numbers, lambda *u: leaked(*u, *more))
        builder.store(left, builder.bitcast(at[1], wide.as_pointer()), align=1)
        return word

    return codegen


def let_fire(
    builder: Builder, sums: Value, voltages: Value, numbers: Sequence[Value], leaked: Leak
) -> tuple[Value, Value]:
    """Return the code of a step's word of spikes, and of the voltages after it, as ``fire`` has them."""
    shift, offset, threshold = numbers
    u = builder.add(voltages, builder.add(builder.shl(sums, shift), offset))
    fired, wide = builder.icmp_signed(">=", u, threshold), u.type
    assert isinstance(wide, ir.VectorType)
    left = builder.select(fired, ir.Constant(wide, [0] * wide.count), leaked(builder, u, wide))
    return builder.bitcast(fired, ir.IntType(wide.count)), left


def halved(builder: Builder, u: Value, wide: ir.VectorType) -> Value:
    """Return the code of ⌊u / 2⌋."""
    return builder.ashr(u, ir.Constant(wide, [1] * wide.count))


def kept_whole(builder: Builder, u: Value, wide: ir.VectorType) -> Value:
    """Return u."""
    return u


def thirded(builder: Builder, u: Value, wide: ir.VectorType) -> Value:
    """Return the code of ⌊u / 3⌋: what a division cuts off below zero is taken away once more."""
    three, zero = ir.Constant(wide, [3] * LANES), ir.Constant(wide, [0] * LANES)
    cut = builder.sdiv(u, three)
    below = builder.icmp_signed("<", builder.sub(u, builder.mul(cut, three)), zero)
    return builder.add(cut, builder.sext(below, wide))  # -1 where it is so


def left_in_fixed_point(builder: Builder, u: Value, wide: ir.VectorType, kept: Value) -> Value:
    """Return the code of ⌊(u·kept + 2^15)/2^16⌋, from 0 to 2^16 - 1 of ``kept``: no part of it passes the width."""
    bits, rest, half = (ir.Constant(wide, [one] * LANES) for one in (FRACTION_BITS, FIXED - 1, FIXED // 2))
    low = builder.lshr(builder.add(builder.mul(builder.and_(u, rest), kept), half), bits)
    return builder.add(builder.mul(builder.ashr(u, bits), kept), low)


@intrinsic
def place_rows(typingctx, entries, start, offsets, at, base, log2_row):  # type: ignore[no-untyped-def]
    """offsets[at : at + 16] ← (entries[start : start + 16] << log2_row) + base; entries uint16, offsets int32."""
    short, word = ir.VectorType(_I16, SPREAD), ir.VectorType(_I32, SPREAD)

    def codegen(context: Context, builder: Builder, signature: Signature, args: Args) -> Value:
        source, target = (data_of(context, builder, signature, args, i) for i in (0, 2))
        found = load_vector(builder, builder.gep(source, [args[1]]), short)
        shift, begin = (splat(builder, builder.trunc(one, _I32), word) for one in (args[5], args[4]))
        placed = builder.add(builder.shl(builder.zext(found, word), shift), begin)
        place = builder.bitcast(builder.gep(target, [args[3]]), word.as_pointer())
        builder.store(placed, place, align=1)
        return context.get_dummy_value()

    return types.void(entries, types.intp, offsets, types.intp, types.intp, types.intp), codegen


@intrinsic
def list_word(typingctx, word, entry, entries, start):  # type: ignore[no-untyped-def]
    """Write the groups of four bits in ``word`` that are not zero to entries[start:], and return how many there are.

    Group i of value p is written as ``entry`` + 16 · i + p, uint16; up to 16 elements of ``entries`` are overwritten.
    """
    lanes, wide = ir.VectorType(_I16, SPREAD), ir.VectorType(_I64, SPREAD)
    flags = ir.VectorType(_I1, SPREAD)

    def codegen(context: Context, builder: Builder, signature: Signature, args: Args) -> Value:
        shifts = ir.Constant(wide, [4 * i for i in range(SPREAD)])
        places = ir.Constant(lanes, [16 * i for i in range(SPREAD)])
        shifted = builder.trunc(builder.lshr(splat(builder, args[0], wide), shifts), lanes)
        patterns = builder.and_(shifted, ir.Constant(lanes, [15] * SPREAD))
        first = splat(builder, builder.trunc(args[1], _I16), lanes)
        found = builder.add(builder.add(patterns, places), first)
        some = builder.icmp_unsigned("!=", patterns, ir.Constant(lanes, [0] * SPREAD))
        kind = ir.FunctionType(lanes, (lanes, flags, lanes))
        name = f"llvm.experimental.vector.compress.v{SPREAD}i16"
        compress = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
        packed = builder.call(compress, (found, some, ir.Constant(lanes, [0] * SPREAD)))
        at = builder.gep(data_of(context, builder, signature, args, 2), [args[3]])
        builder.store(packed, builder.bitcast(at, lanes.as_pointer()), align=2)
        return builder.zext(builder.ctpop(builder.bitcast(some, ir.IntType(SPREAD))), _I64)

    return types.intp(types.uint64, types.intp, entries, types.intp), codegen


@intrinsic
def lowest_bit(typingctx, word):  # type: ignore[no-untyped-def]
    """Return the index of the lowest bit of a word that is not zero."""

    def codegen(context: Context, builder: Builder, signature: Signature, args: Args) -> Value:
        return builder.cttz(args[0], _I1(1))

    return types.intp(types.uint64), codegen


@intrinsic
def spread_bits(typingctx, word, lanes, start):  # type: ignore[no-untyped-def]
    """lanes[start : start + 64] ← the 64 bits of ``word``, as 0 or 1; ``lanes`` is int32."""
    wide = ir.VectorType(_I32, LANES)

    def codegen(context: Context, builder: Builder, signature: Signature, args: Args) -> Value:
        at = builder.gep(data_of(context, builder, signature, args, 1), [args[2]])
        bits = builder.zext(builder.bitcast(args[0], ir.VectorType(_I1, LANES)), wide)
        builder.store(bits, builder.bitcast(at, wide.as_pointer()), align=1)
        return context.get_dummy_value()

    return types.void(types.uint64, lanes, types.intp), codegen


@intrinsic
def add_bits(typingctx, word, doubling, counts, start):  # type: ignore[no-untyped-def]
    """counts[start + i] += bit i of ``word`` << doubling, for 64 bits; ``counts`` is int32."""
    lanes = ir.VectorType(_I32, LANES)

    def codegen(context: Context, builder: Builder, signature: Signature, args: Args) -> Value:
        place = builder.bitcast(
            builder.gep(data_of(context, builder, signature, args, 2), [args[3]]), lanes.as_pointer()
        )
        bits = builder.zext(builder.bitcast(args[0], ir.VectorType(_I1, LANES)), lanes)
        bits = builder.shl(bits, splat(builder, builder.trunc(args[1], _I32), lanes))
        builder.store(builder.add(builder.load(place, align=1), bits), place, align=1)
        return context.get_dummy_value()

    return types.void(types.uint64, types.intp, counts, types.intp), codegen


def data_of(context: Context, builder: Builder, signature: Signature, args: Args, index: int) -> Value:
    """Return the address of an array argument's first element."""
    kind = signature.args[index]
    return context.make_array(kind)(context, builder, args[index]).data


def load_vector(builder: Builder, address: Value, vector: ir.VectorType) -> Value:
    """Return the code that loads a vector that may begin anywhere."""
    return builder.load(builder.bitcast(address, vector.as_pointer()), align=1)


def loop(builder: Builder, count: Value, start: Value, body: Callable[[Value, Value], Value]) -> Value:
    """Return the code of what ``body(i, value)`` makes of a value for i = 0 … ``count`` - 1, at least once."""
    before = builder.basic_block
    head, after = builder.append_basic_block("again"), builder.append_basic_block("done")
    builder.branch(head)
    builder.position_at_end(head)
    index, value = builder.phi(_I64), builder.phi(start.type)
    new = body(index, value)
    following, last = builder.add(index, _I64(1)), builder.basic_block
    for phi, first, again in ((index, _I64(0), following), (value, start, new)):
        phi.add_incoming(first, before)
        phi.add_incoming(again, last)
    builder.cbranch(builder.icmp_signed("<", following, count), head, after)
    builder.position_at_end(after)
    return new


def splat(builder: Builder, value: Value, vector: ir.VectorType) -> Value:
    """Return the code of a vector of one value."""
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), value, _I32(0))
    zeros = ir.Constant(ir.VectorType(_I32, vector.count), [0] * vector.count)
    return builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), zeros)
