"""The figures of several runs: of the catalogue's those that are a curve, one of each run."""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from trajscope.report.content.curves import Curves
from trajscope.report.content.numbers import counted, decimal, exact, number, percent
from trajscope.report.figures import catalogue, null
from trajscope.report.figures import curves as plots
from trajscope.report.figures.overlay import Line, Overlay, Reference
from trajscope.report.figures.runs import BAND, DASHED, DOTTED, Entry
from trajscope.schema import INTERVAL, TURN

_FEW: Final = 60
"""Bins of what scatters from point to point: several such curves hide each other."""

_PLOTS = {plot.name: plot for plot in catalogue.FIGURES}


def spanned(values: Sequence[float], words: Callable[[float], str] = number) -> str:
    """From the least to the largest: "0.4 to 0.98", or one number where they are the same."""
    known = [value for value in values if np.isfinite(value)]
    if not known:
        return "unknown"
    low, high = words(min(known)), words(max(known))
    return low if low == high else f"{low} to {high}"


def _two(value: float) -> str:
    return number(value, 2)


def _level(line: Line, value: float) -> Line:
    return line[0][[0, -1]], np.full(2, value)


def _variance_ratio(own: Curves) -> Line:
    return own.scales, own.tested("variance_ratio")


def _variance_ratio_null(first: Curves) -> Reference:
    mean, low, high = (first.tested(f"variance_ratio_{edge}") for edge in ("null", "low", "high"))
    return Reference(dashed=((first.scales, mean),), band=(first.scales, low, high))


def _variance_ratio_title(runs: Sequence[Curves]) -> str:
    outside = 0
    for each in runs:
        ratio, low, high = (each.tested(f"variance_ratio{edge}") for edge in ("", "_low", "_high"))
        outside += bool(np.any((ratio < low) | (ratio > high)))
    last = spanned([float(each.tested("variance_ratio")[-1]) for each in runs], _two)
    return (
        f"Variance ratio: {outside} of {counted(len(runs), 'run')} outside their own band; at the "
        f"longest {last}"
    )


def _power_level(first: Curves) -> Reference:
    return Reference(dashed=(_level(null.power(first), 1.0),))


