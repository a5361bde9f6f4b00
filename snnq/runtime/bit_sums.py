"""Sums of bits in bits: bit p of 256 sums lies in plane p, and a full adder of a few logical operations adds to all.

A plane is VECTOR words of 64 pixels, one for each of UNITS units (a unit is 64 pixels at one step). Three inputs of one
weight become a sum and a carry (Harley & Seal's counters; Muła, Kurz & Lemire 2018), so that an input that is read is
added to 256 sums by some six logical operations, whatever it is. Numbers are two's complements of as many planes as
hold them; a weight is added to the planes from its digit on. Written as LLVM code, as ``vectors`` is, and why.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from snnq.runtime.llvm import Args, Builder, Context, Signature, Value
from snnq.runtime.vectors import LANES, Leak, data_of, halved, let_fire, load_vector, loop, splat, thirded

UNITS = 4
BLOCK = 8  # inputs that are added at once; lists of them are padded to a multiple of it
LOW = 8  # planes that make bytes
LEVELS = BLOCK.bit_length() - 1
SPARE = LEVELS  # planes above a number that its carries may reach
_I1, _I8, _I64 = (ir.IntType(bits) for bits in (1, 8, 64))
_VECTOR, _BYTES = ir.VectorType(_I64, UNITS), ir.VectorType(_I8, LANES)


def _store(builder: Builder, value: Value, address: Value) -> None:
    builder.store(value, builder.bitcast(address, value.type.as_pointer()), align=1)


def _adder(builder: Builder, a: Value, b: Value, c: Value) -> tuple[Value, Value]:
    """Return the code of sum and carry of three bits, for all."""
    both = builder.xor(a, b)
    return builder.xor(both, c), builder.or_(builder.and_(a, b), builder.and_(both, c))


def _for(
    builder: Builder,
    start: Value,
    stop: Value,
    values: Sequence[Value],
    body: Callable[[Value, list[Value]], list[Value]],
) -> list[Value]:
    """Return the code of what ``body(i, values)`` makes of values for ``start`` ≤ i < ``stop``."""
    before = builder.basic_block
    head, inside, after = (builder.append_basic_block(name) for name in ("next", "inside", "after"))
    builder.branch(head)
    builder.position_at_end(head)
    index, phis = builder.phi(_I64), [builder.phi(one.type) for one in values]
    found: list[Value] = [*phis]
    builder.cbranch(builder.icmp_signed("<", index, stop), inside, after)
    builder.position_at_end(inside)
    new, following = body(index, list(found)), builder.add(index, _I64(1))
    for phi, first, again in zip([index, *phis], [start, *values], [following, *new], strict=True):
        phi.add_incoming(first, before)
        phi.add_incoming(again, builder.basic_block)
    builder.branch(head)
    builder.position_at_end(after)
    return found


@intrinsic
def add_inputs(typingctx, vectors, first, entries, begin, end, planes, digit, count):  # type: ignore[no-untyped-def]
    """Add vectors[first + entries[e]] to the number in planes ``digit`` … ``count`` - 1, for ``begin`` ≤ e < ``end``.

    ``vectors`` uint64, flat, UNITS words each; ``entries`` uint16 or more; ``begin`` and ``end`` are multiples of
    BLOCK. ``planes`` uint64, flat, has SPARE planes more.
    """
    whole = types.intp
    kind = types.void(vectors, whole, entries, whole, whole, planes, whole, whole)

    def codegen(context: Context, builder: Builder, signature: Signature, args: Args) -> Value:
        data, entries_at, planes_at = (data_of(context, builder, signature, args, i) for i in (0, 2, 5))
        data = builder.gep(data, [builder.mul(args[1], _I64(UNITS))])
        lowest, log = builder.mul(args[6], _I64(UNITS)), _I64(LEVELS)
        at = [builder.gep(planes_at, [builder.add(lowest, _I64(UNITS * i))]) for i in range(LEVELS)]
        above, top = builder.add(args[6], _I64(LEVELS)), args[7]

        def block(number: Value, sums: list[Value]) -> list[Value]:
            place, seen = builder.mul(number, _I64(BLOCK)), list[Value]()
            for i in range(BLOCK):
                entry = builder.load(builder.gep(entries_at, [builder.add(place, _I64(i))]))
                entry = builder.mul(builder.zext(entry, _I64), _I64(UNITS))
                seen.append(load_vector(builder, builder.gep(data, [entry]), _VECTOR))
            carry = _add_block(builder, sums, seen)

            def ripple(plane: Value, carried: list[Value]) -> list[Value]:
                here = builder.gep(planes_at, [builder.mul(plane, _I64(UNITS))])
                old = load_vector(builder, here, _VECTOR)
                _store(builder, builder.xor(old, carried[0]), here)
                return [builder.and_(old, carried[0])]

            _for(builder, above, top, [carry], ripple)
            return sums

        start = [load_vector(builder, one, _VECTOR) for one in at]
        made = _for(builder, builder.lshr(args[3], log), builder.lshr(args[4], log), start, block)
        for value, place in zip(made, at, strict=True):
            _store(builder, value, place)
        return context.get_dummy_value()

    return kind, codegen


def _add_block(builder: Builder, sums: list[Value], seen: list[Value]) -> Value:
    """Write the code that adds BLOCK vectors to ``sums``, the LEVELS lowest planes; return what they carry."""
    for level in range(LEVELS):  # the carries of a plane are the inputs of the next
        carries: list[Value] = []
        for i in range(0, len(seen), 2):
            sums[level], carry = _adder(builder, sums[level], seen[i], seen[i + 1])
            carries.append(carry)
        seen = carries
    return seen[0]


@intrinsic
def flip(typingctx, planes, first, count):  # type: ignore[no-untyped-def]
    """Turn every bit of the planes from ``first`` to ``count``: the number there, n, becomes -n - 1."""

    def codegen(context: Context, builder: Builder, signature: Signature, args: Args) -> Value:
        at, ones = data_of(context, builder, signature, args, 0), ir.Constant(_VECTOR, [-1] * UNITS)

        def turn(plane: Value, nothing: list[Value]) -> list[Value]:
            here = builder.gep(at, [builder.mul(plane, _I64(UNITS))])
            _store(builder, builder.xor(load_vector(builder, here, _VECTOR), ones), here)
            return nothing

        _for(builder, args[1], args[2], [], turn)
        return context.get_dummy_value()

    return types.void(planes, types.intp, types.intp), codegen


@intrinsic
def write_numbers(typingctx, planes, count, sums, at):  # type: ignore[no-untyped-def]
    """sums[at : at + UNITS · 64] ← the numbers in ``count`` planes, LOW at least; int16 or int32, which hold them."""

    def codegen(context: Context, builder: Builder, signature: Signature, args: Args) -> Value:
        planes_at, sums_at = (data_of(context, builder, signature, args, i) for i in (0, 2))
        wide = ir.VectorType(ir.IntType(signature.args[2].dtype.bitwidth), LANES)
        last, few = builder.sub(args[1], _I64(1)), builder.icmp_signed("<=", args[1], _I64(LOW))

        def write(unit: Value, nothing: list[Value]) -> list[Value]:
            at, part = builder.gep(planes_at, [unit]), ir.Constant(_BYTES, [0] * LANES)
            for plane in range(LOW):
                part = builder.or_(part, _plane(builder, at, _I64(plane), _I8(1 << plane), _BYTES))
            before, more = builder.basic_block, builder.append_basic_block("more")
            after, signed = builder.append_basic_block("written"), builder.sext(part, wide)
            builder.cbranch(few, after, more)
            builder.position_at_end(more)

            def put(plane: Value, found: list[Value]) -> list[Value]:
                weight = builder.shl(wide.element(1), builder.trunc(plane, wide.element))
                return [builder.or_(found[0], _plane(builder, at, plane, weight, wide))]

            (found,) = _for(builder, _I64(LOW), last, [builder.zext(part, wide)], put)
            weight = builder.shl(wide.element(-1), builder.trunc(last, wide.element))  # the sign's
            found, end = builder.or_(found, _plane(builder, at, last, weight, wide)), builder.basic_block
            builder.branch(after)
            builder.position_at_end(after)
            numbers = builder.phi(wide)
            numbers.add_incoming(signed, before)
            numbers.add_incoming(found, end)
            _store(builder, numbers, builder.gep(sums_at, [builder.add(args[3], builder.mul(unit, _I64(LANES)))]))
            return nothing

        _for(builder, _I64(0), _I64(UNITS), [], write)
        return context.get_dummy_value()

    return types.void(planes, types.intp, sums, types.intp), codegen


def _plane(builder: Builder, at: Value, plane: Value, weight: Value, kind: ir.VectorType) -> Value:
    """Return the code of ``weight`` where a unit's bit of a plane is set, else 0."""
    word = builder.load(builder.gep(at, [builder.mul(plane, _I64(UNITS))]))
    bits = builder.sext(builder.bitcast(word, ir.VectorType(_I1, LANES)), kind)
    return builder.and_(bits, splat(builder, weight, kind))


