"""The test against Brownian motion: whether increments are exchangeable in time."""

from typing import Final

import numpy as np

from trajscope.inference.statistics.permutations import IncrementDraws
from trajscope.kernels.gram import Floats

_SAME: Final = 1e-6
"""Relative difference between statistics that rounding makes."""


def p_value(statistic: Floats) -> float:
    """``(1 + #{draws >= data}) / (draws + 1)``; Phipson & Smyth 2010, doi:10.2202/1544-6115.1585.

    Parameters
    ----------
    statistic : (draw,)
        The data first; large values are evidence against the null.
    """
    tolerance = 1e-9 * abs(statistic[0])
    return float(np.mean(statistic >= statistic[0] - tolerance))


def standardised(statistics: Floats) -> Floats:
    """``(s - median) / (95% quantile - median)`` over data and draws, so that a maximum is fair.

    Parameters
    ----------
    statistics : (draw, ...)
    """
    median = np.median(statistics, axis=0)
    reach = np.quantile(statistics, 0.95, axis=0) - median
    distance = statistics - median
    # Draws are made in float32: what differs in its last digits only is the same.
    distance[np.abs(distance) <= _SAME * np.abs(median)] = 0
    return np.asarray(distance / np.where(reach > _SAME * np.abs(median), reach, 1))


def omnibus(draws: IncrementDraws) -> Floats:
    """Largest of five standardised departures from a flat spectrum, (draw,).

    Kolmogorov-Smirnov distance of the cumulative periodogram (Bartlett), its largest ordinate
    (Fisher's g), Ljung-Box over min(20, n/5) lags, the largest deviation of the variance ratio
    (Lo & MacKinlay), and the power of the lowest tenth of the frequencies.
    """
    ratio = draws.variance_ratio
    deviation = np.abs(ratio - ratio.mean(axis=0)) / np.maximum(ratio.std(axis=0), 1e-12)
    parts = (
        draws.kolmogorov,
        draws.fisher,
        draws.ljung_box,
        deviation.max(axis=-1),
        draws.low_power,
    )
    return np.asarray(standardised(np.stack(parts, axis=1)).max(axis=-1))


def confinement(draws: IncrementDraws) -> Floats:
    """Strength of mean reversion, (draw,).

    The larger of two departures, each standardised: how far the variance ratio at the longest
    time scale lies below its null, and `increments.mean_reversion`.
    """
    parts = np.stack([-draws.variance_ratio[:, -1], draws.mean_reversion], axis=1)
    return np.asarray(standardised(parts).max(axis=-1))


def persistence(draws: IncrementDraws) -> Floats:
    """How far the variance ratio at the longest time scale lies above its null, (draw,)."""
    return standardised(draws.variance_ratio[:, -1])


def relaxation(draws: IncrementDraws) -> Floats:
    """Largest standardised decay of the movement along the net displacement, (draw,)."""
    return np.asarray(standardised(draws.relaxation).max(axis=-1))


def asymmetry(draws: IncrementDraws) -> Floats:
    """The same for movement that comes early rather than late, (draw,)."""
    return np.asarray(standardised(draws.asymmetry).max(axis=-1))


def has_memory(draws: IncrementDraws, alpha: float) -> bool:
    """Whether successive increments are correlated, without a low variance ratio at long times.

    The regression of `increments.mean_reversion` is not valid then: its t grows with the
    long-run variance of the increments, to either side.
    """
    short, long = draws.variance_ratio[:, 0], draws.variance_ratio[:, -1]
    return p_value(short) <= alpha < p_value(-long) and draws.lowest_power[0] > 1
