"""Detection limits of a window: the slowest detectable relaxation and rotation."""

from typing import Final

import numpy as np

from trajscope.inference.statistics.increments import scales
from trajscope.kernels.gram import Floats

_POWER_80: Final = 0.84
"""Standard deviations between an alternative and the critical value for a power of 80%."""
_SHORTEST: Final = 0.5


def slowest_relaxation(ratios: Floats, n: int, alpha: float) -> float | None:
    """Correlation time of the slowest Ornstein-Uhlenbeck process that can be detected.

    With a power of 80%, by the variance ratio at the longest time scale: where its mean for this
    process, plus 0.84 of its standard deviation, reaches the critical value of the permutations.

    Parameters
    ----------
    ratios : (draw,)
        Variance ratios over the longest scale under the null.
    n :
        Intervals.

    Returns
    -------
    float or None
        In checkpoints; `None` where not even the fastest is detectable.
    """
    mean, spread = float(ratios.mean()), float(ratios.std())
    if mean <= 0:
        return None
    critical = float(np.quantile(ratios, alpha / 2))
    relative = _POWER_80 * spread / mean

    def excess(tau: float) -> float:
        return mean_variance_ratio(n, tau) * (1 + relative) - critical

    longest = 10.0 * n
    if excess(_SHORTEST) > 0:
        return None
    if excess(longest) <= 0:
        return longest
    from scipy.optimize import brentq  # slow to import, and only a walk needs it

    return float(brentq(excess, _SHORTEST, longest, rtol=1e-3))


def mean_variance_ratio(n: int, tau: float) -> float:
    """``E c(q)/E c(0)`` of centred increments of an Ornstein-Uhlenbeck process, longest scale.

    Autocovariance of its increments, with ``r = exp(-1/tau)``: ``g[0] = 2 (1 - r)``,
    ``g[h] = -(1 - r)^2 r^(h-1)``; then the mean over the window is taken off exactly.

    Parameters
    ----------
    n :
        Intervals.
    """
    r = np.exp(-1 / tau)
    lags = np.arange(n)
    g = np.where(lags == 0, 2 * (1 - r), -((1 - r) ** 2) * r ** (np.maximum(lags, 1) - 1.0))
    # m[t] = mean over s of g[t - s]; E of the centred products is g - m[t] - m[t+h] + mean m.
    sums = g.cumsum()
    m = (sums + sums[::-1] - g[0]) / n
    below = np.concatenate([[0.0], m.cumsum()])
    pairs = n - lags
    products = pairs * (g + m.mean()) - below[n - lags] - (below[n] - below[lags])
    q = int(scales(n)[-1])
    weights = np.where(lags == 0, 1.0, 2 * np.maximum(1 - lags / q, 0))
    return float(weights @ products / products[0])


def slowest_rotation(statistic: Floats, n_steps: int, time: float, alpha: float) -> float | None:
    """Angular velocity over relaxation rate, w/a, of the slowest detectable rotation.

    With a power of 80%, of a process that rotates in one plane, ``dz = -(a + w J) z dt + dW``,
    ``a = 2 / time``: its signed area over T steps is ``2 T exp(-a) sin(w)`` on average, and that
    of a reversible one has the standard deviation ``sqrt(4 T mean(sin(f)^2 S(f)^2))``, S its
    spectrum with mean 1.

    Parameters
    ----------
    statistic : (draw,)
        `circulation.circulation` under the null.
    time :
        Two-sided correlation time, in checkpoints.

    Returns
    -------
    float or None
        `None` where no rotation is detectable.
    """
    needed = np.sqrt(max(np.quantile(statistic, 1 - alpha) - statistic.mean(), 0)) + _POWER_80
    rate = 2 / max(time, 1.0)
    r = np.exp(-rate)
    f = 2 * np.pi * np.arange(1, n_steps) / n_steps
    spectrum = (1 - r**2) / (1 - 2 * r * np.cos(f) + r**2)
    deviation = np.sqrt(4 * n_steps * np.mean((np.sin(f) * spectrum) ** 2))
    sine = float(needed * deviation / (2 * n_steps * r))
    return float(np.arcsin(sine) / rate) if sine < 1 else None
