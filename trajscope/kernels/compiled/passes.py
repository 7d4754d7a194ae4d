"""Passes of a fast Fourier transform over pairs of real series.

Two real series a and b are one complex series a + i b; a value holds `LANES` of either. Passes are
those of Stockham, which leave frequencies in their order: with the length left ``n = r l`` and s
transforms side by side::

    y[q + s (r p + k)] = e^{-2 pi i p k / n} sum_{j<r} e^{-2 pi i j k / r} x[q + s (p + l j)]
    q = 0..s-1, p = 0..l-1, k = 0..r-1

(Swarztrauber 1984, doi:10.1016/S0167-8191(84)90413-7.)
"""

import math
from dataclasses import dataclass
from functools import partial, reduce
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trajscope.kernels.compiled.writer import PAIR, Complex, Writer

_WRITTEN_OUT: Final = 13
"""Radix up to which all sums are written one by one; beyond, they are loops."""
_ARGUMENTS: Final = "(ptr noalias %x, i64 %row, ptr noalias %y, ptr noalias %table, ptr %scale)"


@dataclass(frozen=True)
class Pass:
    """One of the passes.

    Attributes
    ----------
    radix, left, beside :
        r, l and s.
    n_rows :
        Of a pass that reads real series: how many rows there are; the others are zero.
    order :
        Name of a table that says which row of the series is which of the transform.
    """

    radix: int
    left: int
    beside: int
    n_rows: int = 0
    order: str = ""

    @property
    def is_first(self) -> bool:
        """Whether it reads the series."""
        return self.n_rows > 0

    @property
    def is_long(self) -> bool:
        """Whether its sums are loops."""
        return self.radix > _WRITTEN_OUT

    @property
    def table(self) -> NDArray[np.float32]:
        """What it multiplies by: turns of (p, k), and cosines and sines of (k, j) of a long one."""
        r, n = self.radix, self.radix * self.left
        p, k = np.arange(self.left)[:, np.newaxis], np.arange(r)
        angles = [-2 * np.pi * (p * k % n) / n]
        if self.is_long:
            half = np.arange(1, r // 2 + 1)
            angles.append(2 * np.pi * (np.outer(half, half) % r) / r)
        parts = [np.stack([np.cos(each), np.sin(each)], axis=-1).ravel() for each in angles]
        return np.concatenate(parts).astype(np.float32)


def passes_of(length: int, n_rows: int, order: str = "") -> list[Pass]:
    """Those of a transform of this length, of which the first `n_rows` are not zero."""
    radices, left = [], length
    for radix in (4, 2, *range(3, length + 1, 2)):
        while left % radix == 0:
            radices.append(radix)
            left //= radix
    found, beside = [], 1
    for radix in radices:
        left = length // beside // radix
        first = (n_rows, order) if beside == 1 else ()
        found.append(Pass(radix, left, beside, *first))
        beside *= radix
    return found


def write_pass(to: Writer, name: str, one: Pass) -> None:
    """A function ``name(x, row, y, table, scale)``.

    The first pass multiplies every series by its `scale`; `row` is the distance of its rows.
    """

    def body() -> None:
        summed = _Sums(to, one)
        ends = {0, one.left}
        if one.is_first:  # where a summand begins to be zero
            ends |= {one.n_rows - one.left * j for j in range(one.radix)}
        cuts = sorted(end for end in ends if 0 <= end <= one.left)
        for start, stop in pairwise(cuts):
            to.loop(start, stop, 1, partial(summed.of_position, start))

    to.function(f"internal void @{name}{_ARGUMENTS}", body)


class _Sums:
    """Writes the sums over j of a pass."""

    def __init__(self, to: Writer, one: Pass) -> None:
        self._to, self._pass = to, one
        self._room = to.room(4 * (one.radix // 2)) if one.is_long else ""

    def of_position(self, start: int, p: str) -> None:
        """For one p of those from `start` on that have the same summands, and all q."""
        one, zero = self._pass, self._to.constant(0)
        is_zero = [one.is_first and start + one.left * j >= one.n_rows for j in range(one.radix)]

        def at(q: str) -> None:
            terms = [
                (zero, zero) if gone else self._load((p, q), j) for j, gone in enumerate(is_zero)
            ]
            if one.is_long:
                self._put_long(terms, (p, q))
                return
            for k, value in enumerate(_sums(self._to, terms)):
                self._put(k, value, (p, q))

        self._to.loop(0, one.beside, 1, at)

    def _load(self, place: tuple[str, str], j: int) -> Complex:
        to, one, (p, q) = self._to, self._pass, place
        row = to.index(p, (one.left, j))
        if one.order:
            row = to.number(one.order, row)
        if one.is_first:
            real, imaginary = to.load_pair("%x", to.index(0, (row, "%row")))
            scale = to.load_pair("%scale", 0)
            return to.multiply(real, scale[0]), to.multiply(imaginary, scale[1])
        return to.load_pair("%x", to.index(0, (to.index(q, (row, one.beside)), PAIR)))

    def _put(self, k: int | str, value: Complex, place: tuple[str, str]) -> None:
        to, one, (p, q) = self._to, self._pass, place
        turn = to.index(k, (p, one.radix))
        if one.left > 1 and k != 0:
            at = to.index(0, (turn, 2))
            turns = to.same("%table", at), to.same("%table", to.index(at, (1, 1)))
            value = to.multiply_complex(value, turns)
        to.store_pair(value, "%y", to.index(0, (to.index(q, (turn, one.beside)), PAIR)))

    def _put_long(self, terms: list[Complex], place: tuple[str, str]) -> None:
        """Sums of an odd radix, in a loop over pairs of k."""
        to, room, r = self._to, self._room, self._pass.radix
        half = r // 2
        total = terms[0]
        for j in range(half):
            one, other = terms[j + 1], terms[r - 1 - j]
            sums = to.add_complex(one, other)
            to.store_pair(sums, room, 2 * j * PAIR)
            to.store_pair(to.subtract_complex(one, other), room, (2 * j + 1) * PAIR)
            total = to.add_complex(total, sums)
        self._put(0, total, place)

        def at(ks: list[str]) -> None:
            zero = to.constant(0)
            found = [(terms[0], (zero, zero)) for _ in ks]
            for j in range(half):
                sums, differences = (to.load_pair(room, (2 * j + i) * PAIR) for i in range(2))
                for number, (k, (even, odd)) in enumerate(zip(ks, found, strict=True)):
                    wave = to.index(2 * (r * self._pass.left + j - half), (k, 2 * half))
                    cosine = _add_multiple(to, even, to.same("%table", wave), sums)
                    wave = to.index(wave, (1, 1))
                    sine = _add_multiple(to, odd, to.same("%table", wave), differences)
                    found[number] = cosine, sine
            for k, (even, odd) in zip(ks, found, strict=True):
                one, other = _mirrored(to, even, odd)
                self._put(k, one, place)
                self._put(to.index(r, (-1, k)), other, place)

        # Two at once: what is added up is read once for both.
        to.loop(1, half, 2, lambda k: at([k, to.index(k, (1, 1))]))
        if half % 2:
            at([str(half)])


def _sums(to: Writer, x: list[Complex]) -> list[Complex]:
    """``sum_j e^{-2 pi i j k / r} x_j`` for k = 0..r-1."""
    r = len(x)
    if r == 2:
        return [to.add_complex(*x), to.subtract_complex(*x)]
    if r == 4:
        (a, b), (c, d) = _sums(to, x[::2]), _sums(to, x[1::2])
        one, three = _mirrored(to, b, d)
        return [to.add_complex(a, c), one, to.subtract_complex(a, c), three]
    half = range(1, r // 2 + 1)
    sums = [to.add_complex(x[j], x[-j]) for j in half]
    differences = [to.subtract_complex(x[j], x[-j]) for j in half]
    found = [reduce(to.add_complex, sums, x[0]), *x[1:]]
    for k in half:
        even, odd = x[0], (to.constant(0), to.constant(0))
        for j in half:
            angle = 2 * math.pi * (j * k % r) / r
            even = _add_multiple(to, even, to.constant(math.cos(angle)), sums[j - 1])
            odd = _add_multiple(to, odd, to.constant(math.sin(angle)), differences[j - 1])
        found[k], found[r - k] = _mirrored(to, even, odd)
    return found


def _mirrored(to: Writer, even: Complex, odd: Complex) -> tuple[Complex, Complex]:
    """``even - i odd`` and ``even + i odd``."""
    turned = (odd[1], odd[0])  # -i odd = (odd[1], -odd[0])
    return (
        (to.add(even[0], turned[0]), to.subtract(even[1], turned[1])),
        (to.subtract(even[0], turned[0]), to.add(even[1], turned[1])),
    )


def _add_multiple(to: Writer, total: Complex, number: str, value: Complex) -> Complex:
    return to.add_product(total[0], number, value[0]), to.add_product(total[1], number, value[1])
