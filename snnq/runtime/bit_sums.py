"""Sums of bits in bits: bit p of 256 sums lies in plane p, and a full adder of a few logical operations adds to all.

A plane is VECTOR words of 64 pixels, one for each of UNITS units (a unit is 64 pixels at one step). Three inputs of one
weight become a sum and a carry (Harley & Seal's counters; Muła, Kurz & Lemire 2018), so that an input that is read is
added to 256 sums by some six logical operations, whatever it is. Numbers are two's complements of as many planes as
hold them; a weight is added to the planes from its digit on. Written as LLVM code, as ``vectors`` is, and why.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from snnq.runtime.vectors import LANES, data_of, halved, let_fire, load_vector, loop, splat, thirded

UNITS = 4
BLOCK = 8  # inputs that are added at once; lists of them are padded to a multiple of it
LOW = 8  # planes that make bytes; a number has more planes than these
LEVELS = BLOCK.bit_length() - 1
SPARE = LEVELS  # planes above a number that its carries may reach
_I1, _I8, _I32, _I64 = (ir.IntType(bits) for bits in (1, 8, 32, 64))
_VECTOR = ir.VectorType(_I64, UNITS)


def _store(builder: Any, value: Any, address: Any) -> None:
    builder.store(value, builder.bitcast(address, value.type.as_pointer()), align=1)


def _adder(builder: Any, a: Any, b: Any, c: Any) -> tuple[Any, Any]:
    """Return the code of sum and carry of three bits, for all."""
    both = builder.xor(a, b)
    return builder.xor(both, c), builder.or_(builder.and_(a, b), builder.and_(both, c))


def _for(
    builder: Any, start: Any, stop: Any, values: Sequence[Any], body: Callable[[Any, list[Any]], list[Any]]
) -> list[Any]:
    """Return the code of what ``body(i, values)`` makes of values for ``start`` ≤ i < ``stop``."""
    before = builder.basic_block
    head, inside, after = (builder.append_basic_block(name) for name in ("next", "inside", "after"))
    builder.branch(head)
    builder.position_at_end(head)
    index, found = builder.phi(_I64), [builder.phi(one.type) for one in values]
    builder.cbranch(builder.icmp_signed("<", index, stop), inside, after)
    builder.position_at_end(inside)
    new, following = body(index, list(found)), builder.add(index, _I64(1))
    for phi, first, again in zip([index, *found], [start, *values], [following, *new], strict=True):
        phi.add_incoming(first, before)
        phi.add_incoming(again, builder.basic_block)
    builder.branch(head)
    builder.position_at_end(after)
    return found


@intrinsic
def add_inputs(typingctx, vectors, first, entries, begin, end, planes, digit, count):  # type: ignore[no-untyped-def]
    """Add vectors[first + entries[e]] to the number in planes ``digit`` … ``count`` - 1, for ``begin`` ≤ e < ``end``.

    ``vectors`` uint64, flat, UNITS words each; ``entries`` int32; ``begin`` and ``end`` are multiples of BLOCK.
    ``planes`` uint64, flat, has SPARE planes more.
    """
    whole = types.intp
    kind = types.void(vectors, whole, entries, whole, whole, planes, whole, whole)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data, entries_at, planes_at = (data_of(context, builder, signature, args, i) for i in (0, 2, 5))
        lowest, log = builder.mul(args[6], _I64(UNITS)), _I64(LEVELS)
        at = [builder.gep(planes_at, [builder.add(lowest, _I64(UNITS * i))]) for i in range(LEVELS)]
        above, top = builder.add(args[6], _I64(LEVELS)), args[7]

        def block(number: Any, sums: list[Any]) -> list[Any]:
            place, seen = builder.mul(number, _I64(BLOCK)), list[Any]()
            for i in range(BLOCK):
                entry = builder.load(builder.gep(entries_at, [builder.add(place, _I64(i))]))
                entry = builder.mul(builder.add(builder.zext(entry, _I64), args[1]), _I64(UNITS))
                seen.append(load_vector(builder, builder.gep(data, [entry]), _VECTOR))
            for level in range(LEVELS):  # the carries of a plane are the inputs of the next
                carries = list[Any]()
                for i in range(0, len(seen), 2):
                    sums[level], carry = _adder(builder, sums[level], seen[i], seen[i + 1])
                    carries.append(carry)
                seen = carries

            def ripple(plane: Any, carried: list[Any]) -> list[Any]:
                here = builder.gep(planes_at, [builder.mul(plane, _I64(UNITS))])
                old = load_vector(builder, here, _VECTOR)
                _store(builder, builder.xor(old, carried[0]), here)
                return [builder.and_(old, carried[0])]

            _for(builder, above, top, seen, ripple)
            return sums

        start = [load_vector(builder, one, _VECTOR) for one in at]
        made = _for(builder, builder.lshr(args[3], log), builder.lshr(args[4], log), start, block)
        for value, place in zip(made, at, strict=True):
            _store(builder, value, place)
        return context.get_dummy_value()

    return kind, codegen


@intrinsic
def flip(typingctx, planes, first, count):  # type: ignore[no-untyped-def]
    """Turn every bit of the planes from ``first`` to ``count``: the number there, n, becomes -n - 1."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        at, ones = data_of(context, builder, signature, args, 0), ir.Constant(_VECTOR, [-1] * UNITS)

        def turn(plane: Any, nothing: list[Any]) -> list[Any]:
            here = builder.gep(at, [builder.mul(plane, _I64(UNITS))])
            _store(builder, builder.xor(load_vector(builder, here, _VECTOR), ones), here)
            return nothing

        _for(builder, args[1], args[2], [], turn)
        return context.get_dummy_value()

    return types.void(planes, types.intp, types.intp), codegen


