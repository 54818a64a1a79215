"""Vector instructions for numba: a small hand for writing LLVM code, as loops over arrays are vectorised by luck only.

Vectors are 8 floats wide: one register with AVX2, two with NEON. Every address is a flat float32 array and an offset.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils as numba_cgutils
from numba.extending import intrinsic

cgutils: Any = numba_cgutils  # its functions have no types

WIDTH = 8
VECTOR = ir.VectorType(ir.FloatType(), WIDTH)
_INT = ir.IntType(64)
_FMA = ir.FunctionType(VECTOR, [VECTOR] * 3)


class Emitter:
    """Writes the body of one instruction: arithmetic on vectors and on addresses, at the builder's place."""

    def __init__(self, builder: Any) -> None:
        self.builder = builder
        self._fma = cgutils.get_or_insert_function(builder.module, _FMA, f"llvm.fma.v{WIDTH}f32")

    def at(self, pointer: Any, *offsets: Any) -> Any:
        """Move a pointer by a sum of offsets, in floats."""
        for offset in offsets:
            pointer = self.builder.gep(pointer, [_INT(offset) if isinstance(offset, int) else offset])
        return pointer

    def times(self, offset: Any, factor: int) -> Any:
        """Multiply an offset."""
        return self.builder.mul(offset, _INT(factor))

    def loop(self, count: Any) -> AbstractContextManager[Any]:
        """What is emitted inside runs `count` times; the context's value has an `index`."""
        repeated: AbstractContextManager[Any] = cgutils.for_range(self.builder, count)
        return repeated

    def variable(self, value: Any) -> Any:
        """A place that holds a value and may be stored to again; one that lives in a register."""
        return cgutils.alloca_once_value(self.builder, value)

    def load(self, pointer: Any) -> Any:
        """Return the vector at a float's address, which need not be aligned."""
        value = self.builder.load(self.builder.bitcast(pointer, VECTOR.as_pointer()))
        value.align = 4
        return value

    def store(self, value: Any, pointer: Any) -> None:
        self.builder.store(value, self.builder.bitcast(pointer, VECTOR.as_pointer())).align = 4

    def splat(self, scalar: Any) -> Any:
        """Repeat one float, a number or a value, in a vector."""
        if isinstance(scalar, float):
            return ir.Constant(VECTOR, [scalar] * WIDTH)
        undefined = ir.Constant(VECTOR, ir.Undefined)
        one = self.builder.insert_element(undefined, scalar, ir.IntType(32)(0))
        mask = ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), [0] * WIDTH)
        return self.builder.shuffle_vector(one, undefined, mask)

    def fma(self, one: Any, other: Any, more: Any) -> Any:
        """One times other plus more; a number stands for a vector of it."""
        one = self.splat(one) if isinstance(one, float) else one
        return self.builder.call(self._fma, [one, other, more])

    def add(self, one: Any, other: Any) -> Any:
        return self.builder.fadd(one, other)

    def sub(self, one: Any, other: Any) -> Any:
        return self.builder.fsub(one, other)

    def at_least(self, value: Any, floor: Any) -> Any:
        """The larger one of each pair."""
        return self.builder.select(self.builder.fcmp_ordered(">", value, floor), value, floor)


def instruction(arguments: str, write: Callable[..., None]) -> Any:
    """Return a function for compiled code. `arguments`: a letter each, a(rray), i(nteger), f(loat).

    `write(emitter, *values)` emits its body: arrays come as pointers to their first float (of offsets: integer),
    integers as 64 bits.
    """

    def lower(context: Any, builder: Any, signature: Any, values: Sequence[Any]) -> Any:
        given: list[Any] = []
        for letter, kind, value in zip(arguments, signature.args, values, strict=True):
            if letter == "a":
                given.append(context.make_array(kind)(context, builder, value).data)
            else:
                wanted = types.int64 if letter == "i" else types.float32
                given.append(context.cast(builder, value, kind, wanted))
        write(Emitter(builder), *given)
        return context.get_dummy_value()

    def typing(context: Any, *kinds: Any) -> Any:
        return types.void(*kinds), lower

    # numba asks how many parameters there are.
    names = ["context", *(f"{letter}{index}" for index, letter in enumerate(arguments))]
    parameters = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in names]
    vars(typing)["__signature__"] = inspect.Signature(parameters)
    return intrinsic(typing)
