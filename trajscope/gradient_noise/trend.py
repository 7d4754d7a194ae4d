"""Whether a series falls or rises: Mann-Kendall and Theil-Sen on points far enough apart."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from trajscope.kernels.gram import Floats

_FEWEST: Final = 8
"""Points below which no trend is tested."""
_APART: Final = 3
"""Distance between the points that are used, in correlation times."""
_ROUNDING: Final = 1e-14
"""Of the largest value: what is left of a series that is a straight line."""
_WINDOW: Final = 5
"""Lags summed, in integrated correlation times (Sokal 1997)."""


@dataclass(frozen=True)
class Trend:
    """A straight line through a series, and how surprising it is.

    Attributes
    ----------
    slope, slope_low, slope_high :
        Theil-Sen: the median of the slopes between all pairs, and its 95% interval.
    p_value :
        Mann-Kendall, two-sided.
    correlation_time :
        tau, in points of the whole series.
    n_points :
        How many points, 3 tau apart, were used.
    """

    slope: float
    slope_low: float
    slope_high: float
    p_value: float
    correlation_time: float
    n_points: int


def trend(steps: Floats, series: Floats) -> Trend:
    """The trend of a series whose neighbouring points may be correlated.

    The tests take points as independent: on every point, noise with a correlation time of 10 is
    called a trend in more than half of all series at a level of 1%. So points are taken 3 tau
    apart, where ``2 tau = 1 + 2 sum_h rho_h`` is estimated from what a straight line leaves; at
    2 tau they are still correlated by 0.14, and twice as many trends are found as the level says.

    Parameters
    ----------
    steps : (point,)
        Increasing.
    series : (point,)
        Points that are not finite are left out.

    Returns
    -------
    Trend
        NaN throughout where fewer than 8 points are left.

    References
    ----------
    Mann 1945, doi:10.2307/1907187; Sen 1968, doi:10.1080/01621459.1968.10480934; Sokal 1997,
    doi:10.1007/978-1-4899-0319-8_6 (the window of the sum).
    """
    import scipy.stats

    finite = np.isfinite(series)
    steps, series = steps[finite], series[finite]
    time = correlation_time(series) if len(series) >= _FEWEST else float("nan")
    stride = max(int(np.ceil(_APART * time)), 1) if np.isfinite(time) else 1
    # Counted from the end, so that the last point is there.
    kept = np.arange(len(series) - 1, -1, -stride)[::-1]
    if len(kept) < _FEWEST:
        nan = float("nan")
        return Trend(nan, nan, nan, nan, time, len(kept))
    if np.ptp(series[kept]) == 0:
        return Trend(0.0, 0.0, 0.0, 1.0, time, len(kept))
    slope, _, low, high = scipy.stats.theilslopes(series[kept], steps[kept])
    p_value = scipy.stats.kendalltau(steps[kept], series[kept]).pvalue
    return Trend(float(slope), float(low), float(high), float(p_value), time, len(kept))


def correlation_time(series: Floats) -> float:
    """Correlation time, ``2 tau = 1 + 2 sum_h rho_h``, of what a straight line leaves of a series.

    The sum ends at the first lag beyond five times its value. At least 1/2, which is white noise.
    """
    places = np.arange(len(series))
    residuals = series - np.polyval(np.polyfit(places, series, 1), places)
    power = np.abs(np.fft.rfft(residuals, 2 * len(residuals))) ** 2
    covariances = np.fft.irfft(power)[: len(residuals)]
    rounding = _ROUNDING * np.abs(series).max()
    if covariances[0] <= len(series) * rounding**2:
        return 0.5
    times = 0.5 + np.cumsum(covariances[1:] / covariances[0])
    beyond = np.arange(1, len(series)) >= _WINDOW * times
    return float(max(times[int(beyond.argmax())] if beyond.any() else times.max(), 0.5))
