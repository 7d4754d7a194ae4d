"""Transforms of prime length, by a convolution (Rader 1968, doi:10.1109/PROC.1968.6477).

With g a primitive root of p, all but 0 are powers of g, and with ``F`` the transform of p - 1::

    X_{g^r} = x_0 + F[A B / (p - 1)]_r,   A = F[x_{g^m}],   B = F[e^{-2 pi i g^{-m} / p}]
"""

from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trajscope.kernels.compiled.writer import Writer
from trajscope.kernels.spectra import largest_factor

ORDER, ROWS = "@order", "@rows"
"""Names of the tables of `write_tables`."""


LARGEST_FACTOR: Final = 50
"""Prime factor of a length up to which sums take little time."""


def is_fast(length: int) -> bool:
    """Whether the transform of a length takes little time."""
    return largest_factor(length) <= LARGEST_FACTOR or is_convolution(length)


def is_convolution(length: int) -> bool:
    """Whether it is a prime too large for sums, and one less has small factors."""
    is_large_prime = largest_factor(length) == length > LARGEST_FACTOR
    return is_large_prime and largest_factor(length - 1) <= LARGEST_FACTOR


@cache
def powers_of_root(p: int) -> tuple[int, ...]:
    """``g^m`` modulo the prime p, m = 0..p-2, of its smallest primitive root."""
    factors, left = set(), p - 1
    while left > 1:
        factors.add(largest_factor(left))
        left //= largest_factor(left)
    root = next(g for g in range(2, p) if all(pow(g, (p - 1) // q, p) != 1 for q in factors))
    return tuple(pow(root, m, p) for m in range(p - 1))


def waves(p: int) -> NDArray[np.float32]:
    """``B / (p - 1)``, real and imaginary parts by turns."""
    inverse = np.roll(np.array(powers_of_root(p))[::-1], 1)  # of g^m, which is g^(p - 1 - m)
    transformed = np.fft.fft(np.exp(-2j * np.pi * inverse / p)) / (p - 1)
    return np.stack([transformed.real, transformed.imag], axis=1).astype(np.float32).ravel()


def write_tables(to: Writer, p: int) -> None:
    """Which row is read m-th, and into which the power at the r-th frequency is written."""
    order = powers_of_root(p)
    to.numbers(ORDER, order)
    to.numbers(ROWS, [min(k, p - k) for k in order[: p // 2]])
