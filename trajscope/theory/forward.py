"""Predicted against measured: covariances and currents, with intervals from the predicted law."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trajscope.kernels.gram import Floats
from trajscope.theory.law import Law
from trajscope.theory.statistics import Moments, Windows, currents

FEWEST_TIMES: Final = 20.0
"""Correlation times that a window needs for the variance of a direction."""
N_DRAWS: Final = 200
_NORMAL: Final = 1.959964
_LEAST_AGREEMENT: Final = 0.5
"""Of the currents from two halves of D, whose product is 1 without sampling error."""
_LEAST_CORRELATION: Final = 0.1
"""Predicted autocorrelation below which a lagged covariance has nothing to be compared with."""


@dataclass(frozen=True)
class Noise:
    """What is known of D in the directions.

    Attributes
    ----------
    halves : (2, direction, direction)
        From independent batches.
    by_place : (place, direction)
        Its diagonal at every checkpoint where it was computed.
    """

    halves: Floats
    by_place: Floats

    @property
    def matrix(self) -> Floats:
        """D, (direction, direction)."""
        mean: Floats = self.halves.mean(axis=0)
        return mean

    def errors(self, chosen: NDArray[np.intp]) -> tuple[Floats, float]:
        """Relative variances of ``D_ii`` of some directions, and of their level in common.

        From the spread over places, which holds that of the batches too.
        """
        relative = self.by_place[:, chosen] / self.by_place[:, chosen].mean(axis=0)
        n = len(relative)
        own: Floats = relative.var(axis=0, ddof=1) / n
        return own, float(relative.mean(axis=1).var(ddof=1) / n)


@dataclass(frozen=True)
class Errors:
    """Relative variances of the predicted variances, since D and H are of some batches.

    Attributes
    ----------
    own : (direction,)
    shared :
        Of their level in common.
    """

    own: Floats
    shared: float


@dataclass(frozen=True)
class Ratios:
    """Measured over predicted, with 95% intervals; NaN where there is nothing to compare."""

    value: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True)
class Forward:
    """What a window says about the prediction.

    Attributes
    ----------
    variance, lagged, spread : (direction,)
        Of the stationary variance, the lagged covariance, and half the mean squared displacement
        over one checkpoint.
    volume, budget :
        Numbers: geometric mean of the variance ratios; summed displacements over predicted ones.
    slope, slope_low, slope_high :
        Of measured on predicted currents, pooled over planes; NaN where none are predicted.
    slope_null :
        Its standard deviation without currents.
    p_current :
        Of no current, two-sided.
    """

    measured: Moments
    law: Law
    variance: Ratios
    lagged: Ratios
    spread: Ratios
    volume: Ratios
    budget: Ratios
    slope: float
    slope_low: float
    slope_high: float
    slope_null: float
    p_current: float


def forward(windows: Windows, lagged_halves: Floats, errors: Errors) -> Forward:
    """The comparison of one window with the law that is predicted for it.

    Ratios are divided by those of simulated windows of the same length, whose spread, with that of
    D, gives the intervals: on logarithms, since variances of few correlation times are skewed.

    Parameters
    ----------
    windows :
        Its checkpoints evenly spaced.
    lagged_halves : (2, direction, direction)
        Predicted lagged covariances from independent halves of D: their product is free of the
        noise of D, which would flatten the slope.
    errors :
        Of the prediction itself.
    """
    found, law, draws, null = windows.found, windows.law, windows.draws, windows.null
    spread = np.diagonal(law.covariance - law.lagged)
    slope = _slope(found, draws, null, law, lagged_halves)
    return Forward(
        found,
        law,
        _log_ratios(found.variances, draws.variances, np.diagonal(law.covariance), errors.own),
        _lagged_ratios(found, draws, law, errors.own),
        _log_ratios(found.spread, draws.spread, spread, errors.own),
        _volume(found, draws, law, errors.shared),
        _log_ratios(
            found.spread.sum(), draws.spread.sum(axis=1), spread.sum(),
            errors.shared,
        ),
        *slope,
    )  # fmt: skip


def _log_ratios(found: Floats, draws: Floats, predicted: Floats, errors: Floats | float) -> Ratios:
    """Measured over predicted, freed of the bias of a short window, and its interval."""
    logs = np.log(draws / predicted)
    value = np.log(found / predicted) - logs.mean(axis=0)
    sd = np.sqrt(logs.var(axis=0, ddof=1) + errors)
    return Ratios(*(np.exp(value + z * sd) for z in (0.0, -_NORMAL, _NORMAL)))


def _lagged_ratios(found: Moments, draws: Moments, law: Law, errors: Floats) -> Ratios:
    predicted = np.diagonal(law.lagged)
    known = np.abs(predicted) >= _LEAST_CORRELATION * np.diagonal(law.covariance)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = draws.lagged_variances / predicted
        value = found.lagged_variances / predicted / ratios.mean(axis=0)
    sd = np.sqrt((ratios.std(axis=0, ddof=1) / ratios.mean(axis=0)) ** 2 + errors)
    return Ratios(*(np.where(known, value + z * sd, np.nan) for z in (0.0, -_NORMAL, _NORMAL)))


def _volume(found: Moments, draws: Moments, law: Law, error: float) -> Ratios:
    predicted = np.log(np.diagonal(law.covariance)).mean()
    means = np.log(draws.variances).mean(axis=1) - predicted
    value = float(np.log(found.variances).mean() - predicted - means.mean())
    sd = float(np.sqrt(means.var(ddof=1) + error))
    return Ratios(*(np.array(np.exp(value + z * sd)) for z in (0.0, -_NORMAL, _NORMAL)))


def raw_slope(found: Floats, predicted: Floats, halves: Sequence[Floats]) -> tuple[float, float]:
    """``s = sum X P / sum P P'``, and by what the noise of D makes ``sum P P`` too large.

    Parameters
    ----------
    found, predicted : (plane,)
        X and P, as `currents` has them.
    halves :
        Two of P, from independent halves of the batches: the noise of D cancels in their product,
        where it would flatten the slope. NaN where they say nothing of each other.
    """
    square, product = float(predicted @ predicted), float(halves[0] @ halves[1])
    if not product > _LEAST_AGREEMENT * square > 0:
        return float("nan"), float("nan")
    return float(found @ predicted) / product, square / product


def _slope(
    found: Moments, draws: Moments, null: Moments, law: Law, lagged_halves: Floats
) -> tuple[float, float, float, float, float]:
    """The slope freed of its bias, its interval, its standard deviation without currents, p."""
    predicted = currents(law.covariance, law.lagged)
    halves = [currents(law.covariance, half) for half in lagged_halves]
    raw, widened = raw_slope(found.currents, predicted, halves)
    if not np.isfinite(raw):
        return (float("nan"),) * 5
    square = float(predicted @ predicted)
    drawn = draws.currents @ predicted / square
    of_null = null.currents @ predicted / square * widened
    value = raw - (float(drawn.mean()) - 1)
    sd = float(drawn.std(ddof=1)) * widened
    p_value = (1 + int((np.abs(of_null) >= abs(raw)).sum())) / (1 + len(of_null))
    return (
        value, value - _NORMAL * sd, value + _NORMAL * sd, float(of_null.std(ddof=1)), p_value,
    )  # fmt: skip
