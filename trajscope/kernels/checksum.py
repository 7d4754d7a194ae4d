"""Checksums of weights that add up over any split of them, and the bits that they use."""

import numpy as np
from numpy.typing import NDArray

Checks = NDArray[np.uint64]


def add_checksums(
    total: Checks, weights: NDArray[np.floating], *, first: int, offset: int, unit: int
) -> None:
    """Add the checksums of some weights of one tensor to those of its units.

    ``c = sum_i m(i) b(i) modulo 2^64``: b(i) are 32 bits of a weight as a whole number, and m(i) is
    an odd pseudo-random number that its place i in the trajectory gives. Equal weights have equal
    sums at any step; others the same sum by chance once in 2^64, in 2^44 where only the leading
    bits of every weight are used. A plain sum would not tell two weights that change places.

    Parameters
    ----------
    total : (step, unit)
        Is added to. A tensor is cut into units of `unit` neighbouring weights.
    weights : (step, weight)
        float32 or float64.
    first :
        Number of the first weight in the trajectory.
    offset :
        Number of the first weight in its tensor.
    """
    bits, lanes = _words(weights), weights.itemsize // 4
    factors = _multipliers(first * lanes, bits.shape[1])
    n, size = bits.shape[1], unit * lanes
    place, start = divmod(offset * lanes, size)
    head = min((size - start) % size, n)
    if head:
        total[:, place] += np.einsum("tw,w->t", bits[:, :head], factors[:head])
        place += (start + head) // size
    whole = (n - head) // size
    tail = head + whole * size
    if whole:
        total[:, place : place + whole] += np.einsum(
            "tuw,uw->tu",
            bits[:, head:tail].reshape(len(bits), whole, size),
            factors[head:tail].reshape(whole, size),
        )
    if tail < n:
        total[:, place + whole] += np.einsum("tw,w->t", bits[:, tail:], factors[tail:])


def bits_in_use(weights: NDArray[np.floating]) -> Checks:
    """Bits that are set in some weight, (step,): those of a narrower dtype end in zeros."""
    words = weights.view(np.uint32 if weights.itemsize == 4 else np.uint64)
    return np.asarray(np.bitwise_or.reduce(words, axis=1), np.uint64)


def trailing_zeros(bits: Checks) -> NDArray[np.int64]:
    """Zeros at the end of every number, (step,); -1 for zero itself."""
    lowest = bits & (~bits + np.uint64(1))
    return np.asarray(np.where(bits == 0, -1, np.frexp(lowest.astype(np.float64))[1] - 1), np.int64)


def _words(weights: NDArray[np.floating]) -> NDArray[np.uint32]:
    """The bits of the weights, 32 at a time, (step, word)."""
    if weights.strides[1] != weights.itemsize:
        weights = np.ascontiguousarray(weights)
    return weights.view(np.uint32)


def _multipliers(first: int, count: int) -> Checks:
    """Odd pseudo-random numbers of the places from `first` on, (place,).

    splitmix64, Steele, Lea & Flood 2014, doi:10.1145/2660193.2660195
    """
    mixed = np.arange(first + 1, first + 1 + count, dtype=np.uint64)
    mixed *= np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed ^= mixed >> np.uint64(shift)
        mixed *= np.uint64(factor)
    mixed ^= mixed >> np.uint64(31)
    mixed |= np.uint64(1)
    return mixed
