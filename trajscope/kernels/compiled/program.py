"""Whole transforms: the passes, and what is made of the frequencies of both series of a pair."""

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trajscope.kernels.compiled.passes import passes_of, write_pass
from trajscope.kernels.compiled.writer import PAIR, Complex, Writer

ENTRY: Final = "transform"
_ARGUMENTS: Final = (
    "ptr noalias %x, i64 %row, ptr noalias %work, ptr noalias %table, ptr noalias %squares, "
    "ptr noalias %power, ptr noalias %mean, ptr noalias %distance, ptr noalias %coefficients"
)
_LAST: Final = (
    "ptr noalias %z, ptr %scale, i64 %row, ptr noalias %squares, ptr noalias %power, "
    "ptr noalias %mean, ptr noalias %distance, ptr noalias %coefficients"
)


class Program(NamedTuple):
    """What is compiled, and what it needs.

    Attributes
    ----------
    text :
        LLVM's intermediate representation, of a function `ENTRY`.
    table :
        Factors of all passes.
    n_work :
        Numbers that it works on, of a pair of groups of series.
    """

    text: str
    table: NDArray[np.float32]
    n_work: int


def program(length: int, n_rows: int, *, of_both: bool) -> Program:
    """Of a transform of real series of `n_rows`, with zeros behind them up to `length`.

    Parameters
    ----------
    length :
        At least 2.
    of_both :
        Whether the series are increments, of which the power of both curves is made, as
        `trajscope.kernels.powers` says, and `length` is twice their number, an even one; else
        their power is all.
    """
    to = Writer()
    to.function(
        "internal void @scales(ptr noalias %x, i64 %row, ptr noalias %scale)",
        lambda: _write_scales(to, n_rows),
    )
    passes = passes_of(length, n_rows)
    for number, one in enumerate(passes):
        write_pass(to, f"pass{number}", one)
    last: Callable[[], None] = lambda: _write_power(to, length)  # noqa: E731
    if of_both:
        last = lambda: _write_both(to, length)  # noqa: E731
    to.function(f"internal void @last({_LAST})", last)
    tables = [one.table for one in passes]
    n_work = length * PAIR

    def pair(column: str) -> None:
        source, other = to.at("%work", 0), to.at("%work", n_work)
        x, scale = f"ptr {to.at('%x', column)}", f"ptr {to.at('%work', 2 * n_work)}"
        to.call("scales", x, "i64 %row", scale)
        to.call("pass0", x, "i64 %row", f"ptr {source}", "ptr %table", scale)
        first = len(tables[0])
        for number, table in enumerate(tables[1:], 1):
            to.call(
                f"pass{number}", f"ptr {source}", "i64 0", f"ptr {other}",
                f"ptr {to.at('%table', first)}", scale,
            )  # fmt: skip
            source, other, first = other, source, first + len(table)
        moved = [
            f"ptr {to.at(base, column)}" for base in ("%squares", "%power", "%mean", "%distance")
        ]
        to.call("last", f"ptr {source}", scale, "i64 %row", *moved, "ptr %coefficients")

    to.function(f"void @{ENTRY}({_ARGUMENTS})", lambda: to.loop(0, "%row", PAIR, pair))
    return Program(to.text, np.concatenate(tables), 2 * n_work + 2 * PAIR)


def _write_scales(to: Writer, n_rows: int) -> None:
    """``scale`` (2, 2, series): what brings the largest number of a series near 1, and back.

    Either series of a pair has some rounding of the other, which has to be as small as its own.
    """
    largest = to.room(2)
    to.store_pair((to.constant(0), to.constant(0)), largest, 0)

    def at(row: str) -> None:
        pair = to.load_pair("%x", to.index(0, (row, "%row")))
        before = to.load_pair(largest, 0)
        both = to.largest(before[0], pair[0]), to.largest(before[1], pair[1])
        to.store_pair(both, largest, 0)

    to.loop(0, n_rows, 1, at)
    one, other = map(to.power_of_two, to.load_pair(largest, 0))
    to.store_pair((one[1], other[1]), "%scale", 0)
    to.store_pair((one[0], other[0]), "%scale", PAIR)


def _separate(to: Writer, k: str, length: int) -> tuple[Complex, Complex]:
    """Twice the transform of either series, at a frequency other than 0."""
    z = to.load_pair("%z", to.index(0, (k, PAIR)))
    mirror = to.load_pair("%z", to.index(length * PAIR, (k, -PAIR)))
    return (
        (to.add(z[0], mirror[0]), to.subtract(z[1], mirror[1])),
        (to.add(z[1], mirror[1]), to.subtract(mirror[0], z[0])),
    )


def _write_power(to: Writer, length: int) -> None:
    """``squares`` (frequency 0..length/2, series): ``|FFT|^2``."""
    half, back = to.constant(0.5), to.load_pair("%scale", PAIR)

    def put(row: str | int, squares: list[str]) -> None:
        one, other = (
            to.multiply(to.multiply(scale, scale), square)
            for scale, square in zip(back, squares, strict=True)
        )
        to.store_pair((one, other), "%squares", to.index(0, (row, "%row")))

    def at(k: str) -> None:
        pair = _separate(to, k, length)
        put(k, [to.squared_modulus((to.multiply(half, a), to.multiply(half, b))) for a, b in pair])

    put(0, [to.multiply(each, each) for each in to.load_pair("%z", 0)])

    to.loop(1, length // 2 + 1, 1, at)


def _write_both(to: Writer, length: int) -> None:
    """``squares`` (frequency 1..n, series) of positions, ``power`` (1..n/2, series)."""
    half, back = to.constant(0.5), to.load_pair("%scale", PAIR)
    halves = to.multiply(back[0], half), to.multiply(back[1], half)
    mean, distance = to.load_pair("%mean", 0), to.load_pair("%distance", 0)

    def at(k: str, *, is_even: bool) -> None:
        pair = [
            (to.multiply(scale, each[0]), to.multiply(scale, each[1]))
            for each, scale in zip(_separate(to, k, length), halves, strict=True)
        ]
        if is_even:
            one, other = (to.squared_modulus(each) for each in pair)
            row = to.index(-1, (1, to.half(k)))
            to.store_pair((one, other), "%power", to.index(0, (row, "%row")))
        row = to.index(-1, (k, 1))
        place = to.index(0, (row, 4))
        a, b, c, d = (to.same("%coefficients", to.index(place, (1, i))) for i in range(4))
        squares = []
        for value, s, m in zip(pair, mean, distance, strict=True):
            real = to.add_product(to.add_product(value[0], m, b), s, a)
            imaginary = to.add_product(to.add_product(value[1], m, d), s, c)
            squares.append(to.squared_modulus((real, imaginary)))
        to.store_pair((squares[0], squares[1]), "%squares", to.index(0, (row, "%row")))

    def at_two(k: str) -> None:
        at(k, is_even=False)
        at(to.index(k, (1, 1)), is_even=True)

    to.loop(1, length // 2, 2, at_two)
