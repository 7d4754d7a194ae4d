"""Power of single weights at every frequency, of their increments and of their positions."""

from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
import scipy.fft
import scipy.linalg
from numpy.typing import NDArray

from trajscope.kernels.compiled.prime import LARGEST_FACTOR, is_fast
from trajscope.kernels.compiled.transform import padded_width, transform
from trajscope.kernels.gram import Floats
from trajscope.kernels.spectra import (
    PIECE_BYTES,
    is_awkward,
    largest_factor,
    power_by_products,
)

Values = NDArray[np.floating]

_SMOOTH: Final = 11
"""Largest prime factor of a length for which the transform is fast."""


class Padding(NamedTuple):
    """How positions are padded, and what turns squares into their power.

    Attributes
    ----------
    n :
        Number of increments.
    length :
        N, steps with the zeros behind them.
    is_joint :
        Whether one transform of padded increments gives both curves; else each has its own.
    factor : (row,)
        Power over squares, at the last of the frequencies 0..N/2.
    variance : (row,)
        Weights with which squares add up to ``sum_t (x_t - m)^2``, by Parseval's theorem.
    """

    n: int
    length: int
    is_joint: bool
    factor: Floats
    variance: Floats


class Powers(NamedTuple):
    """Of the weights of a piece.

    Attributes
    ----------
    amplitude, power : (frequency, weight)
        ``|FFT(yc)|`` and its square, at j = 1..floor(n/2).
    mean_power : (weight,)
    varies : (weight,)
        Whether the increments are not all the same.
    squares : (row, weight, part)
        Behind the power of padded positions: squared real and imaginary parts, or their sum.
    variance : (weight,)
        ``sum_t (x_t - m)^2``.
    """

    amplitude: Values
    power: Values
    mean_power: Values
    varies: NDArray[np.bool_]
    squares: Values
    variance: Values


def powers_by(n: int, *, compiled: bool) -> "Compiled | Plain":
    """What gives the powers of pieces (step, weight) with `n` increments.

    Parameters
    ----------
    compiled :
        Whether transforms in single precision are compiled for this processor.
    """
    return Compiled(n) if compiled and n > 1 else Plain(n)


class Plain:
    """By SciPy, in the precision of the weights."""

    piece_bytes = PIECE_BYTES

    def __init__(self, n: int) -> None:
        self.padding = _padding_of(n, is_joint=n % 2 == 0 and largest_factor(n) <= _SMOOTH)
        # Padded arrays by their width: to make them anew for every piece cost a fifth of the whole.
        self._scratch: dict[int, Values] = {}

    def __call__(self, weights: Values) -> Powers:
        """Of the weights of a piece, (step, weight)."""
        n_steps, n_weights = weights.shape
        padding, n = self.padding, n_steps - 1
        if n_weights not in self._scratch:
            self._scratch[n_weights] = np.zeros((padding.length, n_weights), weights.dtype)
        padded = self._scratch[n_weights]
        mean = (weights[-1] - weights[0]) / n
        if padding.is_joint:
            centred = _centred_increments(weights, mean, padded[:n])
            transformed = scipy.fft.rfft(padded, axis=0)[1:]
            amplitude = np.abs(transformed[1::2])
            power = np.square(amplitude)
            parts = _of_positions(transformed, mean, centred)
        else:
            amplitude, power = _amplitudes(weights, mean)
            _centred_positions(weights, padded[:n_steps])
            parts = _parts(scipy.fft.rfft(padded, axis=0))
        squares = np.square(parts, out=parts)
        return _of_squares(padding, mean, (amplitude, power), squares.reshape(-1, n_weights, 2))


