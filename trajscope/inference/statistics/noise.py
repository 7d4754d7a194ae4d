"""Whether the noise keeps its scale: statistics of what is new in every increment."""

from functools import lru_cache
from typing import Final

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from trajscope.inference.statistics.increments import pooled_autocovariance
from trajscope.kernels.gram import Floats

_LONG_RUN: Final = np.arange(5, 17)
"""Cosines whose coefficients tell the long-run scale."""
_FEWEST: Final = 8
"""Turns on either side of a change."""
_LEAST: Final = 1e-6
"""Of the median: a smaller squared difference counts as this."""
_MEMORY: Final = 3
"""Order of the autoregression that is removed before the test of the noise variance."""


def innovations(increments: NDArray[np.float32]) -> NDArray[np.float32]:
    """What one autoregression of order three, the same for all components, leaves of increments.

    Of white increments nearly all; of those of a path that rings as heavy-ball momentum makes it,
    whose squares are alike for long, what is exchangeable in time (Yule-Walker). Order two, that
    of the path, is not enough for its increments.

    Parameters
    ----------
    increments : (component, interval)
        Centred.

    Returns
    -------
    (component, interval - 3)
    """
    products = pooled_autocovariance(increments[np.newaxis])[0, : _MEMORY + 1]
    if products[0] <= 0:
        return increments[:, _MEMORY:]
    # Pooled products of a finite series are positive definite: the equations have a solution.
    coefficients = scipy.linalg.solve_toeplitz(products[:-1], products[1:]).astype(np.float32)
    n = increments.shape[1]
    predicted = sum(
        coefficient * increments[:, _MEMORY - lag : n - lag]
        for lag, coefficient in enumerate(coefficients, start=1)
    )
    return np.asarray(increments[:, _MEMORY:] - predicted)


def squared_differences(increments: NDArray[np.floating]) -> Floats:
    """``v[t] = |y[t+1] - y[t]|^2 / 2``: the noise of two intervals, free of any slow drift.

    Parameters
    ----------
    increments : (draw, component, interval)

    Returns
    -------
    (draw, turn)
    """
    turns = increments[..., 1:] - increments[..., :-1]
    return np.asarray(np.einsum("dct,dct->dt", turns, turns), np.float64) / 2


def noise_scale_statistic(values: Floats) -> Floats:
    """Largest standardised CUSUM of log squared differences, over their long-run scale.

    ``max_k |sum_{t<k} l[t]| / sqrt(k (m-k) / m)`` over ``sqrt(2 mean_j a[j]^2)``: m centred
    logarithms l, ``a[j] = m^(-1/2) sum_t l[t] cos(pi j (t + 1/2) / m)`` for j = 5 ... 16, and k at
    least max(8, m/25) from both ends, or m/4 where that is less. Logarithms, so that a fall by
    decades is seen from its beginning on; slow cosines, so that clustered volatility counts as
    noise of l, not as a change.

    Parameters
    ----------
    values : (draw, turn)
        `squared_differences`.

    Returns
    -------
    (draw,)
    """
    logs = _logarithms(values)
    m = logs.shape[-1]
    scale = 2 * ((logs @ _cosines(m)) ** 2).mean(axis=-1)
    largest = np.abs(_weighted_sums(logs)[0]).max(axis=-1)
    return np.asarray(largest / np.sqrt(np.maximum(scale, 1e-12)))


@lru_cache(maxsize=8)
def _cosines(m: int) -> Floats:
    """Those that tell the long-run scale of m turns, (turn, cosine)."""
    turns = (np.arange(m) + 0.5)[:, np.newaxis]
    return np.asarray(np.cos(np.pi * turns * _LONG_RUN / m) / m**0.5)


def change_place(values: Floats) -> int:
    """Turns before the change of one series, (turn,), that `noise_scale_statistic` looks at."""
    sums, first = _weighted_sums(_logarithms(values[np.newaxis]))
    return first + int(np.abs(sums[0]).argmax())


def _logarithms(values: Floats) -> Floats:
    """Centred, (draw, turn); what is a million times below the median counts as that."""
    floor = _LEAST * np.median(values, axis=-1, keepdims=True)
    logs = np.log(np.maximum(values, np.maximum(floor, 1e-300)))
    return np.asarray(logs - logs.mean(axis=-1, keepdims=True))


def _weighted_sums(logs: Floats) -> tuple[Floats, int]:
    """Sums of the first k over their standard deviation, (draw, k), and the smallest k."""
    m = logs.shape[-1]
    edge = max(1, min(_FEWEST, m // 4), m // 25)
    k = np.arange(edge, m - edge + 1)
    sums = logs.cumsum(axis=-1)[:, k - 1]
    return np.asarray(sums / np.sqrt(k * (m - k) / m)), edge
