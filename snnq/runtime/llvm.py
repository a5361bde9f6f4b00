"""What the engine's own code is written with: llvmlite's builder, which has no types that a checker could use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from llvmlite import ir
from numba.core.base import BaseContext
from numba.core.typing import templates


class NumberType(Protocol):
    """The type of an array's whole numbers."""

    bitwidth: int


class ArrayType(Protocol):
    """The type of an array of whole numbers."""

    dtype: NumberType


class Value(Protocol):
    """What an instruction gives, or a constant is."""

    @property
    def type(self) -> ir.Type:
        """Its LLVM type."""
        ...


class Phi(Value, Protocol):
    """A value by the block that it comes from."""

    def add_incoming(self, value: Value, block: ir.Block, /) -> None:
        """Say what it is behind ``block``."""
        ...


# What numba hands to the code of an intrinsic: the values of its arguments, and how they are seen.
Args = Sequence[Value]
Context = BaseContext
Signature = templates.Signature
_Unary = Callable[[Value], Value]
_Binary = Callable[[Value, Value], Value]
_Cast = Callable[[Value, ir.Type], Value]
_Compare = Callable[[str, Value, Value], Value]


class Builder(Protocol):
    """The methods of ``llvmlite.ir.IRBuilder`` that are used: each writes an instruction and gives its value."""

    basic_block: ir.Block
    module: ir.Module
    append_basic_block: Callable[[str], ir.Block]
    position_at_end: Callable[[ir.Block], None]
    branch: Callable[[ir.Block], object]
    cbranch: Callable[[Value, ir.Block, ir.Block], object]
    phi: Callable[[ir.Type], Phi]
    add: _Binary
    sub: _Binary
    mul: _Binary
    sdiv: _Binary
    and_: _Binary
    or_: _Binary
    xor: _Binary
    shl: _Binary
    lshr: _Binary
    ashr: _Binary
    cttz: _Binary
    ctpop: _Unary
    icmp_signed: _Compare
    icmp_unsigned: _Compare
    select: Callable[[Value, Value, Value], Value]
    bitcast: _Cast
    zext: _Cast
    sext: _Cast
    trunc: _Cast
    inttoptr: _Cast
    gep: Callable[[Value, list[Value]], Value]
    extract_value: Callable[[Value, int], Value]
    insert_element: Callable[[Value, Value, Value], Value]
    shuffle_vector: Callable[[Value, Value, Value], Value]
    call: Callable[[Value, Sequence[Value]], Value]
    load_atomic: Callable[[Value, str, int], Value]
    store_atomic: Callable[[Value, Value, str, int], object]
    atomic_rmw: Callable[[str, Value, Value, str], Value]

    def load(self, address: Value, /, *, align: int | None = None) -> Value:
        """Read memory."""
        ...

    def store(self, value: Value, address: Value, /, *, align: int | None = None) -> object:
        """Write memory."""
        ...
