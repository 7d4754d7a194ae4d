"""Labelled curves and numbers of one group, one record each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from trajscope.kernels.components import explained_variance
from trajscope.kernels.gram import Floats
from trajscope.kernels.spread import DEFICITS
from trajscope.measure.pooled import Pooled
from trajscope.schema import COMPONENT, FREQUENCY, INTERVAL, LAG, STEP, TURN


@dataclass(frozen=True)
class Measured:
    """Everything an observable of one group may draw on.

    Attributes
    ----------
    sums :
        As the pass left them.
    pooled :
        Pooled over weights, whichever the path.
    """

    sums: Mapping[str, Floats]
    pooled: Pooled


@dataclass(frozen=True)
class Observable:
    """One named result.

    Attributes
    ----------
    name :
        In ``results["observables"]``.
    dims :
        Besides ``group``, which comes first.
    units :
        "weight" stands for the unit the weights are stored in, which is 1.
    long_name :
        One line: what it is, in the field's words.
    formula :
        For the docs: T checkpoints x[t], n = T − 1 increments y[t], yc = y minus its mean over
        time, i a weight.
    values :
        ``Measured -> array`` with `dims`.
    is_per_weight :
        Whether it needs sums over curves of single weights, which windows of a run do not have.
    """

    name: str
    dims: tuple[str, ...]
    units: str
    long_name: str
    formula: str
    values: Callable[[Measured], Floats | np.float64]
    is_per_weight: bool = False


@dataclass(frozen=True)
class Reference:
    """What a random walk gives, the same for every group.

    Attributes
    ----------
    name, dims, units, long_name, formula :
        As those of an observable.
    values :
        ``(number of checkpoints, number of components) -> array`` with `dims`.
    """

    name: str
    dims: tuple[str, ...]
    units: str
    long_name: str
    formula: str
    values: Callable[[int, int], Floats]


def mean(total: Floats, count: Floats) -> Floats:
    """Mean over weights, (...); zero where no weight entered."""
    average: Floats = total / np.maximum(count, 1)
    return average


def spread(total: Floats, squares: Floats, count: Floats) -> Floats:
    """One standard deviation over weights (dividing by their number), same shape."""
    average = mean(total, count)
    return np.sqrt(np.maximum(mean(squares, count) - average**2, 0.0))


def _sampled_variance(measured: Measured) -> tuple[Floats, Floats]:
    """Variance of the autocorrelation over weights, and its fourth central moment, (lag,)."""
    one, two, three, four = (
        mean(measured.sums[name], measured.sums["n_sampled"]) for name in DEFICITS
    )
    fourth = four - 4 * one * three + 6 * one**2 * two - 3 * one**4
    return np.maximum(two - one**2, 0.0), np.maximum(fourth, 0.0)


def _sampling_error(measured: Measured) -> Floats:
    variance, fourth = _sampled_variance(measured)
    standing, squared = measured.sums["n_sampled"], measured.sums["n_sampled_square"]
    # 1/s - 1/P, with s the number of weights of equal standing that would be as good.
    unseen = np.maximum(squared / np.maximum(standing, 1) - 1, 0) / np.maximum(standing, 1)
    error = np.sqrt(np.maximum(fourth - variance**2, 0) * unseen)
    twice = 2 * np.sqrt(variance)
    relative: Floats = np.divide(error, twice, out=np.zeros_like(error), where=twice > 0)
    return relative


def diffusion_exponent(squared_displacement: Floats) -> float:
    """Slope of ``log MSD(q)`` on ``log q`` over lags 1 to T/4, by least squares.

    1 for Brownian motion, 2 for straight motion, 0 for a confined path. Lags are
    weighted alike on the logarithmic axis (each by 1/q), and cut at T/4, beyond which a lag has
    fewer than three displacements that do not overlap.

    Parameters
    ----------
    squared_displacement : (lag,)
        From lag 0.

    Returns
    -------
    float
        NaN below 8 checkpoints, where there are no two such lags, and where nothing moves.
    """
    lags = np.arange(1, len(squared_displacement) // 4 + 1)
    values = squared_displacement[lags]
    if len(lags) < 2 or not (values > 0).all():
        return float("nan")
    return float(np.polyfit(np.log(lags), np.log(values), 1, w=lags**-0.5)[0])


def _increment_cosine(measured: Measured) -> Floats:
    norms = np.sqrt(measured.pooled.squared_increments)
    both = norms[:-1] * norms[1:]
    cosine: Floats = np.where(
        both > 0, measured.pooled.neighbour_products / np.where(both > 0, both, 1), 0.0
    )
    return np.clip(cosine, -1.0, 1.0)


def _per_increment(measured: Measured, total: Floats) -> Floats:
    """Root mean square over the weights and, for increments, over time."""
    return np.sqrt(total / np.maximum(measured.sums["n_weights"], 1))


CURVES: Final = (
    Observable(
        "increment_fft_mean", (FREQUENCY,), "1",
        "Fourier amplitude of the increments, per weight at unit mean power: mean over weights",
        "a_i[j] = |FFT(yc_i)[j]| / √mean_k |FFT(yc_i)[k]|², j, k = 1…⌊n/2⌋; mean over weights "
        "(Fig. 3a of the paper)",
        lambda m: mean(m.sums["amplitude"], m.sums["n_amplitudes"]),
        is_per_weight=True,
    ),
    Observable(
        "increment_fft_sd", (FREQUENCY,), "1",
        "Fourier amplitude of the increments, per weight at unit mean power: "
        "standard deviation over weights",
        "standard deviation of a_i[j] over weights",
        lambda m: spread(
            m.sums["amplitude"], m.sums["amplitude_square"], m.sums["n_amplitudes"]
        ),
        is_per_weight=True,
    ),
    Observable(
        "increment_periodogram", (FREQUENCY,), "weight^2",
        "periodogram of the increments, summed over weights",
        "(1/n) Σ_i |FFT(yc_i)[j]|²",
        lambda m: m.pooled.periodogram,
    ),
    Observable(
        "autocorrelation_mean", (LAG,), "1",
        "autocorrelation of the weights, biased: mean over weights",
        "r_i(h) = Σ_t (x_t − m)(x_{t+h} − m) / Σ_t (x_t − m)², biased; mean over weights "
        "(Fig. 3b of the paper)",
        lambda m: mean(m.sums["autocorrelation"], m.sums["n_autocorrelations"]),
        is_per_weight=True,
    ),
    Observable(
        "autocorrelation_sd", (LAG,), "1",
        "autocorrelation of the weights, biased: standard deviation over weights",
        "standard deviation of r_i(h) over weights; of groups of more than 8,192 from a random "
        "sample of so many, unless `exact`",
        lambda m: np.sqrt(_sampled_variance(m)[0]),
        is_per_weight=True,
    ),
    Observable(
        "autocorrelation_sd_error", (LAG,), "1",
        "standard error of that standard deviation, from the sample; 0 if it is of all weights",
        "√((μ₄ − σ⁴)(1/s − 1/P)) / 2σ, s weights in the sample, μ₄ the fourth central moment",
        _sampling_error,
        is_per_weight=True,
    ),
    Observable(
        "mean_squared_displacement", (LAG,), "weight^2",
        "mean over time of the squared displacement, summed over weights",
        "mean over t of |x[t+q] − x[t]|², summed over weights",
        lambda m: m.pooled.mean_squared_displacement,
    ),
    Observable(
        "diffusion_exponent", (), "1",
        "slope of log mean squared displacement against log lag, lags 1 to T/4",
        "slope of log MSD against log lag, lags 1…T/4: 1 Brownian, 2 straight, 0 confined",
        lambda m: np.float64(diffusion_exponent(m.pooled.mean_squared_displacement)),
    ),
    Observable(
        "explained_variance", (COMPONENT,), "1",
        "share of the variance of the trajectory along each principal component",
        "share of Σ_t |x[t] − mean|² along each principal component",
        lambda m: explained_variance(m.pooled.components),
    ),
    Observable(
        "principal_component", (STEP, COMPONENT), "weight",
        "position along each principal component, centred in time",
        "position along each component; the largest entry is positive",
        lambda m: m.pooled.components.scores,
    ),
    Observable(
        "path_length", (), "weight",
        "sum of the norms of all increments",
        "Σ_t |y[t]|",
        lambda m: np.sqrt(m.pooled.squared_increments).sum(),
    ),
    Observable(
        "displacement", (STEP,), "weight",
        "distance from the first checkpoint",
        "|x[t] − x[0]|",
        lambda m: np.sqrt(np.maximum(m.pooled.squared_displacements, 0.0)),
    ),
    Observable(
        "increment_norm", (INTERVAL,), "weight",
        "length of each increment",
        "|y[t]|",
        lambda m: np.sqrt(m.pooled.squared_increments),
    ),
    Observable(
        "increment_cosine", (TURN,), "1",
        "cosine between an increment and the next; 0 where one of them is zero",
        "⟨y[t], y[t+1]⟩ / (|y[t]| |y[t+1]|); 0 where one of them is zero",
        _increment_cosine,
    ),
    Observable(
        "increment_rms", (), "weight",
        "root mean square increment of one weight",
        "√(mean over i and t of y_i[t]²)",
        lambda m: _per_increment(m, m.pooled.squared_increments.mean()),
    ),
    Observable(
        "rounding_floor", (), "weight",
        "root mean square increment from rounding to the stored dtype alone",
        "the same from rounding to the stored dtype alone: √(mean ulp²/6)",
        lambda m: _per_increment(m, m.sums["rounding_variance"]),
    ),
    Observable(
        "zero_increment_fraction", (), "1",
        "share of (interval, weight) pairs whose stored value did not change",
        "share of stored values that did not change from one checkpoint to the next",
        lambda m: m.sums["n_zero_increments"]
        / np.maximum(m.sums["n_weights"] * len(m.pooled.squared_increments), 1),
    ),
    Observable(
        "n_weights", (), "1", "number of weights",
        "number of weights",
        lambda m: m.sums["n_weights"],
    ),
    Observable(
        "n_moving", (), "1",
        "number of weights that change at least once; the others are left out of normalised curves",
        "number of those that ever change; only these enter normalised curves",
        lambda m: m.sums["n_moving"],
    ),
)  # fmt: skip
"""In the order of the result."""
