"""Whole transforms: the passes, and what is made of the frequencies of both series of a pair."""

from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trajscope.kernels.compiled.passes import passes_of, write_pass
from trajscope.kernels.compiled.prime import ORDER, ROWS, is_convolution, waves, write_tables
from trajscope.kernels.compiled.writer import PAIR, Complex, Writer

ENTRY: Final = "transform"
_ARGUMENTS: Final = (
    "ptr noalias %x, i64 %row, ptr noalias %work, ptr noalias %table, ptr noalias %squares, "
    "ptr noalias %power, ptr noalias %mean, ptr noalias %distance, ptr noalias %coefficients"
)
_LAST: Final = (
    "(ptr noalias %z, ptr noalias %x, ptr %scale, i64 %row, ptr noalias %squares, "
    "ptr noalias %power, ptr noalias %mean, ptr noalias %distance, ptr noalias %coefficients)"
)
_PRODUCT: Final = (
    "(ptr noalias %z, ptr noalias %table, ptr noalias %x, ptr %scale, i64 %row, "
    "ptr noalias %squares)"
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
        `trajscope.kernels.powers` says, and `length` is twice their number, at least 4; else
        their power is all.
    """
    to = Writer()
    to.function(
        "internal void @scales(ptr noalias %x, i64 %row, ptr noalias %scale)",
        lambda: _write_scales(to, n_rows),
    )
    is_convolved = is_convolution(length) and n_rows == length
    if is_convolved:
        write_tables(to, length)
        passes = passes_of(length - 1, length - 1, ORDER)
        write_pass(to, "again", replace(passes[0], n_rows=0, order=""))
        to.function(f"internal void @product{_PRODUCT}", lambda: _write_product(to, length))
    else:
        passes = passes_of(length, n_rows)
    for number, one in enumerate(passes):
        write_pass(to, f"pass{number}", one)
    last = _write_both if of_both else _write_power_of_prime if is_convolved else _write_power
    to.function(f"internal void @last{_LAST}", lambda: last(to, length))
    tables = [one.table for one in passes]
    starts = np.cumsum([0, *map(len, tables)])
    n_work = length * PAIR

    def pair(column: str) -> None:
        source, other, scale = (f"ptr {to.at('%work', n_work * number)}" for number in range(3))
        x, squares, power, mean, distance = (
            f"ptr {to.at(base, column)}"
            for base in ("%x", "%squares", "%power", "%mean", "%distance")
        )
        factors = [f"ptr {to.at('%table', start)}" for start in starts]
        to.call("scales", x, "i64 %row", scale)
        to.call("pass0", x, "i64 %row", source, factors[0], scale)
        names = [f"pass{number}" for number in range(len(passes))]
        if is_convolved:
            names += ["again", *names[1:]]
        for number, name in enumerate(names[1:], 1):
            if name == "again":
                to.call("product", source, factors[-1], x, scale, "i64 %row", squares)
            table = factors[number % len(passes)]
            to.call(name, source, "i64 0", other, table, scale)
            source, other = other, source
        to.call(
            "last", source, x, scale, "i64 %row", squares, power, mean, distance,
            "ptr %coefficients",
        )  # fmt: skip

    to.function(f"void @{ENTRY}({_ARGUMENTS})", lambda: to.loop(0, "%row", PAIR, pair))
    tables += [waves(length)] if is_convolved else []
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
    return _of_mirrored(to, z, to.load_pair("%z", to.index(length * PAIR, (k, -PAIR))))


def _of_mirrored(to: Writer, z: Complex, mirror: Complex) -> tuple[Complex, Complex]:
    """Twice the transform of either series, from that of both at a frequency and its negative."""
    return (
        (to.add(z[0], mirror[0]), to.subtract(z[1], mirror[1])),
        (to.add(z[1], mirror[1]), to.subtract(mirror[0], z[0])),
    )


def _put_power(to: Writer, row: str | int, values: tuple[Complex, Complex]) -> None:
    """The squares of a frequency of both series, scaled back."""
    back = to.load_pair("%scale", PAIR)
    one, other = (
        to.multiply(to.multiply(scale, scale), to.squared_modulus(value))
        for scale, value in zip(back, values, strict=True)
    )
    to.store_pair((one, other), "%squares", to.index(0, (row, "%row")))


def _put_constant(to: Writer, sums: Complex) -> None:
    """The squares of the sums of both series."""
    zero = to.constant(0)
    _put_power(to, 0, ((sums[0], zero), (sums[1], zero)))


def _halved(to: Writer, values: tuple[Complex, Complex]) -> tuple[Complex, Complex]:
    half = to.constant(0.5)
    (a, b), (c, d) = values
    return (
        (to.multiply(half, a), to.multiply(half, b)),
        (to.multiply(half, c), to.multiply(half, d)),
    )


def _write_power(to: Writer, length: int) -> None:
    """``squares`` (frequency 0..length/2, series): ``|FFT|^2``."""
    _put_constant(to, to.load_pair("%z", 0))
    to.loop(
        1, length // 2 + 1, 1, lambda k: _put_power(to, k, _halved(to, _separate(to, k, length)))
    )


def _first_number(to: Writer) -> Complex:
    """That of either series, scaled."""
    value, scale = to.load_pair("%x", 0), to.load_pair("%scale", 0)
    return to.multiply(value[0], scale[0]), to.multiply(value[1], scale[1])


def _write_product(to: Writer, p: int) -> None:
    """Multiply A by B / (p - 1), and put the squares of the sums, which A knows."""
    _put_constant(to, to.add_complex(_first_number(to), to.load_pair("%z", 0)))

    def at(k: str) -> None:
        wave, place = to.index(0, (k, 2)), to.index(0, (k, PAIR))
        factor = to.same("%table", wave), to.same("%table", to.index(wave, (1, 1)))
        to.store_pair(to.multiply_complex(to.load_pair("%z", place), factor), "%z", place)

    to.loop(0, p - 1, 1, at)


def _write_power_of_prime(to: Writer, p: int) -> None:
    """``squares`` (frequency 1..p/2, series), where frequencies are powers of the root."""
    first = _first_number(to)

    def at(r: str) -> None:
        here, mirror = (
            to.add_complex(first, to.load_pair("%z", to.index(start * PAIR, (r, PAIR))))
            for start in (0, p // 2)
        )
        _put_power(to, to.number(ROWS, r), _halved(to, _of_mirrored(to, here, mirror)))

    to.loop(0, p // 2, 1, at)


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

    n = length // 2
    to.loop(1, n, 2, at_two)
    if n % 2:
        at(str(n), is_even=False)
