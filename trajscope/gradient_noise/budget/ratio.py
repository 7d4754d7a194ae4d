"""The noise budget: measured increments against those that the gradients' noise would make."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from trajscope.gradient_noise.budget.noise_gain import correlations
from trajscope.kernels.gram import Floats

_CLEAR: Final = 2.0
"""Standard deviations by which a mean increment has to exceed its noise to be called a drift."""
_LEVEL: Final = 0.95
_FEWEST_FOR_TREND: Final = 4
_TREND_LEVEL: Final = 0.01
_TWOFOLD: Final = 2.0


@dataclass(frozen=True, eq=False)
class Grams:
    """Inner products of gradients and increments at a few places of the run.

    Attributes
    ----------
    gradients : (gradient, gradient)
        Between gradients, centred at each place and scaled so that their squares add up to tr D
        there.
    increments : (interval, interval)
        Between increments, as they are.
    cross : (gradient, interval)
        Between the two.
    gradients_at : (gradient,)
        The place of each, 0, 1, ...
    increments_at : (interval,)
        The same. Those of a place are consecutive.
    starts : (interval,)
        Update at which each increment starts.
    """

    gradients: Floats
    increments: Floats
    cross: Floats
    gradients_at: "np.ndarray"
    increments_at: "np.ndarray"
    starts: Floats

    @property
    def n_places(self) -> int:
        """How many places there are."""
        return int(self.increments_at[-1]) + 1

    def noise(self) -> Floats:
        """The trace of D at each place, (place,)."""
        own = np.diagonal(self.gradients).astype(np.float64)
        traces: Floats = np.bincount(self.gradients_at, own, self.n_places).astype(np.float64)
        return traces


@dataclass(frozen=True)
class Ratio:
    """A ratio with its 95% interval."""

    value: float
    low: float
    high: float


def measured(grams: Grams, overlaps: Floats, *, together: int = 1) -> tuple[Floats, float]:
    """Traces of the increments' covariance at each place, without drift, and the drift's share.

    ``tr C = mean |y|^2 - |ybar|^2``, over ``1 - mean(R)`` with R the correlations that noise alone
    gives the increments, so that it is unbiased. That is done where the mean increments, of all
    places together, are longer by two standard deviations than noise makes them, which vary by
    ``sqrt(2 / (P k))`` for k places and the participation ratio P of D. Else
    ``tr C = mean |y|^2``: where weights are held back, ybar is shorter than noise alone would make
    it, and taking it off twice would count.

    Parameters
    ----------
    overlaps : (update,)
        As `overlap` returns it for the updates of `together` intervals.
    together :
        Take so many neighbouring increments as one.

    Returns
    -------
    (place,), float
        Squared weight; share of the mean square that was drift.
    """
    squares, means, shares = (np.empty(grams.n_places) for _ in range(3))
    for place in range(grams.n_places):
        rows = grams.increments_at == place
        gram = _joined(grams.increments[np.ix_(rows, rows)], together)
        squares[place] = np.diagonal(gram).mean()
        means[place] = gram.mean()
        starts = grams.starts[rows][: len(gram)]
        shares[place] = correlations(starts, overlaps).mean()
    noise = float((squares * shares).mean())
    spread = np.sqrt(2 / (_participation(grams.gradients) * grams.n_places))
    if means.mean() <= noise * (1 + _CLEAR * spread):
        return squares, 0.0
    # Where noise is correlated over the whole stretch, its mean is no drift that could be told.
    traces = np.maximum(squares - means, 0) / np.maximum(1 - shares, 1e-3)
    return traces, float(np.clip(1 - traces.mean() / squares.mean(), 0, 1))


def ratio(traces: Floats, predicted: Floats) -> Ratio:
    """Mean of `traces` over mean of `predicted`, with an interval from how places differ.

    The jackknife of the ratio's logarithm, leaving out one place at a time, and Student's t with
    one degree of freedom fewer than places (Efron 1982, doi:10.1137/1.9781611970319).

    Parameters
    ----------
    traces, predicted : (place,)
        Independent from place to place.
    """
    return _jackknifed(traces.mean() / predicted.mean(), _others(traces) / _others(predicted))


def doubling(single: tuple[Floats, Floats], double: tuple[Floats, Floats]) -> Ratio:
    """By what factor the ratio changes when two neighbouring intervals are taken as one.

    1 for noise that nothing pulls back. For plain SGD on a curvature h the ratio itself is
    ``1 - (m - 1) eta h / 2`` to first order, and this factor falls short of 1 by as much again.

    Parameters
    ----------
    single, double :
        As in `ratio`, of one interval and of two.
    """
    (traces, predicted), (traces_2, predicted_2) = single, double
    value = traces_2.mean() / predicted_2.mean() * predicted.mean() / traces.mean()
    others = _others(traces_2) / _others(predicted_2) * _others(predicted) / _others(traces)
    return _jackknifed(value, others)


def rate_change(ratios: Floats) -> str:
    """By what factor ratios at the places of a run change along it; ``""`` if they do not.

    A straight line through their logarithms, tested by Student's t at 1%, and at least a factor of
    two from end to end: as when the learning rate changes and one was given.

    Parameters
    ----------
    ratios : (place,)
        Of increments to noise, in the order of the run.
    """
    from scipy.stats import linregress

    if len(ratios) < _FEWEST_FOR_TREND or not (ratios > 0).all():
        return ""
    places = np.arange(len(ratios))
    fitted = linregress(places, np.log(ratios))
    factor = float(np.exp(fitted.slope * (len(ratios) - 1)))
    is_clear = fitted.pvalue <= _TREND_LEVEL and max(factor, 1 / factor) >= _TWOFOLD
    return f"{factor:.2g}" if is_clear else ""


def without_means(grams: Grams) -> Grams:
    """The same after the mean increment of each place is taken off."""
    n = len(grams.increments)
    take = np.eye(n)
    for place in range(grams.n_places):
        rows = grams.increments_at == place
        take -= np.outer(rows, rows) / rows.sum()
    return Grams(
        grams.gradients,
        take @ grams.increments @ take,
        grams.cross @ take,
        grams.gradients_at,
        grams.increments_at,
        grams.starts,
    )


def _others(values: Floats) -> Floats:
    """Means without each value in turn."""
    others: Floats = (values.sum() - values) / (len(values) - 1)
    return others


def _jackknifed(value: float, others: Floats) -> Ratio:
    """A value with the interval that the values without one place each give it."""
    from scipy.stats import t

    k = len(others)
    if not (value > 0 and (others > 0).all()):
        return Ratio(float(value), float("nan"), float("nan"))
    logs = np.log(others)
    error = np.sqrt((k - 1) / k * ((logs - logs.mean()) ** 2).sum())
    factor = float(np.exp(t.ppf((1 + _LEVEL) / 2, k - 1) * error))
    return Ratio(float(value), float(value) / factor, float(value) * factor)


def _joined(gram: Floats, together: int) -> Floats:
    """Inner products of sums of neighbours, each sum starting one later."""
    windows: Sequence[Floats] = [
        gram[i : len(gram) - together + 1 + i, j : len(gram) - together + 1 + j]
        for i in range(together)
        for j in range(together)
    ]
    total: Floats = np.sum(windows, axis=0)
    return total


def _participation(gram: Floats) -> float:
    """``tr(D)^2 / tr(D^2)`` from inner products."""
    square = float((gram**2).sum())
    return float(np.trace(gram) ** 2 / square) if square > 0 else float("nan")
