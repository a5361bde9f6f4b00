"""All steps of 64 outputs at one pixel, sums and voltages in registers: the inner loops of ``kernels.run_block``.

Written as LLVM code for the reasons that ``vectors`` names.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from snnq.runtime.llvm import Args, Builder, Context, Signature, Value
from snnq.runtime.vectors import (
    CHUNK,
    LANES,
    SPREAD,
    Leak,
    data_of,
    halved,
    let_fire,
    load_vector,
    loop,
    splat,
    thirded,
)

_I16, _I32, _I64 = (ir.IntType(bits) for bits in (16, 32, 64))
_LOG2_LANES = 6
_SHORT, _PLACES = ir.VectorType(_I16, SPREAD), ir.VectorType(_I32, SPREAD)


def _steps(leaked: Leak) -> Callable[..., None]:
    """Return what runs all steps of LIF neurons, whose voltages are what ``leaked`` leaves of them."""

    @intrinsic
    def run(  # type: ignore[no-untyped-def]
        typingctx, table, seen, rows, taps, steps, sums, shift, offset, threshold, voltages, out, to, stride
    ):
        """Run all steps of a block at a pixel; ``out`` uint64, flat: words at ``to``, ``to`` + ``stride``, ….

        ``seen``: ``lists`` uint16, flat, of ``entries`` places each; ``lengths`` int32, flat; where those of a plane's
        tap begin, int64 (planes · ``most``,), and the table's row of each tap, int64 (taps,); ``planes`` and ``most``;
        by how many bits a plane weighs more than the one before; and how much there is in every step, int32,
        which is skipped where it is 0. ``rows`` int32 is scratch; ``sums`` only has a type.
        """
        arrays = (
            table,
            seen,
            rows,
            types.intp,
            types.intp,
            sums,
            shift,
            offset,
            threshold,
            voltages,
            out,
            types.intp,
            types.intp,
        )
        kind = types.void(*arrays)

        def codegen(context: Context, builder: Builder, signature: Signature, args: Args) -> Value:
            return _code(context, builder, signature, args, leaked)

        return kind, codegen

    return run


def _code(context: Context, builder: Builder, signature: Signature, args: Args, leaked: Leak) -> Value:
    sum_type = ir.VectorType(ir.IntType(signature.args[5].dtype.bitwidth), LANES)
    wide = ir.VectorType(ir.IntType(signature.args[9].dtype.bitwidth), LANES)
    at = {i: data_of(context, builder, signature, args, i) for i in (6, 7, 8, 9, 10)}
    numbers = tuple(load_vector(builder, at[i], wide) for i in (6, 7, 8))
    looked = _Looked(context, builder, signature, args, sum_type)

    def run(step: Value, voltages: Value) -> Value:
        summed = looked.sums(step)
        summed = summed if sum_type == wide else builder.sext(summed, wide)
        word, left = let_fire(builder, summed, voltages, numbers, leaked)
        place = builder.add(args[11], builder.mul(step, args[12]))
        builder.store(word, builder.gep(at[10], [place]))
        return left

    left = loop(builder, args[4], load_vector(builder, at[9], wide), run)
    builder.store(left, builder.bitcast(at[9], wide.as_pointer()), align=1)
    return context.get_dummy_value()


class _Looked:
    """The code that looks up and adds a step's rows."""

    def __init__(
        self, context: Context, builder: Builder, signature: Signature, args: Args, sum_type: ir.VectorType
    ) -> None:
        self.builder, self.sum_type = builder, sum_type
        self.table, self.rows = (data_of(context, builder, signature, args, i) for i in (0, 2))
        self.row_type = ir.VectorType(ir.IntType(signature.args[0].dtype.bitwidth), LANES)
        kinds, values = signature.args[1].types, [builder.extract_value(args[1], i) for i in range(9)]
        arrays = {i: context.make_array(kinds[i])(context, builder, values[i]).data for i in (0, 2, 3, 4, 8)}
        self.lists, self.lengths, self.firsts, self.bases, self.busy = (arrays[i] for i in (0, 2, 3, 4, 8))
        self.entries, self.planes, self.most, self.digit_bits = (values[i] for i in (1, 5, 6, 7))
        self.taps = args[3]

    def sums(self, step: Value) -> Value:
        """Return a step's sums: of its planes, the highest first."""
        builder, zero = self.builder, ir.Constant(self.sum_type, [0] * LANES)
        before = builder.basic_block
        some, after = builder.append_basic_block("some"), builder.append_basic_block("none")
        busy = builder.load(builder.gep(self.busy, [step]))
        builder.cbranch(builder.icmp_signed("!=", busy, _I32(0)), some, after)
        builder.position_at_end(some)
        doubling = splat(builder, builder.trunc(self.digit_bits, self.sum_type.element), self.sum_type)
        last = builder.sub(self.planes, _I64(1))

        def add(i: Value, summed: Value) -> Value:
            return self._add(builder.shl(summed, doubling), self._place(builder.sub(last, i), step))

        summed, end = loop(builder, self.planes, zero, add), builder.basic_block
        builder.branch(after)
        builder.position_at_end(after)
        found = builder.phi(self.sum_type)
        found.add_incoming(zero, before)
        found.add_incoming(summed, end)
        return found

    def _place(self, plane: Value, step: Value) -> Value:
        """Write where the rows of all taps lie, CHUNK zeros behind; return how many there are."""
        builder, first = self.builder, self.builder.mul(plane, self.most)
        shift = ir.Constant(_PLACES, [_LOG2_LANES] * SPREAD)

        def place(tap: Value, count: Value) -> Value:
            base = splat(builder, builder.trunc(builder.load(builder.gep(self.bases, [tap])), _I32), _PLACES)
            begin = builder.load(builder.gep(self.firsts, [builder.add(first, tap)]))
            at = builder.add(begin, step)
            length = builder.sext(builder.load(builder.gep(self.lengths, [at])), _I64)
            source, to = builder.gep(self.lists, [builder.mul(at, self.entries)]), builder.gep(self.rows, [count])

            def move(part: Value, none: Value) -> Value:
                ahead = builder.mul(part, _I64(SPREAD))
                entry = load_vector(builder, builder.gep(source, [ahead]), _SHORT)
                found = builder.add(builder.shl(builder.zext(entry, _PLACES), shift), base)
                builder.store(found, builder.bitcast(builder.gep(to, [ahead]), _PLACES.as_pointer()), align=1)
                return none

            # Once in any case: a branch on what is mostly 0 or 1 would be guessed wrong too often.
            parts = builder.lshr(builder.add(length, _I64(SPREAD - 1)), _I64(4))
            loop(builder, parts, _I64(0), move)
            return builder.add(count, length)

        count, zeros = loop(builder, self.taps, _I64(0), place), ir.VectorType(_I32, CHUNK)
        to = builder.bitcast(builder.gep(self.rows, [count]), zeros.as_pointer())
        builder.store(ir.Constant(zeros, [0] * CHUNK), to, align=1)
        return count

    def _add(self, summed: Value, count: Value) -> Value:
        """Return sums and the rows that were placed: CHUNK of them in their own few bits, then widened."""
        builder = self.builder

        def row(place: Value) -> Value:
            offset = builder.load(builder.gep(self.rows, [place]))
            return load_vector(builder, builder.gep(self.table, [builder.sext(offset, _I64)]), self.row_type)

        def add(chunk: Value, summed: Value) -> Value:
            begin = builder.mul(chunk, _I64(CHUNK))
            part = row(begin)
            for i in range(1, CHUNK):
                part = builder.add(part, row(builder.add(begin, _I64(i))))
            return builder.add(summed, part if self.row_type == self.sum_type else builder.sext(part, self.sum_type))

        chunks = builder.lshr(builder.add(count, _I64(CHUNK - 1)), _I64(CHUNK.bit_length() - 1))
        return loop(builder, chunks, summed, add)


run_steps, run_steps_third = _steps(halved), _steps(thirded)
