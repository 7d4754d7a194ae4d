"""Power of increments: pooled over weights, and by products where a transform is slow."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Final

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from trajscope.kernels.gram import SAFE_SQUARES, Floats

# Columns are transformed in pieces that stay in the second-level cache. scipy transforms several
# neighbouring columns at once, and is slower below some thirty of them.
PIECE_BYTES: Final = 3 << 18
FEWEST_COLUMNS: Final = 32
_LONGEST_PRODUCT: Final = 1024
_AWKWARD: Final = 50
"""Prime factor of a length above which, and length up to which, products with a matrix of waves are
faster than a transform: from 1.3 times (997) to six times (127), measured."""


def column_pieces(
    values: NDArray[np.floating], n_padded: int | None = None, n_bytes: int = PIECE_BYTES
) -> Iterator[slice]:
    """Slices of the weight axis small enough to be worked on in cache.

    Parameters
    ----------
    values : (step, weight)
    n_padded :
        Steps with zeros behind them, where there are any.
    n_bytes :
        Of a piece with its zeros.
    """
    n_steps, n_weights = values.shape
    length = (n_padded or n_steps) * values.itemsize
    width = max(FEWEST_COLUMNS, n_bytes // length // 16 * 16)
    for start in range(0, n_weights, width):
        yield slice(start, start + width)


def pooled_power(increments: NDArray[np.floating]) -> dict[str, Floats]:
    """Sum over weights of ``|FFT(yc_i)[j]|^2 / n``, j = 1..floor(n/2), in float64.

    Parameters
    ----------
    increments : (interval, weight)

    Returns
    -------
    dict
        ``power`` (frequency,), squared weight units.
    """
    n = len(increments)
    power = np.zeros(n // 2)
    for columns in column_pieces(increments):
        piece = increments[:, columns].astype(np.float64)
        piece -= piece.mean(axis=0)
        transformed = scipy.fft.rfft(piece, axis=0, overwrite_x=True)[1 : n // 2 + 1]
        power += (np.square(transformed.real) + np.square(transformed.imag)).sum(axis=1) / n
    return {"power": power}


def is_awkward(n: int) -> bool:
    """Whether products with a matrix of waves are faster than a transform of this length."""
    return n <= _LONGEST_PRODUCT and largest_factor(n) > _AWKWARD


@lru_cache(maxsize=64)
def largest_factor(n: int) -> int:
    """The largest prime factor, at least 1."""
    largest, factor = 1, 2
    while factor * factor <= n:
        while n % factor == 0:
            largest, n = factor, n // factor
        factor += 1
    return max(largest, n)


def power_by_products(centred: NDArray[np.floating]) -> NDArray[np.floating]:
    """``|FFT|^2`` at j = 1..floor(n/2), (frequency, weight), of a length whose transform is slow.

    Time is counted from the middle, which changes no amplitude; then cosines see only the sums of
    values before and behind it, sines only the differences: two products with half as many rows.
    """
    n = len(centred)
    half = n // 2
    cosines, sines = _halved_waves(n, centred.dtype.char)
    behind = centred[: n - half - 1 : -1]
    even = np.empty((n - half, centred.shape[1]), centred.dtype)
    np.add(centred[:half], behind, out=even[:half])
    even[half:] = centred[half : n - half]
    power: NDArray[np.floating] = np.square(cosines @ even)
    power += np.square(sines @ (centred[:half] - behind))
    return power


@lru_cache(maxsize=4)
def _halved_waves(n: int, dtype: str) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Cosines (frequency, first half and middle), sines (frequency, first half)."""
    j = np.arange(1, n // 2 + 1)[:, np.newaxis]
    time = np.arange(n - n // 2) - (n - 1) / 2
    angles = 2 * np.pi * j * time / n
    return np.cos(angles).astype(dtype), np.sin(angles[:, : n // 2]).astype(dtype)


def squares_are_safe(squares: NDArray[np.floating], values: NDArray[np.floating]) -> bool:
    """Whether sums of squares neither vanish nor overflow in their dtype; NaN is not safe.

    Parameters
    ----------
    squares : (weight,)
    values : (step, weight)
        What was squared, about its mean or first value: nothing vanished of what is constant.
    """
    is_safe = (squares > SAFE_SQUARES[0]) & (squares < SAFE_SQUARES[1])
    if is_safe.all():
        return True
    others = values[:, ~is_safe]
    return bool((squares[~is_safe] == 0).all() and (others == others[0]).all())


def scaled_by_displacement(
    values: NDArray[np.floating],
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """A copy with every weight divided by a power of two near its largest displacement, and those.

    Displacements are from the first step; division by a power of two is exact.

    Parameters
    ----------
    values : (step, weight)

    Returns
    -------
    (step, weight), (weight,)
        A weight that never moves is kept, with scale 0.
    """
    displacement = values - values[0]
    largest = np.maximum(displacement.max(axis=0), -displacement.min(axis=0))
    exponent = np.where(largest == 0, 0, np.frexp(largest)[1] - 1)
    return np.ldexp(values, -exponent), np.where(largest == 0, 0, np.ldexp(1.0, exponent))