@intrinsic
def write_numbers(typingctx, planes, count, sums, at):  # type: ignore[no-untyped-def]
    """sums[at : at + UNITS · 64] ← the numbers in ``count`` planes, of which there are more than LOW.

    ``sums`` int16 or int32, which hold them.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        planes_at, sums_at = (data_of(context, builder, signature, args, i) for i in (0, 2))
        element = ir.IntType(signature.args[2].dtype.bitwidth)
        low, wide = ir.VectorType(_I8, LANES), ir.VectorType(element, LANES)
        last = builder.sub(args[1], _I64(1))
        for unit in range(UNITS):

            def bits(plane: Any, kind: Any, unit: int = unit) -> Any:
                place = builder.add(builder.mul(plane, _I64(UNITS)), _I64(unit))
                word = builder.load(builder.gep(planes_at, [place]))
                return builder.sext(builder.bitcast(word, ir.VectorType(_I1, LANES)), kind)

            part = ir.Constant(low, [0] * LANES)
            for plane in range(LOW):
                weight = ir.Constant(low, [1 << plane if plane < 7 else -128] * LANES)
                part = builder.or_(part, builder.and_(bits(_I64(plane), low), weight))

            def more(plane: Any, found: list[Any]) -> list[Any]:
                weight = splat(builder, builder.shl(element(1), builder.trunc(plane, element)), wide)
                return [builder.or_(found[0], builder.and_(bits(plane, wide), weight))]

            (found,) = _for(builder, _I64(LOW), last, [builder.zext(part, wide)], more)
            weight = splat(builder, builder.shl(element(-1), builder.trunc(last, element)), wide)  # the sign's
            found = builder.or_(found, builder.and_(bits(last, wide), weight))
            _store(builder, found, builder.gep(sums_at, [builder.add(args[3], _I64(unit * LANES))]))
        return context.get_dummy_value()

    return types.void(planes, types.intp, sums, types.intp), codegen


def _steps(leaked: Any) -> Any:
    """Return what runs all steps of a channel's LIF neurons at 64 pixels."""

    @intrinsic
    def run(typingctx, sums, at, steps, shift, offset, threshold, voltages, found, to, stride):  # type: ignore[no-untyped-def]
        """Run all steps of sums[at :], 64 each; their words go to found[to], found[to + stride], ….

        ``shift``, ``offset`` and ``threshold`` are the channel's, of the type of ``voltages`` (64,); ``found`` uint64.
        """
        whole, number = types.intp, voltages.dtype
        kind = types.void(sums, whole, whole, number, number, number, voltages, found, whole, whole)

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            sums_at, voltages_at, found_at = (data_of(context, builder, signature, args, i) for i in (0, 6, 7))
            narrow = ir.VectorType(ir.IntType(signature.args[0].dtype.bitwidth), LANES)
            wide = ir.VectorType(ir.IntType(signature.args[6].dtype.bitwidth), LANES)
            numbers = tuple(splat(builder, args[i], wide) for i in (3, 4, 5))

            def run_step(step: Any, voltages: Any) -> Any:
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
