"""Whether the noise keeps its scale: statistics of what is new in every increment."""

from typing import Final

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from trajscope.inference.statistics.increments import pooled_autocovariance
from trajscope.kernels.gram import Floats

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
    return np.asarray((np.diff(increments, axis=-1) ** 2).sum(axis=1, dtype=np.float64) / 2)


def noise_scale_statistic(values: Floats) -> Floats:
    """Largest CUSUM of squared second differences over its long-run standard deviation.

    ``max_k |sum_{t<k} (v[t] - mean v)| / sqrt(m L)``, m values. The long-run variance L is that
    of the means of about twelve batches, about the means before and after the best k, so that a
    step does not hide itself; slow fluctuations of a cycle's amplitude do not look like one.

    Parameters
    ----------
    values : (draw, turn)
        `squared_differences`.

    Returns
    -------
    (draw,)
    """
    m = values.shape[-1]
    cusum, change = cumulative_excess(values)
    before = np.arange(m) < change[:, np.newaxis]
    residual = values - np.where(before, *_side_means(values, before))
    size = max(3, m // 12)
    batches = residual[:, : m // size * size].reshape(len(values), -1, size).sum(axis=-1)
    variance = (batches**2).mean(axis=-1) / size
    floor = 1e-9 * np.maximum((values**2).mean(axis=-1), 1e-300)
    return np.asarray(np.abs(cusum).max(axis=-1) / np.sqrt(m * np.maximum(variance, floor)))


def cumulative_excess(values: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """``sum_{t<k} (v[t] - mean v)``, k = 1..m-1, and the k of its largest size, per draw."""
    cusum = (values - values.mean(axis=-1, keepdims=True)).cumsum(axis=-1)[:, :-1]
    return cusum, np.abs(cusum).argmax(axis=-1) + 1


def _side_means(values: Floats, before: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    n_before = before.sum(axis=-1, keepdims=True)
    head = (values * before).sum(axis=-1, keepdims=True)
    total = values.sum(axis=-1, keepdims=True)
    return head / n_before, (total - head) / (values.shape[-1] - n_before)