class Compiled:
    """By transforms for this processor, of weights in single precision."""

    piece_bytes = 1 << 21  # transforms take few columns at once; NumPy's share likes long rows

    def __init__(self, n: int) -> None:
        self.padding = _padding_of(n, is_joint=largest_factor(n) <= LARGEST_FACTOR)
        self._scratch: dict[int, dict[str, NDArray[np.float32]]] = {}

    def __call__(self, weights: Values) -> Powers:
        """Of the weights of a piece, (step, weight)."""
        n_steps, n_weights = weights.shape
        padding, n = self.padding, n_steps - 1
        width = padded_width(n_weights)
        if width not in self._scratch:
            rows = {
                "x": n_steps,
                "squares": padding.length // 2 + 1,
                "power": n // 2 + 1,
                "ends": 2,
            }
            self._scratch[width] = {
                name: np.zeros((count, width), np.float32) for name, count in rows.items()
            }
        own = self._scratch[width]
        x, power, ends, squares = own["x"], own["power"], own["ends"], own["squares"]
        mean = (weights[-1] - weights[0]) / np.float32(n)
        x[:, n_weights:] = 0  # of a narrower piece before
        if padding.is_joint:
            squares, power = squares[1:], power[1:]
            _centred_increments(weights, mean, x[:n, :n_weights])
            coefficients, distance = _coefficients(n, "f")
            ends[0, :n_weights] = mean
            ends[1] = distance @ x[:n]
            transform(padding.length, n, of_both=True).both(
                x[:n], squares, power, ends[:1], ends[1:], coefficients
            )
        else:
            if is_fast(n):
                _centred_increments(weights, mean, x[:n, :n_weights])
                transform(n, n).power(x[:n], power)
                power = power[1:]
            _centred_positions(weights, x[:, :n_weights])
            transform(padding.length, n_steps).power(x, squares)
        found: tuple[Values, Values]
        if padding.is_joint or is_fast(n):
            found = np.sqrt(power[:, :n_weights]), power[:, :n_weights]
        else:
            found = _amplitudes(weights, mean)
        return _of_squares(padding, mean, found, squares[:, :n_weights, np.newaxis])


def _of_squares(
    padding: Padding, mean: Values, of_increments: tuple[Values, Values], squares: Values
) -> Powers:
    """With what is summed over frequencies."""
    amplitude, power = of_increments
    n_weights = len(mean)
    variance = padding.variance.astype(squares.dtype) @ squares.reshape(len(squares), -1)
    # A constant increment leaves only the rounding of its mean, about eps in every term. Sums over
    # frequencies are products with ones, which take a fifth of the time of a sum.
    rounding = 4 * float(np.finfo(mean.dtype).eps) * np.abs(mean)
    mean_power = np.full(len(power), 1 / max(len(power), 1), power.dtype) @ power
    return Powers(
        amplitude, power, mean_power, mean_power > padding.n * np.square(rounding),
        squares, variance.reshape(n_weights, -1).sum(axis=1),
    )  # fmt: skip


def _centred_increments(weights: Values, mean: Values, out: Values | None = None) -> Values:
    """Increments less their mean."""
    centred = np.subtract(weights[1:], weights[:-1], out=out)
    centred -= mean
    return centred


def _centred_positions(weights: Values, out: Values) -> None:
    """Positions less their mean."""
    n_steps = len(weights)
    np.subtract(weights, weights[0], out=out)
    out -= np.full(n_steps, 1 / n_steps, weights.dtype) @ out


@lru_cache(maxsize=8)
def _padding_of(n: int, *, is_joint: bool) -> Padding:
    """Of the positions of a path of `n` increments."""
    if is_joint:
        k = np.arange(1, n + 1)
        factor = 1 / (4 * np.sin(np.pi * k / (2 * n)) ** 2)
        length = 2 * n
    else:
        length = int(2 * scipy.fft.next_fast_len(n + 1, real=True))
        k = np.arange(length // 2 + 1)
        factor = np.ones(len(k))
    mirrored = np.where((k == 0) | (k == length // 2), 1, 2)
    return Padding(n, length, is_joint, factor, factor * mirrored / length)


def _amplitudes(weights: Values, mean: Values) -> tuple[Values, Values]:
    """``|FFT(yc)|`` and its square at j = 1..floor(n/2), (frequency, weight)."""
    centred = _centred_increments(weights, mean)
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
