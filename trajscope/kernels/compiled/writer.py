"""Text of LLVM's intermediate representation: arithmetic of several series at once."""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

LANES: Final = 8
"""Series that one value holds a number of. Of 4, 8 and 16 the fastest where registers hold eight;
where they hold fewer, LLVM splits a value."""

PAIR: Final = 2 * LANES
_VECTOR: Final = f"<{LANES} x float>"
_INTEGERS: Final = f"<{LANES} x i32>"
_FREE: Final = "nsz contract"
"""What arithmetic may change: the sign of zero, and the rounding between a product and a sum."""

Complex = tuple[str, str]
"""Names of a real and an imaginary part."""


class Writer:
    """Instructions, line by line.

    Values and numbers of loops are names of the text; a place is a number of floats behind a
    pointer.
    """

    def __init__(self) -> None:
        self._lines = [
            f"declare {_VECTOR} @llvm.fma.v{LANES}f32({_VECTOR}, {_VECTOR}, {_VECTOR})",
            f"declare {_VECTOR} @llvm.fabs.v{LANES}f32({_VECTOR})",
        ]
        self._n_names = 0

    @property
    def text(self) -> str:
        """All of it."""
        return "\n".join(self._lines)

    def function(self, head: str, body: Callable[[], None]) -> None:
        """A function without result, of this name and arguments."""
        self._lines += [f"define {head} {{", "entry:"]
        body()
        self._lines += ["  ret void", "}"]

    def call(self, name: str, *arguments: str) -> None:
        """A call of such a function."""
        self._lines.append(f"  call void @{name}({', '.join(arguments)})")

    def numbers(self, name: str, values: Sequence[int]) -> None:
        """A table of whole numbers."""
        listed = ", ".join(f"i64 {value}" for value in values)
        self._lines.append(f"{name} = internal constant [{len(values)} x i64] [{listed}]")

    def number(self, name: str, place: str) -> str:
        """One of such a table."""
        pointer = self._value(f"getelementptr i64, ptr {name}, i64 {place}")
        return self._value(f"load i64, ptr {pointer}")

    def loop(self, start: int, stop: int | str, step: int, body: Callable[[str], None]) -> None:
        """Instructions for every number from `start` to below `stop`, at least once."""
        self._n_names += 1
        k = self._n_names
        self._lines += [
            f"  br label %before{k}",
            f"before{k}:",
            f"  br label %loop{k}",
            f"loop{k}:",
            f"  %i{k} = phi i64 [ {start}, %before{k} ], [ %next{k}, %end{k} ]",
        ]
        body(f"%i{k}")
        self._lines += [
            f"  br label %end{k}",
            f"end{k}:",
            f"  %next{k} = add i64 %i{k}, {step}",
            f"  %again{k} = icmp ult i64 %next{k}, {stop}",
            f"  br i1 %again{k}, label %loop{k}, label %after{k}",
            f"after{k}:",
        ]

    def index(self, first: int | str, *terms: tuple[int | str, int | str]) -> str:
        """``first + a b + ...`` of the pairs (a, b)."""
        total = str(first)
        for a, b in terms:
            total = self._value(f"add i64 {total}, {self._value(f'mul i64 {a}, {b}')}")
        return total

    def half(self, number: str) -> str:
        """Half of an even number."""
        return self._value(f"lshr i64 {number}, 1")

    def at(self, base: str, place: int | str) -> str:
        """Pointer to a place."""
        return self._value(f"getelementptr float, ptr {base}, i64 {place}")

    def room(self, n_values: int) -> str:
        """Memory of a function's own, for so many values."""
        return self._value(f"alloca {_VECTOR}, i64 {n_values}, align {4 * LANES}")

    def load(self, base: str, place: int | str) -> str:
        """The numbers of all series at a place."""
        return self._value(f"load {_VECTOR}, ptr {self.at(base, place)}, align 4")

    def store(self, value: str, base: str, place: int | str) -> None:
        """Write numbers of all series to a place."""
        pointer = self.at(base, place)
        self._lines.append(f"  store {_VECTOR} {value}, ptr {pointer}, align 4")

    def load_pair(self, base: str, place: int | str) -> Complex:
        """The numbers of all series at a place, and those behind them."""
        return self.load(base, place), self.load(base, self.index(place, (1, LANES)))

    def store_pair(self, pair: Complex, base: str, place: int | str) -> None:
        """Write to a place, and behind it."""
        self.store(pair[0], base, place)
        self.store(pair[1], base, self.index(place, (1, LANES)))

    def same(self, base: str, place: int | str) -> str:
        """One number at a place, for all series."""
        number = self._value(f"load float, ptr {self.at(base, place)}, align 4")
        first = self._value(f"insertelement {_VECTOR} poison, float {number}, i64 0")
        return self._value(
            f"shufflevector {_VECTOR} {first}, {_VECTOR} poison, <{LANES} x i32> zeroinitializer"
        )

    @staticmethod
    def constant(number: float) -> str:
        """A number, for all series."""
        bits = int(np.float64(np.float32(number)).view(np.uint64))
        return f"<{', '.join([f'float 0x{bits:016X}'] * LANES)}>"

    def add(self, a: str, b: str) -> str:
        """``a + b``."""
        return self._value(f"fadd {_FREE} {_VECTOR} {a}, {b}")

    def subtract(self, a: str, b: str) -> str:
        """``a - b``."""
        return self._value(f"fsub {_FREE} {_VECTOR} {a}, {b}")

    def multiply(self, a: str, b: str) -> str:
        """``a b``."""
        return self._value(f"fmul {_FREE} {_VECTOR} {a}, {b}")

    def add_product(self, total: str, a: str, b: str) -> str:
        """``total + a b``, rounded once."""
        arguments = ", ".join(f"{_VECTOR} {each}" for each in (a, b, total))
        return self._value(f"call {_FREE} {_VECTOR} @llvm.fma.v{LANES}f32({arguments})")

    def largest(self, a: str, b: str) -> str:
        """``max(a, |b|)``."""
        size = self._value(f"call {_VECTOR} @llvm.fabs.v{LANES}f32({_VECTOR} {b})")
        is_larger = self._value(f"fcmp ogt {_VECTOR} {size}, {a}")
        return self._value(f"select <{LANES} x i1> {is_larger}, {_VECTOR} {size}, {_VECTOR} {a}")

    def power_of_two(self, a: str) -> Complex:
        """The one at or below a positive number, zero of zero and subnormal ones; and its inverse.

        The inverse of zero is some finite number.
        """
        bits = self._value(f"bitcast {_VECTOR} {a} to {_INTEGERS}")
        exponent = self._value(f"and {_INTEGERS} {bits}, {_each(0x7F800000)}")
        inverse = self._value(f"sub {_INTEGERS} {_each(0x7F000000)}, {exponent}")
        return (
            self._value(f"bitcast {_INTEGERS} {exponent} to {_VECTOR}"),
            self._value(f"bitcast {_INTEGERS} {inverse} to {_VECTOR}"),
        )

    def add_complex(self, a: Complex, b: Complex) -> Complex:
        """``a + b``."""
        return self.add(a[0], b[0]), self.add(a[1], b[1])

    def subtract_complex(self, a: Complex, b: Complex) -> Complex:
        """``a - b``."""
        return self.subtract(a[0], b[0]), self.subtract(a[1], b[1])

    def multiply_complex(self, a: Complex, b: Complex) -> Complex:
        """``a b``."""
        real = self.subtract(self.multiply(a[0], b[0]), self.multiply(a[1], b[1]))
        return real, self.add_product(self.multiply(a[1], b[0]), a[0], b[1])

    def squared_modulus(self, a: Complex) -> str:
        """``|a|^2``."""
        return self.add_product(self.multiply(a[1], a[1]), a[0], a[0])

    def _value(self, instruction: str) -> str:
        self._n_names += 1
        self._lines.append(f"  %v{self._n_names} = {instruction}")
        return f"%v{self._n_names}"


def _each(number: int) -> str:
    return f"<{', '.join([f'i32 {number}'] * LANES)}>"
