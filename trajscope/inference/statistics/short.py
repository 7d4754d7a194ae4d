"""Exact tests for windows of few checkpoints: signs and orders of so few increments are counted."""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trajscope.inference.nulls.draws import n_batches, permutations, signs
from trajscope.inference.statistics.drift import draw_drift
from trajscope.inference.statistics.noise import squared_differences
from trajscope.kernels.gram import Floats

_MOST_COUNTED: Final = 13
"""Increments of which every combination of signs is looked at."""
_LEAST: Final = 1e-6
"""Of the median: a smaller squared difference counts as this."""


def least_p(n: int, n_draws: int) -> float:
    """The smallest p-value that `draw_one_way` can give for n increments."""
    return 2.0 ** (1 - n) if n <= _MOST_COUNTED else 1 / (n_draws + 1)


def draw_one_way(increments: Floats, n_draws: int, seed: int) -> Floats:
    """`drift.draw_drift`, of all combinations of signs where there are at most 2^13.

    Parameters
    ----------
    increments : (interval, component)
        Not centred.

    Returns
    -------
    (draw,)
        Data first.
    """
    n = len(increments)
    if n > _MOST_COUNTED:
        return draw_drift(increments, n_draws, seed)
    bits = np.arange(2**n)[:, np.newaxis] >> np.arange(n)
    coins = 1.0 - 2.0 * (bits & 1)
    total = float((increments**2).sum()) or 1.0
    return np.asarray(((coins @ increments) ** 2).sum(axis=1) / total)


def draw_neighbours(increments: Floats, n_draws: int, seed: int, *, flip: bool) -> Floats:
    """``rho = sum_t <y[t], y[t+1]> / sum_t |y[t]|^2`` of centred increments, (draw,), data first.

    Against random orders, or, where the variance has a trend, random signs, after which the mean is
    taken off again. About ``-1/n`` for independent increments.

    Parameters
    ----------
    increments : (interval, component)
    """
    n = len(increments)
    if flip:
        coins = np.concatenate([np.ones((1, n)), _drawn(signs, n, n_draws, seed)])
        drawn = increments * coins[:, :, np.newaxis]
        drawn = drawn - drawn.mean(axis=1, keepdims=True)
    else:
        orders = np.concatenate([np.arange(n)[np.newaxis], _drawn(permutations, n, n_draws, seed)])
        drawn = (increments - increments.mean(axis=0))[orders]
    beside = (drawn[:, 1:] * drawn[:, :-1]).sum(axis=(1, 2))
    return np.asarray(beside / np.maximum((drawn**2).sum(axis=(1, 2)), 1e-300))


def draw_noise_trend(increments: Floats, n_draws: int, seed: int) -> Floats:
    """Slope of the log variance over the window, (draw,), data first, against random orders.

    Of ``log v[t]``, ``v[t] = |y[t+1] - y[t]|^2 / 2``, regressed on time from 0 to 1.

    Parameters
    ----------
    increments : (interval, component)
    """
    n = len(increments)
    orders = np.concatenate([np.arange(n)[np.newaxis], _drawn(permutations, n, n_draws, seed)])
    values = squared_differences(np.swapaxes(increments[orders], 1, 2))
    least = _LEAST * np.median(values, axis=1, keepdims=True)
    logs = np.log(np.maximum(values, np.maximum(least, 1e-300)))
    time = np.linspace(-0.5, 0.5, n - 1)
    return np.asarray(logs @ time / (time @ time))


def two_sided(drawn: Floats) -> Floats:
    """Distances from the median of the draws, (draw,), data first."""
    return np.asarray(np.abs(drawn - np.median(drawn[1:])))


def _drawn(
    of: Callable[[int, int, int], NDArray[Any]], n: int, n_draws: int, seed: int
) -> NDArray[Any]:
    batches = [of(seed, batch, n) for batch in range(n_batches(n_draws))]
    return np.concatenate(batches)[:n_draws]
