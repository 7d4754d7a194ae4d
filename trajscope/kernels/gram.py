"""Inner products of increments, and everything pooled over weights that follows from them."""

from itertools import pairwise
from typing import Final

import numpy as np
import scipy.fft
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SAFE_SQUARES: Final = (1e-24, 1e30)
"""Sums of squares in this range neither overflowed nor lost digits to underflow in float32."""

_CENTRED_BYTES: Final = 16 << 20
"""Of the copy of increments that is centred at a time."""
_NARROWEST: Final = 512
"""Weights: below, adding up products costs as much as making them."""
_WIDEST: Final = 1 << 14
"""Weights: the error of float32 products grows with their number, by a hundred to a million."""
_ROWS_AT_ONCE: Final = 64
"""Of a matrix whose diagonals are summed."""
_DRIFTS: Final = 0.1
"""Share of an interval's squared length from which the mean increment is taken off."""


def increment_gram(increments: NDArray[np.floating]) -> Floats:
    """Inner products between the increments of a trajectory.

    ``J[s, t] = <y[s], y[t]>`` with ``y[t] = x[t+1] - x[t]``

    The sum over weights makes this additive: the matrices of disjoint sets of weights add up to
    the matrix of their union, in any order.

    Parameters
    ----------
    increments : (interval, weight)
        In the dtype they were subtracted in; rows may be strided.

    Returns
    -------
    (interval, interval)
        Squared weight units. Not finite where the increments are not.

    Notes
    -----
    Late in training the weights are far larger than their increments, so ``<x, x>`` would spend
    its digits on a constant: in float32 its periodogram is wrong by a factor of ten and more, that
    of ``<y, y>`` right to 1e-6. The same holds for the increments of a fast drift. Where it
    dominates every interval, each weight's mean increment m is taken off before the product, which
    is taken in the dtype of the increments, and put back in float64:
    ``J = G + b 1' + 1 b' + |m|^2``, ``G = (y-m)(y-m)'``, ``b = (y-m) m``. Where squares leave
    float32's range, each increment is scaled by a power of two of its own, so that early ones keep
    their digits when the weights grow by many orders of magnitude.
    """
    n = len(increments)
    gram = np.zeros((n, n))
    width = _CENTRED_BYTES // max(1, increments.itemsize * n)
    width = min(max(width, _NARROWEST), _WIDEST)
    for start in range(0, increments.shape[1], width):
        _add_products(gram, increments[:, start : start + width])
    return gram


def _add_products(gram: Floats, increments: NDArray[np.floating]) -> None:
    """Add the products of one block of weights."""
    squares = np.einsum("tw,tw->t", increments, increments)
    if _are_safe(squares, increments):
        mean = increments.mean(axis=0)
        drift = float(mean @ mean)
        if _DRIFTS * squares.max() < drift < squares.min() / _DRIFTS:
            centred = increments - mean
            cross = (centred @ mean).astype(np.float64)
            gram += centred @ centred.T
            gram += cross
            gram += cross[:, np.newaxis] + drift
        else:
            gram += increments @ increments.T
        return
    largest = np.abs(increments).max(axis=1, initial=0.0)
    if not largest.any():
        return
    if not np.isfinite(largest).all():
        gram += increments @ increments.T
        return
    exponents = np.frexp(largest)[1]
    scaled = np.zeros_like(gram)
    _add_products(scaled, np.ldexp(increments, -exponents[:, np.newaxis]))
    gram += np.ldexp(scaled, exponents + exponents[:, np.newaxis])


def _are_safe(squares: NDArray[np.floating], increments: NDArray[np.floating]) -> bool:
    """Whether no sum of squares of an interval that moves leaves the safe range."""
    low, high = SAFE_SQUARES
    if not low < squares.max(initial=0.0) < high:
        return False
    small = squares <= low
    return not small.any() or not np.any(increments[small])


def displacement_gram(gram: Floats) -> Floats:
    """Inner products of the displacements ``x[t] - x[0]``, from `increment_gram`.

    ``K[s, t] = sum of J over all intervals before s and before t``

    Parameters
    ----------
    gram : (interval, interval)

    Returns
    -------
    (step, step)
        The first row and column are zero by definition.
    """
    n_steps = len(gram) + 1
    displacement = np.zeros((n_steps, n_steps))
    np.cumsum(gram, axis=1, out=displacement[1:, 1:])
    for before, row in pairwise(displacement):  # row by row: sums down the columns took twice that
        np.add(before, row, out=row)
    return displacement


def double_centre(gram: Floats) -> Floats:
    """Inner products after the mean over time is taken off: ``H K H``, ``H = 1 - 11'/T``.

    Parameters
    ----------
    gram : (step, step)

    Returns
    -------
    (step, step)
    """
    row_mean = gram.mean(axis=0)
    centred: Floats = gram - row_mean
    centred -= (row_mean - row_mean.mean())[:, np.newaxis]
    return centred


def lagged_products(gram: Floats) -> Floats:
    """Sums along the diagonals: ``c[h] = sum_t G[t, t+h]``, h = 0..n-1.

    Parameters
    ----------
    gram : (interval, interval)

    Returns
    -------
    (lag,)
    """
    n = len(gram)
    sums = np.zeros(n)
    for start in range(0, n, _ROWS_AT_ONCE):
        rows = gram[start : start + _ROWS_AT_ONCE, start:]
        # In rows that are one entry longer than those they lie in, a diagonal is a column.
        few, length = rows.shape
        padded = np.zeros((few + 1, length + few))
        padded[:few, :length] = rows
        shifted = padded.ravel()[: few * (length + few + 1)].reshape(few, -1)
        sums[:length] += shifted.sum(axis=0)[:length]
    return sums


def periodogram_of_gram(gram: Floats) -> Floats:
    """Periodogram of the increments, summed over weights, from their inner products.

    ``I[j] = (1/n) sum over weights of |FFT(y - mean y)[j]|^2``, j = 1..floor(n/2): the transform
    of the `lagged_products` of the doubly centred matrix, folded onto n lags.

    Parameters
    ----------
    gram : (interval, interval)

    Returns
    -------
    (frequency,)
        Squared weight units.
    """
    n = len(gram)
    products = lagged_products(double_centre(gram))
    circular = products.copy()
    circular[1:] += products[:0:-1]
    power: Floats = np.maximum(scipy.fft.rfft(circular).real[1 : n // 2 + 1], 0.0) / n
    return power


def mean_squared_displacement(squared_norms: Floats, products: Floats) -> Floats:
    """Mean over time of ``|x[t+q] - x[t]|^2``, summed over weights, for every lag q.

    ``MSD(q) = [sum_{t<T-q} (|x[t]|^2 + |x[t+q]|^2) - 2 R(q)] / (T - q)``
    with ``R(q) = sum_t <x[t], x[t+q]>``

    Any constant may be taken off x beforehand; taking off the mean keeps most digits.

    Parameters
    ----------
    squared_norms : (step,)
    products : (lag,)
        R(q), as from `lagged_products`.

    Returns
    -------
    (lag,)
        Squared weight units; zero at lag 0.
    """
    n_steps = len(squared_norms)
    before = np.concatenate([[0.0], squared_norms.cumsum()])
    lags = np.arange(n_steps)
    heads = before[n_steps - lags]
    tails = before[-1] - before[lags]
    squares: Floats = np.maximum(heads + tails - 2 * products, 0.0) / (n_steps - lags)
    squares[0] = 0.0
    return squares