def _steps(leaked: Leak) -> Callable[..., None]:
    """Return what runs all steps of a channel's LIF neurons at 64 pixels."""

    @intrinsic
    def run(typingctx, sums, at, steps, shift, offset, threshold, voltages, found, to, stride):  # type: ignore[no-untyped-def]
        """Run all steps of sums[at :], 64 each; their words go to found[to], found[to + stride], ….

        ``shift``, ``offset`` and ``threshold`` are the channel's, of the type of ``voltages`` (64,); ``found`` uint64.
        """
        whole, number = types.intp, voltages.dtype
        kind = types.void(sums, whole, whole, number, number, number, voltages, found, whole, whole)

        def codegen(context: Context, builder: Builder, signature: Signature, args: Args) -> Value:
            sums_at, voltages_at, found_at = (data_of(context, builder, signature, args, i) for i in (0, 6, 7))
            narrow = ir.VectorType(ir.IntType(signature.args[0].dtype.bitwidth), LANES)
            wide = ir.VectorType(ir.IntType(signature.args[6].dtype.bitwidth), LANES)
            numbers = tuple(splat(builder, args[i], wide) for i in (3, 4, 5))

            def run_step(step: Value, voltages: Value) -> Value:
                place = builder.add(args[1], builder.mul(step, _I64(LANES)))
                summed = load_vector(builder, builder.gep(sums_at, [place]), narrow)
                summed = summed if narrow == wide else builder.sext(summed, wide)
                word, left = let_fire(builder, summed, voltages, numbers, leaked)
                to = builder.add(args[8], builder.mul(step, args[9]))
                builder.store(word, builder.gep(found_at, [to]))
                return left

            left = loop(builder, args[2], load_vector(builder, voltages_at, wide), run_step)
            _store(builder, left, voltages_at)
            return context.get_dummy_value()

        return kind, codegen

    return run


fire_steps, fire_steps_third = _steps(halved), _steps(thirded)
