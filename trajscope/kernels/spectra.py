"""Fourier amplitudes of increments: pooled over weights, and per weight as mean and spread."""

from collections.abc import Iterator
from typing import Final

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from trajscope.kernels.gram import Floats, lagged_products

# Columns are transformed in pieces whose scratch stays in the second-level cache: scipy's transform
# takes several neighbouring columns at once, and 128 kB to 2 MB measured alike.
_PIECE_BYTES: Final = 1 << 19


def column_pieces(values: NDArray[np.floating]) -> Iterator[slice]:
    """Slices of the weight axis small enough to be worked on in cache.

    Parameters
    ----------
    values : (step, weight)
    """
    n_steps, n_weights = values.shape
    width = max(16, _PIECE_BYTES // (n_steps * values.itemsize))
    for start in range(0, n_weights, width):
        yield slice(start, start + width)


def periodogram_from_gram(gram: Floats) -> Floats:
    """Periodogram of the increments, summed over weights, from their inner products.

    ``I[j] = (1/n) sum_i |FFT(yc_i)[j]|^2``, j = 1..floor(n/2), yc = increments minus their mean.

    With c[h] the lagged products of the centred Gram matrix this is the transform of
    ``c[h] + c[n-h]``.

    Parameters
    ----------
    gram : (interval, interval)
        Need not be centred.

    Returns
    -------
    (frequency,)
        Squared weight units.
    """
    n = len(gram)
    row_mean = gram.mean(axis=0)
    products = lagged_products(gram - row_mean - row_mean[:, np.newaxis] + row_mean.mean())
    folded = products.copy()
    folded[1:] += products[:0:-1]
    return np.maximum(scipy.fft.rfft(folded).real[1 : n // 2 + 1] / n, 0.0)


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
    Each weight is scaled by its own largest increment before it is squared, so no magnitude
    overflows or vanishes, whatever the dtype.
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
    # A constant increment leaves only the rounding of its mean, about eps per term.
    smallest_share = (4 * np.finfo(increments.dtype).eps) ** 2
    for columns in column_pieces(increments):
        scaled, scale = scaled_by_largest(increments[:, columns])
        total = np.einsum("tw,tw->w", scaled, scaled)
        scaled -= scaled.mean(axis=0)
        power = squared_modulus(scipy.fft.rfft(scaled, axis=0)[1 : n_frequencies + 1])
        mean_power = power.mean(axis=0)
        sums["power"] += power @ (scale.astype(np.float64) ** 2 / n)
        varies = mean_power > smallest_share * total
        with np.errstate(divide="ignore", invalid="ignore"):
            power *= np.where(varies, 1 / mean_power, 0)
        sums["amplitude_square"] += power.sum(axis=1)
        sums["amplitude"] += np.sqrt(power, out=power).sum(axis=1)
        sums["n_amplitudes"] += varies.sum()
    return sums


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


def squared_modulus(values: NDArray[np.complexfloating]) -> NDArray[np.floating]:
    """``|z|^2`` without the square root that `numpy.abs` would take, same shape, real."""
    squares: NDArray[np.floating] = np.square(values.real)
    squares += np.square(values.imag)
    return squares
