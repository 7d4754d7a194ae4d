"""Curves of single weights, summed over them: Fourier amplitudes and mean autocorrelation."""

from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
import scipy.fft
import scipy.linalg
from numpy.typing import NDArray

from trajscope.kernels.gram import SAFE_SQUARES, Floats
from trajscope.kernels.spectra import (
    column_pieces,
    is_awkward,
    largest_factor,
    power_by_products,
    scaled_by_displacement,
    squares_are_safe,
)
from trajscope.kernels.spread import Spread

Values = NDArray[np.floating]
Scratch = dict[int, Values]
"""Padded arrays by their width: to make them anew for every piece cost a fifth of the whole."""

_SMOOTH: Final = 11
"""Largest prime factor of a length for which the transform is fast."""


def curve_moments(weights: Values, chosen: NDArray[np.bool_] | None = None) -> dict[str, Floats]:
    """Sums over weights of amplitudes of increments, of their squares, and of autocorrelations.

    ``a_i[j] = |FFT(yc_i)[j]| / sqrt(mean_k |FFT(yc_i)[k]|^2)``, j, k = 1..floor(n/2)
    ``r_i(h) = sum_{t<T-h} (x_t - m)(x_{t+h} - m) / sum_t (x_t - m)^2``, h = 0..T-1 (biased)

    Parameters
    ----------
    weights : (step, weight)
    chosen : (weight,)
        Of which the spread of r_i is summed too; by default of all.

    Returns
    -------
    dict
        ``amplitude`` (frequency,): sum over weights of a_i; ``amplitude_square`` (frequency,): sum
        of a_i^2; ``power`` (frequency,): sum of ``|FFT(yc_i)|^2 / n``, not normalised, squared
        weight units; ``n_amplitudes`` (): how many weights entered the normalised sums. A weight
        whose increments do not vary in time has no shape to average and is left out of those.
        ``autocorrelation`` (lag,): sum of r_i over the weights that move; ``n_autocorrelations``
        (): how many those are. The sums of `deficit_moments`, of the chosen weights that move;
        ``n_deficits`` (): how many those are.

    Notes
    -----
    The sum of r_i is the transform of the sum of the powers of padded positions, each divided by
    its variance, so that only chosen weights have a transform back. Where squares would leave the
    range of the dtype, each weight is first scaled by its own largest displacement.

    Examples
    --------
    >>> sums = curve_moments(np.array([[0.0], [1.0], [0.0], [1.0]]))
    >>> sums["autocorrelation"].round(2).tolist()
    [1.0, -0.75, 0.5, -0.25]
    """
    n_steps = len(weights)
    n = n_steps - 1
    padding = _padding(n)
    sums = {
        "amplitude": np.zeros(n // 2),
        "amplitude_square": np.zeros(n // 2),
        "power": np.zeros(n // 2),
        "n_amplitudes": np.zeros(()),
        "n_autocorrelations": np.zeros(()),
    }
    pooled = np.zeros(len(padding.factor))
    spread = Spread(padding.length, padding.factor, n_steps)
    scratch: Scratch = {}
    for columns in column_pieces(weights, padding.length):
        piece = weights[:, columns]
        found = _powers(piece, padding, scratch)
        scale: Values = np.ones(piece.shape[1])
        if not _is_safe(found, piece):
            piece, scale = scaled_by_displacement(piece)
            found = _powers(piece, padding, scratch)
        if n > 1:
            _add_amplitudes(sums, found, np.square(scale.astype(np.float64)) / n)
        moves = found.variance > 0
        inverse = _inverse(found.variance, moves)
        pooled += found.squares @ np.repeat(inverse, 2)
        sums["n_autocorrelations"] += moves.sum()
        spread.add(found.squares, inverse, moves if chosen is None else moves & chosen[columns])
    power = np.zeros(padding.length // 2 + 1)
    power[-len(pooled) :] = pooled * padding.factor
    sums["autocorrelation"] = scipy.fft.irfft(power, padding.length)[:n_steps]
    if padding.length == 2 * n:
        sums["autocorrelation"][-1] /= 2  # lag n and lag -n fall on one another
    return sums | spread.sums()


class _Padding(NamedTuple):
    """How positions are padded, and what turns squares into their power.

    Attributes
    ----------
    length :
        N, steps with the zeros behind them.
    is_joint :
        Whether one transform of padded increments gives both curves; else each has its own.
    factor : (row,)
        Power over squares, at the last of the frequencies 0..N/2.
    variance : (row,)
        Weights with which squares add up to ``sum_t (x_t - m)^2``, by Parseval's theorem.
    """

    length: int
    is_joint: bool
    factor: Floats
    variance: Floats


class _Powers(NamedTuple):
    """Of the weights of a piece.

    Attributes
    ----------
    amplitude, power : (frequency, weight)
        ``|FFT(yc)|`` and its square.
    mean_power : (weight,)
    varies : (weight,)
        Whether the increments are not all the same.
    squares : (row, 2 weight)
        Squared real and imaginary parts behind the power of padded positions.
    variance : (weight,)
        ``sum_t (x_t - m)^2``.
    """

    amplitude: Values
    power: Values
    mean_power: Values
    varies: NDArray[np.bool_]
    squares: Values
    variance: Values


def _is_safe(found: _Powers, weights: Values) -> bool:
    """Whether no square left the range of the dtype."""
    if not squares_are_safe(found.variance, weights):
        return False
    power = found.mean_power
    unsafe = ~((power > SAFE_SQUARES[0]) & (power < SAFE_SQUARES[1]))
    if not len(found.power) or not unsafe.any():
        return True
    return squares_are_safe(power[unsafe], np.diff(weights[:, unsafe], axis=0))


def _add_amplitudes(sums: dict[str, Floats], found: _Powers, unit: Floats) -> None:
    """Add what is summed of the increments of one piece, whose power is in multiples of `unit`."""
    dtype = found.power.dtype
    inverse = _inverse(found.mean_power, found.varies)
    largest = unit.max() or 1.0
    weighted = np.stack([unit / largest, inverse], axis=1).astype(dtype)
    pooled, normalised = (found.power @ weighted).T
    sums["power"] += pooled * largest
    sums["amplitude_square"] += normalised
    sums["amplitude"] += found.amplitude @ np.sqrt(inverse)
    sums["n_amplitudes"] += found.varies.sum()


def _inverse(values: Values, chosen: NDArray[np.bool_]) -> Values:
    """One over the chosen values, and zero for the others."""
    inverse: Values = np.divide(1, values, out=np.zeros_like(values), where=chosen)
    return inverse


@lru_cache(maxsize=8)
def _padding(n: int) -> _Padding:
    """Of `n` increments."""
    if n % 2 == 0 and largest_factor(n) <= _SMOOTH:
        k = np.arange(1, n + 1)
        factor = 1 / (4 * np.sin(np.pi * k / (2 * n)) ** 2)
        length, is_joint = 2 * n, True
    else:
        length, is_joint = int(2 * scipy.fft.next_fast_len(n + 1, real=True)), False
        k = np.arange(length // 2 + 1)
        factor = np.ones(len(k))
    mirrored = np.where((k == 0) | (k == length // 2), 1, 2)
    return _Padding(length, is_joint, factor, factor * mirrored / length)


def _powers(weights: Values, padding: _Padding, scratch: Scratch) -> _Powers:
    """Of both curves, from one transform or from two."""
    n_steps, n_weights = weights.shape
    n = n_steps - 1
    if n_weights not in scratch:
        scratch[n_weights] = np.zeros((padding.length, n_weights), weights.dtype)
    padded = scratch[n_weights]
    mean = (weights[-1] - weights[0]) / n
    if padding.is_joint:
        centred = np.subtract(weights[1:], weights[:-1], out=padded[:n])
        centred -= mean
        transformed = scipy.fft.rfft(padded, axis=0)[1:]
        amplitude = np.abs(transformed[1::2])
        power = np.square(amplitude)
        parts = _of_positions(transformed, mean, centred)
    else:
        amplitude, power = _amplitudes(weights, mean)
        positions = np.subtract(weights, weights[0], out=padded[:n_steps])
        positions -= np.full(n_steps, 1 / n_steps, weights.dtype) @ positions
        parts = _parts(scipy.fft.rfft(padded, axis=0))
    squares = np.square(parts, out=parts)
    variance = padding.variance.astype(squares.dtype) @ squares
    # A constant increment leaves only the rounding of its mean, about eps in every term. Sums over
    # frequencies are products with ones, which take a fifth of the time of a sum.
    rounding = 4 * float(np.finfo(weights.dtype).eps) * np.abs(mean)
    mean_power = np.full(len(power), 1 / max(len(power), 1), power.dtype) @ power
    return _Powers(
        amplitude, power, mean_power, mean_power > n * np.square(rounding),
        squares, variance.reshape(-1, 2).sum(axis=1),
    )  # fmt: skip


def _amplitudes(weights: Values, mean: Values) -> tuple[Values, Values]:
    """``|FFT(yc)|`` and its square at j = 1..floor(n/2), (frequency, weight)."""
    centred = np.diff(weights, axis=0)
    centred -= mean
    n = len(centred)
    if is_awkward(n):
        power = power_by_products(centred)
        return np.sqrt(power), power
    transformed = scipy.fft.rfft(centred, axis=0, overwrite_x=True)
    amplitude = np.abs(transformed[1 : n // 2 + 1])
    return amplitude, np.square(amplitude)


def _parts(transformed: NDArray[np.complexfloating]) -> Values:
    """Real and imaginary parts side by side, (frequency, 2 weight); shares memory."""
    parts: Values = transformed.view(transformed.real.dtype)
    return parts


def _of_positions(
    transformed: NDArray[np.complexfloating], mean: Values, centred: Values
) -> Values:
    """Parts of the transform of the differences of positions, written over that of increments."""
    n = len(centred)
    coefficients, distance = _coefficients(n, centred.dtype.char)
    pairs = np.zeros((4, len(mean), 2), mean.dtype)
    pairs[0, :, 0] = pairs[2, :, 1] = mean
    pairs[1, :, 0] = pairs[3, :, 1] = distance @ centred
    parts = _parts(transformed)
    product = scipy.linalg.get_blas_funcs("gemm", [parts])
    # A row-major matrix is the transpose of a column-major one, which BLAS adds to in place.
    product(1.0, pairs.reshape(4, -1).T, coefficients.T, beta=1.0, c=parts.T, overwrite_c=True)
    return parts


@lru_cache(maxsize=4)
def _coefficients(n: int, dtype: str) -> tuple[Values, Values]:
    """What turns the transform of padded increments into that of the differences of positions.

    With N = 2n, w = 2 pi k / N, s = (x_n - x_0) / n, D the transform of increments less s, and m
    the mean of the path that these make::

        (e^{iw} - 1) X_k = D_k + s A_k - m B_k
        A_k = (1 - e^{-iwn}) / (1 - e^{-iw}) - (n/2) (e^{iw} + e^{-iwn})
        B_k = e^{iw} - e^{-iwn}

    X is the transform of centred positions with zeros behind them; N holds every lag but n, which
    falls on -n.

    Returns
    -------
    (frequency, 4), (interval,)
        Real parts of A and -B, then imaginary parts, k = 1..n; and what gives m of the increments,
        which add up to zero.
    """
    w = np.pi * np.arange(1, n + 1) / n
    turn, end = np.exp(1j * w), np.exp(-1j * w * n)
    a = (1 - end) / (1 - 1 / turn) - n / 2 * (turn + end)
    b = turn - end
    coefficients = np.stack([a.real, -b.real, a.imag, -b.imag], axis=1)
    distance = ((n - 1) / 2 - np.arange(n)) / (n + 1)
    return coefficients.astype(dtype), distance.astype(dtype)
