"""Statistics of increments that a change of their order changes: what the permutation null draws.

Notation: y[t] are the increments of T checkpoints, n = T - 1 of them, centred in time;
``c[h] = sum_t <y[t], y[t+h]>`` and ``rho[h] = c[h]/c[0]``, pooled over weights.
"""

from functools import lru_cache
from typing import Final

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from trajscope.kernels.gram import Floats

RELAXATION_TIMES: Final = (1 / 3, 1 / 6, 1 / 12, 1 / 24)
"""Of the decays that are looked for, as shares of the window."""
_SUMMED: Final = 64
"""Components whose squares are summed in their own precision."""


def scales(n: int) -> NDArray[np.int64]:
    """Aggregation lengths q of the variance ratio, in intervals: 2, 4, 8, ... and n/4."""
    longest = max(2, n // 4)
    powers = 2 ** np.arange(1, int(np.log2(longest)) + 1)
    return np.union1d(powers, [longest])


def n_frequencies(n: int) -> int:
    """Fourier frequencies of n intervals, without zero and Nyquist."""
    return (n - 1) // 2


def pooled_autocovariance(increments: NDArray[np.float32]) -> Floats:
    """``c[h]``, h = 0..n-1, summed over components.

    Parameters
    ----------
    increments : (draw, component, interval)

    Returns
    -------
    (draw, lag)
    """
    return autocovariance_of(pooled_power(increments), increments.shape[-1])


def pooled_power(increments: NDArray[np.float32]) -> Floats:
    """Squared Fourier coefficients of increments with as many zeros after them, (draw, frequency).

    Summed over components.

    Parameters
    ----------
    increments : (draw, component, interval)
    """
    length = scipy.fft.next_fast_len(2 * increments.shape[-1] - 1, real=True)
    spectrum = scipy.fft.rfft(increments, length, axis=-1)
    parts = spectrum.view(increments.dtype)  # real and imaginary in turn
    squares = np.zeros((len(parts), parts.shape[-1]))
    for first in range(0, parts.shape[1], _SUMMED):
        some = parts[:, first : first + _SUMMED]
        squares += np.einsum("dck,dck->dk", some, some)
    return np.asarray(squares[:, ::2] + squares[:, 1::2])


def autocovariance_of(power: Floats, n: int) -> Floats:
    """``c[h]`` of n intervals, (draw, lag), from their `pooled_power`."""
    length = scipy.fft.next_fast_len(2 * n - 1, real=True)
    return np.asarray(scipy.fft.irfft(power, length, axis=-1)[:, :n])


def relative_periodogram(products: Floats) -> Floats:
    """``P[j] = I[j] / mean(I)`` at the Fourier frequencies j/n, j = 1 .. (n-1)/2.

    ``I[j] = (1/n) sum over weights of |sum_t y[t] exp(-2 pi i j t/n)|^2``

    Parameters
    ----------
    products : (draw, lag)

    Returns
    -------
    (draw, frequency)
    """
    n = products.shape[-1]
    circular = products.copy()
    circular[:, 1:] += products[:, :0:-1]
    power = scipy.fft.rfft(circular, axis=-1).real[:, 1 : n_frequencies(n) + 1]
    mean = power.mean(axis=-1, keepdims=True)
    return np.asarray(power / np.where(mean > 0, mean, 1))


def variance_ratio(products: Floats) -> Floats:
    """``VR(q) = 1 + 2 sum_{h<q} (1 - h/q) rho[h]`` at `scales`; Lo & MacKinlay 1988.

    The variance of a displacement over q intervals, over q times that of one interval:
    1 for uncorrelated increments (less by about q/n, since they are centred), below 1 for
    mean-reverting paths. doi:10.1093/rfs/1.1.41

    Parameters
    ----------
    products : (draw, lag)

    Returns
    -------
    (draw, scale)
    """
    # Of increments that are all equal, nothing is left once they are centred.
    squares = np.maximum(products[:, :1], 1e-300)
    return np.asarray(products @ _bartlett_weights(products.shape[-1]) / squares)


@lru_cache(maxsize=8)
def _bartlett_weights(n: int) -> Floats:
    """``2 (1 - h/q)`` for lags h below every scale q, 1 at lag 0; (lag, scale)."""
    lags = np.arange(n)
    weights = np.stack([2 * np.maximum(1 - lags / q, 0) for q in scales(n)], axis=1)
    weights[0] = 1
    return np.asarray(weights)


def mean_reversion(products: Floats, progress: Floats, net: float) -> Floats:
    """Strength of mean reversion: a Dickey-Fuller t with reversed sign.

    Of the regression ``y[t] + m = -a (x[t] - mean x) + e[t]`` of increments, with their mean m,
    on where they begin, ``x[t] = sum_{s<t} (y[s] + m)``: ``U / sqrt(V c[0]/n)``,
    ``U = -sum_t <y[t] + m, x[t] - mean x>``, ``V = sum_t |x[t] - mean x|^2``, one rate a for all
    weights. Large for a mean-reverting path, and for one with an initial transient. Without its
    drift the path is a bridge b, periodic, so with p[t] the part of y[t] along the net
    displacement of length N = n |m|

    ``U = c[0]/2 + N/n sum_s (n-1-s) p[s]``
    ``V = -sum_h h (n-h)/n c[h] + N/n sum_s (s+1) (n-1-s) p[s] + N^2 (n^2-1)/(12 n)``

    Dickey & Fuller 1979, doi:10.2307/2286348; one rate for a panel: Levin, Lin & Chu 2002,
    doi:10.1016/S0304-4076(01)00098-7. Its null here is that of the permutations.

    Parameters
    ----------
    products : (draw, lag)
    progress : (draw, interval)
        p.
    net :
        N.

    Returns
    -------
    (draw,)
    """
    n = products.shape[-1]
    s = np.arange(n)
    back = products[:, 0] / 2 + net / n * (progress @ (n - 1.0 - s))
    bridge = products @ (-s * (n - s) / n) + net / n * (progress @ ((s + 1) * (n - 1.0 - s)))
    spread = bridge + net**2 * (n**2 - 1) / (12 * n)
    scale = np.maximum(spread, 0) * products[:, 0] / n
    return np.asarray(back / np.sqrt(np.maximum(scale, 1e-300)))


@lru_cache(maxsize=8)
def decays(n: int) -> Floats:
    """Decaying exponentials of `RELAXATION_TIMES`, centred and of unit norm; (interval, decay)."""
    times = (np.arange(n) + 0.5)[:, np.newaxis] / (n * np.array(RELAXATION_TIMES))
    decays = np.exp(-times)
    decays -= decays.mean(axis=0)
    return np.asarray(decays / np.linalg.norm(decays, axis=0))


@lru_cache(maxsize=8)
def asymmetries(n: int) -> Floats:
    """`decays` less the same backwards, of unit norm; (interval, decay).

    Movement along the net displacement comes early in a stationary path too, which leaves its
    first place, and late as much, when it comes to its last: only a relaxation tells them apart.
    """
    difference = decays(n) - decays(n)[::-1]
    return np.asarray(difference / np.linalg.norm(difference, axis=0))
