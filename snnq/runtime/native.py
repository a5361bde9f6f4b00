"""What a program is made of: addresses of compiled loops and of their arguments, and what threads count together."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.callconv import RETCODE_NONE, RETCODE_OK
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import CPUDispatcher
from numba.extending import intrinsic

from snnq.runtime.llvm import Args, Builder, Context, Signature, Value
from snnq.runtime.vectors import data_of

_I32, _I64 = ir.IntType(32), ir.IntType(64)
_CODE = ir.FunctionType(_I32, [_I64.as_pointer()])
# By loop and types of arguments; what has the code stays in memory with it.
_known: dict[tuple[object, ...], tuple[int, object]] = {}


def fits(loop: Callable[..., object], arguments: tuple[object, ...]) -> bool:
    """Return whether ``prepare`` can take a call: a compiled loop, of arrays and whole numbers."""
    return isinstance(loop, CPUDispatcher) and all(map(_fits, arguments))


def _fits(value: object) -> bool:
    if isinstance(value, tuple):
        return all(map(_fits, value))
    return isinstance(value, np.ndarray | int | np.integer)


def prepare(loop: Callable[..., object], arguments: tuple[object, ...]) -> tuple[int, np.ndarray]:
    """Return the address of code that makes a call, and the arguments it is to be given: int64 (n,).

    The arrays among the arguments must live as long as the code is called.
    """
    assert isinstance(loop, CPUDispatcher)
    kinds = tuple(loop.typeof_pyval(one) for one in arguments)
    with global_compiler_lock:
        if (loop, *kinds) not in _known:
            _known[loop, *kinds] = _code(loop, kinds)
        code = _known[loop, *kinds][0]
    return code, np.array(_flat(arguments), np.int64)


def _flat(value: object) -> list[int]:
    """Return an argument as numba passes it on: whole numbers, and of arrays what numba knows of them."""
    if isinstance(value, tuple):
        return [number for one in value for number in _flat(one)]
    if isinstance(value, np.ndarray):  # owned by nobody there, who could let go of it
        return [0, 0, value.size, value.itemsize, value.ctypes.data, *value.shape, *value.strides]
    assert isinstance(value, int | np.integer)
    return [int(value)]


def _code(loop: CPUDispatcher, kinds: tuple[types.Type, ...]) -> tuple[int, object]:
    """Return the address of a function that reads a loop's arguments from memory, and what keeps it there."""
    loop.compile(kinds)
    made = loop.overloads[kinds]
    address = made.library.get_pointer_to_function(made.fndesc.llvm_func_name)
    context, signature = made.target_context, made.signature
    kind = context.call_conv.get_function_type(signature.return_type, signature.args)
    name = f"snnq_call_{len(_known)}"
    library = context.codegen().create_library(name)
    module = library.create_ir_module(name)
    function = ir.Function(module, _CODE, name)
    builder = ir.IRBuilder(function.append_basic_block())
    first = [builder.alloca(one.pointee) for one in kind.args[:2]]  # what it returns, and raises
    slots = enumerate(kind.args[2:])
    rest = [_argument(cast(Builder, builder), function.args[0], place, one) for place, one in slots]
    code = builder.call(builder.inttoptr(_I64(address), kind.as_pointer()), [*first, *rest])
    failed = [builder.icmp_signed("!=", code, one) for one in (RETCODE_OK, RETCODE_NONE)]
    builder.ret(builder.zext(builder.and_(failed[0], failed[1]), _I32))
    library.add_ir_module(module)
    library.finalize()
    return library.get_pointer_to_function(name), library


def _argument(builder: Builder, slots: Value, place: int, kind: ir.PointerType | ir.IntType) -> Value:
    value = builder.load(builder.gep(slots, [_I64(place)]))
    if isinstance(kind, ir.PointerType):
        return builder.inttoptr(value, kind)
    return value if kind.width == _I64.width else builder.trunc(value, kind)


@intrinsic
def call(typingctx, code, slots):  # type: ignore[no-untyped-def]
    """Return 0 if the call of the code at an address, with the arguments at another, went well."""

    def codegen(context: Context, builder: Builder, signature: Signature, args: Args) -> Value:
        function = builder.inttoptr(args[0], _CODE.as_pointer())
        return builder.call(function, [builder.inttoptr(args[1], _I64.as_pointer())])

    return types.int32(types.int64, types.int64), codegen


def _place(context: Context, builder: Builder, signature: Signature, args: Args) -> Value:
    return builder.gep(data_of(context, builder, signature, args, 0), [args[1]])


@intrinsic
def read(typingctx, state, place):  # type: ignore[no-untyped-def]
    """Return a number, int64, that other threads change: all that they wrote before it is there then."""

    def codegen(context: Context, builder: Builder, signature: Signature, args: Args) -> Value:
        return builder.load_atomic(_place(context, builder, signature, args), "acquire", 8)

    return types.int64(state, types.intp), codegen


@intrinsic
def write(typingctx, state, place, value):  # type: ignore[no-untyped-def]
    """Let other threads see a number, and with it all that was written before."""

    def codegen(context: Context, builder: Builder, signature: Signature, args: Args) -> Value:
        builder.store_atomic(args[2], _place(context, builder, signature, args), "release", 8)
        return context.get_dummy_value()

    return types.void(state, types.intp, types.int64), codegen


@intrinsic
def add_one(typingctx, state, place):  # type: ignore[no-untyped-def]
    """Return a number that threads count up together, as it was before."""

    def codegen(context: Context, builder: Builder, signature: Signature, args: Args) -> Value:
        return builder.atomic_rmw("add", _place(context, builder, signature, args), _I64(1), "acq_rel")

    return types.int64(state, types.intp), codegen