def _power_title(runs: Sequence[Curves]) -> str:
    powers = [null.power(each)[1] for each in runs]
    shares = [float(one[: max(one.size // 10, 1)].sum() / one.sum()) for one in powers]
    return (
        f"Increment power: {spanned(shares, percent)} in the slowest tenth of frequencies; random "
        "walk 10%"
    )


def _growth(own: Curves) -> Line:
    moved = own.lags > 0
    return own.lags[moved], own["mean_squared_displacement"][moved]


def _one_interval(first: Curves) -> float:
    return float(_growth(first)[1][0])


def _slopes(first: Curves) -> Reference:
    ends = np.array([1.0, float(first.lags[-1])])
    return Reference(dotted=((ends, ends), (ends, ends**2)))


def _growth_title(runs: Sequence[Curves]) -> str:
    exponents = spanned([each.number("diffusion_exponent") for each in runs], _two)
    return f"Mean squared displacement: grows as lag to the power {exponents}"


def _fft(own: Curves) -> Line:
    return own.frequencies, own["increment_fft_mean"]


def _white(first: Curves) -> Reference:
    expected = first.number("white_noise_fft_mean")
    return Reference(dashed=(_level(_fft(first), expected),), paper=plots.flat_band(first))


def _fft_title(runs: Sequence[Curves]) -> str:
    outside = []
    for each in runs:
        low, high = plots.flat_band(each)
        mean = each["increment_fft_mean"]
        outside.append(float(np.mean((mean < low) | (mean > high))))
    return (
        f"Increment spectrum: outside the paper's flat band at {spanned(outside, percent)} of "
        "frequencies"
    )


def _correlation(own: Curves) -> Line:
    return own.lags, own["autocorrelation_mean"]


def _path(first: Curves) -> Reference:
    band = first.number("white_noise_band")
    walk = first.lags, first["autocorrelation_brownian"]
    return Reference(dashed=(walk,), paper=(-band, band))


def _correlation_title(runs: Sequence[Curves]) -> str:
    zero = [plots.first_zero(*_correlation(each)) for each in runs]
    walk = plots.first_zero(runs[0].lags, runs[0]["autocorrelation_brownian"])
    return (
        f"Autocorrelation: zero by lag {spanned(zero, exact)}; a Brownian path by lag {exact(walk)}"
    )


def _size(own: Curves) -> Line:
    return np.asarray(own.values[INTERVAL].values, dtype=np.float64), own["increment_norm"] ** 2


def _mean_size(first: Curves) -> float:
    return float(_size(first)[1].mean())


def _steady(first: Curves) -> Reference:
    return Reference(dashed=(_level(_size(first), 1.0),))


def _size_title(runs: Sequence[Curves]) -> str:
    times = spanned([_mean_size(each) / _mean_size(runs[0]) for each in runs])
    return f"Increment size: mean square {times} times that of the first run"


def _displacement(own: Curves) -> Line:
    return own.steps, own["displacement"]


def _walk(first: Curves) -> Reference:
    return Reference(dotted=((first.steps, plots.walk_distance(first)),))


def _displacement_title(runs: Sequence[Curves]) -> str:
    ends = spanned([float(each["displacement"][-1]) for each in runs])
    walk = number(plots.walk_distance(runs[0])[-1])
    return f"Displacement: {ends} at the end; random walk of the first run's increments {walk}"


def _cosine(own: Curves) -> Line:
    cosine = own["increment_cosine"]
    known = np.isfinite(cosine)
    return np.asarray(own.values[TURN].values, dtype=np.float64)[known], cosine[known]


def _no_turn(first: Curves) -> Reference:
    return Reference(dashed=(_level(_cosine(first), 0.0),))


def _cosine_title(runs: Sequence[Curves]) -> str:
    mean = spanned([float(_cosine(each)[1].mean()) for each in runs], decimal)
    return f"Turning: mean cosine of a turn {mean}; a random walk's 0"


_WALK = Entry("random walk", "null", DASHED, 1.3)

OVERLAYS: Final = (
    Overlay(
        _PLOTS["variance-ratio"], "variance ratio VR(q)", "length q of a displacement", "length",
        "xy", _variance_ratio, _variance_ratio_null,
        (BAND, Entry("its mean", "null", DASHED, 1.3)), _variance_ratio_title,
        "Variance of displacements over q, over that of as many single increments; all weights, "
        "mean increment removed. Grey: where whole curves of Brownian runs as long as the first "
        "stay.",
        "the other runs, and the dashed mean. Below it a run is mean-reverting, above it persists; "
        "shorter runs have wider bands.",
    ),
    Overlay(
        _PLOTS["displacement-growth"], "mean squared displacement, first run's interval = 1",
        "lag", "length", "xy", _growth, _slopes,
        (Entry("slopes 1, 2", "null", DOTTED, 1.4),), _growth_title,
        "Squared distance between checkpoints that lie a lag apart, over all weights, in units of "
        "one mean squared increment of the first run: height is the size of steps.",
        "the other runs: parallel curves differ in the size of steps alone. Dotted: random walk, "
        "and straight line.",
        unit=_one_interval,
    ),
    Overlay(
        _PLOTS["periodogram"], "power of increments, mean = 1", "frequency", "frequency", "y",
        null.power, _power_level, (_WALK,), _power_title,
        "Power of the increments, summed over weights, of each run over its own mean, logarithmic; "
        f"more than {_FEW} frequencies are averaged in as many bins.",
        "the other runs, and the dashed level of a random walk. The size of steps does not show "
        "here, their memory does.",
        most=_FEW,
    ),
    Overlay(
        _PLOTS["increment-fft"], "|FFT| of increments, per-weight rms = 1", "frequency",
        "frequency", "y", _fft, _white,
        (Entry("white noise", "null", DASHED, 1.3), Entry("paper, 99%", "paper", None, 1.1)),
        _fft_title,
        "Amplitude of the increments' Fourier transform (the paper's Fig. 3a), mean over weights, "
        f"logarithmic; more than {_FEW} frequencies are averaged in as many bins.",
        "the other runs, and the dashed level of white noise. The paper's band, of the first run, "
        "assumes independent weights.",
        most=_FEW,
    ),
    Overlay(
        _PLOTS["autocorrelation"], "autocorrelation of the weights", "lag", "length", "",
        _correlation, _path,
        (Entry("Brownian path", "null", DASHED, 1.3), Entry("paper, 99%", "paper", None, 1.1)),
        _correlation_title,
        "Autocorrelation of the weights themselves (the paper's Fig. 3b), mean over weights.",
        "the other runs, and the dashed Brownian path as long as the first run: a shorter run "
        "falls sooner. The paper's band is that of white noise.",
    ),
    Overlay(
        _PLOTS["increment-size"], "squared increment, mean of first run = 1", "", "run", "y",
        _size, _steady, (Entry("first run, mean", "null", DASHED, 1.3),), _size_title,
        "Squared length of every increment along the run, over all weights, logarithmic; more than "
        f"{_FEW} are averaged in as many bins.",
        "the other runs at the same step, and the dashed mean of the first.",
        unit=_mean_size, most=_FEW,
    ),
    Overlay(
        _PLOTS["displacement"], "distance from the first checkpoint, weight units", "", "run", "",
        _displacement, _walk,
        (Entry("walk, first run", "null", DOTTED, 1.4),), _displacement_title,
        "Distance of every checkpoint from the first of its run, over all weights.",
        "the other runs, and the dotted random walk with increments as long as the first run's.",
    ),
    Overlay(
        _PLOTS["turns"], "cosine between neighbouring increments", "", "run", "", _cosine,
        _no_turn, (_WALK,), _cosine_title,
        "Cosine of the angle between each increment and the next: 1 goes on, −1 goes back; more "
        f"than {_FEW} are averaged in as many bins.",
        "the other runs, and zero, where a random walk in many directions stays.",
        most=_FEW,
    ),
)  # fmt: skip
"""In the order of the page."""
