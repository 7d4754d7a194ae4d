"""Fourier amplitudes of increments: pooled over weights, and per weight as mean and spread."""

from collections.abc import Iterator
from typing import Final

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from trajscope.kernels.gram import SAFE_SQUARES, Floats

# Columns are transformed in pieces that stay in the second-level cache. scipy transforms several
# neighbouring columns at once, and is slower below some thirty of them.
_PIECE_BYTES: Final = 1 << 19
_FEWEST_COLUMNS: Final = 32


def column_pieces(values: NDArray[np.floating]) -> Iterator[slice]:
    """Slices of the weight axis small enough to be worked on in cache.

    Parameters
    ----------
    values : (step, weight)
    """
    n_steps, n_weights = values.shape
    width = max(_FEWEST_COLUMNS, _PIECE_BYTES // (n_steps * values.itemsize) // 16 * 16)
    for start in range(0, n_weights, width):
        yield slice(start, start + width)


def spectral_moments(increments: NDArray[np.floating]) -> dict[str, Floats]:
    """Sums over weights of the Fourier amplitudes of the increments and of their squares.

    ``a_i[j] = |FFT(yc_i)[j]| / sqrt(mean_k |FFT(yc_i)[k]|^2)``, j, k = 1..floor(n/2)

    Parameters
    ----------
    increments : (interval, weight)

    Returns
    -------
    dict
        ``amplitude`` (frequency,): sum over weights of a_i; ``amplitude_square`` (frequency,): sum
        of a_i^2; ``power`` (frequency,): sum of ``|FFT(yc_i)|^2 / n``, not normalised, squared
        weight units; ``n_amplitudes`` (): how many weights entered the normalised sums. A weight
        whose increments do not vary in time has no shape to average and is left out of those.

    Notes
    -----
    Where squares would leave the range of the dtype, each weight is first scaled by its own
    largest increment, so no magnitude overflows or vanishes.
    """
    n = len(increments)
    n_frequencies = n // 2
    sums = {
        "amplitude": np.zeros(n_frequencies),
        "amplitude_square": np.zeros(n_frequencies),
        "power": np.zeros(n_frequencies),
        "n_amplitudes": np.zeros(()),
    }
    if n_frequencies == 0:
        return sums
    for columns in column_pieces(increments):
        piece = increments[:, columns]
        amplitude, power, varies = _amplitudes(piece)
        mean_power = power.mean(axis=0)
        scale = np.ones_like(mean_power)
        if not squares_are_safe(mean_power):
            piece, scale = scaled_by_largest(piece)
            amplitude, power, varies = _amplitudes(piece)
            mean_power = power.mean(axis=0)
        inverse = np.where(varies, 1 / np.where(varies, mean_power, 1), 0).astype(power.dtype)
        squared_scale = np.square(scale.astype(np.float64)) / n
        largest = squared_scale.max()
        weighted = np.stack([squared_scale / (largest or 1), inverse], axis=1).astype(power.dtype)
        pooled, normalised = (power @ weighted).T
        sums["power"] += pooled * np.float64(largest)
        sums["amplitude_square"] += normalised
        sums["amplitude"] += amplitude @ np.sqrt(inverse)
        sums["n_amplitudes"] += varies.sum()
    return sums


def pooled_power(increments: NDArray[np.floating]) -> dict[str, Floats]:
    """The ``power`` of `spectral_moments` alone, in float64.

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


def _amplitudes(
    increments: NDArray[np.floating],
) -> tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.bool_]]:
    """``|FFT|`` and ``|FFT|^2`` (frequency, weight), and which weights' increments vary in time."""
    n = len(increments)
    centred = increments.copy()  # into the cache: the block is too wide for it
    mean = centred.mean(axis=0)
    centred -= mean
    transformed = scipy.fft.rfft(centred, axis=0, overwrite_x=True)
    amplitude = np.abs(transformed[1 : n // 2 + 1])
    power = np.square(amplitude)
    # A constant increment leaves only the rounding of its mean, about eps in every term.
    rounding = 4 * float(np.finfo(increments.dtype).eps) * np.abs(mean)
    return amplitude, power, power.mean(axis=0) > n * np.square(rounding)


def squares_are_safe(squares: NDArray[np.floating]) -> bool:
    """Whether sums of squares neither vanish nor overflow in their dtype; NaN is not safe."""
    return bool(((squares > SAFE_SQUARES[0]) & (squares < SAFE_SQUARES[1])).all())


def scaled_by_largest(
    values: NDArray[np.floating],
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """A copy with every weight divided by its largest magnitude, and those magnitudes.

    Parameters
    ----------
    values : (step, weight)

    Returns
    -------
    (step, weight), (weight,)
        A weight that is zero throughout stays zero, with magnitude 0.
    """
    largest = np.maximum(values.max(axis=0), -values.min(axis=0))
    return values / np.where(largest == 0, 1, largest), largest
