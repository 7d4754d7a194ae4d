"""Figures of what changes with lag, with frequency, and along the run."""

from typing import TYPE_CHECKING

import numpy as np

from trajscope.report.content.curves import Curves, Floats
from trajscope.report.content.numbers import counted, decimal, exact, number, percent
from trajscope.report.figures import canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAPER_QUANTILE = 2.576  # two-sided 99% of a normal distribution, as the paper's bands use


def relative_displacement(curves: Curves) -> tuple[Floats, Floats]:
    """Lags from one checkpoint on, and mean squared displacement over that of one checkpoint."""
    moved = curves.lags > 0
    squared = curves["mean_squared_displacement"][moved]
    return curves.lags[moved], squared / squared[0]


def draw_displacement_growth(figure: "Figure", curves: Curves) -> None:
    """Mean squared displacement against lag, both logarithmic, with slopes 1 and 2."""
    lag, growth = relative_displacement(curves)
    axes = canvas.add_axes(
        figure, "mean squared displacement, one interval = 1", "lag, checkpoints"
    )
    axes.set_xscale("log")
    axes.set_yscale("log")
    positive = growth[growth > 0]
    low = min(0.8, 0.8 * float(positive.min()))
    high = max(2.5 * float(positive.max()), min(float(lag[-1]), 10 * float(positive.max())))
    for slope in (1, 2):
        end = min(float(lag[-1]), high ** (1 / slope))
        canvas.theory(axes, np.array([1.0, end]), np.array([1.0, end**slope]))
    canvas.observed(axes, lag, growth, by_ratio=True)
    axes.set_xlim(1, max(float(lag[-1]), 2) * 1.02)
    axes.set_ylim(low, high * 1.1)
    canvas.log_ticks(axes.xaxis, 1, float(lag[-1]))
    canvas.log_ticks(axes.yaxis, low, high)
    _slope_labels(axes, lag, growth, high)
    canvas.label(axes, 0.98, 0.04, "this run", "observed", ha="right", va="bottom")


def displacement_growth_title(curves: Curves) -> str:
    """Title with the exponent; without one, with the growth from the first lag to the last."""
    if not np.isfinite(curves.number("diffusion_exponent")):
        grown = curves["mean_squared_displacement"]
        ratio = number(float(grown[-1] / grown[1]), 2) if grown[1] > 0 else "unknown"
        return f"Mean squared displacement: {ratio} at the longest lag, one interval = 1"
    return (
        "Mean squared displacement: grows as lag to the power "
        f"{number(curves.number('diffusion_exponent'), 2)}"
    )


def draw_increment_fft(figure: "Figure", curves: Curves) -> None:
    """Amplitude of the increments' Fourier transform, mean and spread over weights."""
    mean, sd = curves["increment_fft_mean"], curves["increment_fft_sd"]
    frequency = curves.frequencies
    axes = canvas.add_axes(
        figure, "|FFT| of increments, per-weight rms = 1", "frequency, cycles per checkpoint"
    )
    canvas.paper_lines(axes, *flat_band(curves))
    expected = curves.number("white_noise_fft_mean")
    canvas.null_mean(axes, frequency, np.full_like(frequency, expected))
    canvas.spread(axes, frequency, mean, sd)
    canvas.observed(axes, frequency, mean)
    # A drift stands in the first frequencies, far above the rest: logarithmic shows both.
    axes.set_yscale("log")
    low, high = 0.35 * float(mean[mean > 0].min()), 2.5 * float((mean + sd).max())
    axes.set_xlim(0, 0.5)
    axes.set_ylim(low, high)
    canvas.log_ticks(axes.yaxis, low, high)
    canvas.label(axes, 0.98, 1.0, "mean, and ± 1 sd over weights", "observed", ha="right")
    canvas.label(axes, 0.02, 1.0, "paper's flat band, 99%", "paper")
    canvas.label(axes, 0.02, 0.92, "dashed: white noise, on average", "null")


def flat_band(curves: Curves) -> tuple[float, float]:
    """The paper's 99% band for a mean over weights: independent weights, white increments."""
    half = PAPER_QUANTILE * curves.number("white_noise_fft_sd")
    half /= np.sqrt(max(curves.number("n_moving"), 1))
    expected = curves.number("white_noise_fft_mean")
    return expected - half, expected + half


def increment_fft_title(curves: Curves) -> str:
    """Title with the share of frequencies outside the paper's band."""
    low, high = flat_band(curves)
    mean = curves["increment_fft_mean"]
    outside = int(np.sum((mean < low) | (mean > high)))
    return (
        f"Increment spectrum: outside the paper's flat band at {outside:,} of {mean.size:,} "
        "frequencies"
    )


def draw_autocorrelation(figure: "Figure", curves: Curves) -> None:
    """Autocorrelation of the weights, mean and spread, beside a Brownian path's."""
    lag, mean = curves.lags, curves["autocorrelation_mean"]
    axes = canvas.add_axes(figure, "autocorrelation of the weights", "lag, checkpoints")
    band = curves.number("white_noise_band")
    canvas.paper_lines(axes, -band, band)
    canvas.null_mean(axes, lag, curves["autocorrelation_brownian"])
    canvas.spread(axes, lag, mean, curves["autocorrelation_sd"])
    canvas.observed(axes, lag, mean)
    axes.set_xlim(0, float(lag[-1]))
    axes.set_ylim(top=1.08)
    canvas.plain_ticks(axes.xaxis)
    canvas.plain_ticks(axes.yaxis)
    canvas.label(axes, 0.98, 0.99, "mean, and ± 1 sd over weights", "observed", ha="right")
    canvas.label(axes, 0.98, 0.91, "dashed: Brownian path of this length", "null", ha="right")
    canvas.label(axes, 0.98, 0.83, "paper's 99% band: white noise", "paper", ha="right")


def autocorrelation_title(curves: Curves) -> str:
    """Title with the lags at which the run and a Brownian path first reach zero."""
    run = first_zero(curves.lags, curves["autocorrelation_mean"])
    walk = first_zero(curves.lags, curves["autocorrelation_brownian"])
    return f"Autocorrelation: zero by lag {exact(run)}; a Brownian path by lag {exact(walk)}"


def first_zero(lag: Floats, values: Floats) -> float:
    """The first lag at which a curve is no longer positive, or the last one."""
    below = np.flatnonzero(values <= 0)
    return float(lag[below[0]] if below.size else lag[-1])


def draw_displacement(figure: "Figure", curves: Curves) -> None:
    """Distance from the first checkpoint along the run."""
    axes = canvas.add_axes(
        figure, "distance from the first checkpoint, weight units", curves.step_title
    )
    canvas.theory(axes, curves.steps, walk_distance(curves))
    canvas.observed(axes, curves.steps, curves["displacement"])
    axes.set_ylim(bottom=0, top=1.25 * axes.get_ylim()[1])
    _along_the_run(axes, curves)
    canvas.label(axes, 0.02, 1.0, "this run", "observed")
    canvas.label(axes, 0.02, 0.92, "dotted: random walk with these increments", "null")


def walk_distance(curves: Curves) -> Floats:
    """Root mean square distance of a random walk whose increments have the lengths of this run's.

    ``sqrt(sum_{s < t} |y_s|^2)``; proportional to ``sqrt(t)`` while the lengths stay the same.
    """
    squares = np.cumsum(curves["increment_norm"] ** 2)
    distance: Floats = np.sqrt(np.r_[0.0, squares])
    return distance


def displacement_title(curves: Curves) -> str:
    """Title with the final distance."""
    return (
        f"Displacement: {number(curves['displacement'][-1])} at the end; a random walk of these "
        f"increments, {number(walk_distance(curves)[-1])}"
    )


def draw_turns(figure: "Figure", curves: Curves) -> None:
    """Cosine between neighbouring increments along the run."""
    axes = canvas.add_axes(figure, "cosine between neighbouring increments", curves.step_title)
    at = curves.steps[1:-1]
    canvas.null_mean(axes, at, np.zeros_like(at))
    canvas.observed(axes, at, curves["increment_cosine"])
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.22 * (high - low))
    _along_the_run(axes, curves)
    axes.set_yticks([tick for tick in axes.get_yticks() if abs(tick) <= 1 and low <= tick <= high])
    canvas.label(axes, 0.02, 1.0, "this run", "observed")
    canvas.label(axes, 0.98, 1.0, "dashed: random walk, 0", "null", ha="right")


def turns_title(curves: Curves) -> str:
    """Title with the share of turns that go back."""
    cosine = curves["increment_cosine"]
    known = cosine[np.isfinite(cosine)]
    return (
        f"Turning: {percent(float(np.mean(known < 0)))} of {counted(known.size, 'turn')} point "
        f"back; mean cosine {decimal(float(known.mean()))}"
    )


def _slope_labels(axes: "Axes", lag: Floats, growth: Floats, high: float) -> None:
    """Names of the dotted slopes, where neither they nor the observed curve are in the way."""
    end_of_two = min(float(lag[-1]), high**0.5)
    beside = {"va": "top", "transform": axes.transData}
    if end_of_two < lag[-1] ** 0.4:
        canvas.label(axes, end_of_two * 1.1, high, "slope 2, straight line", "null", **beside)
    else:
        canvas.label(
            axes, end_of_two * 0.88, high, "slope 2, straight line", "null", **beside, ha="right"
        )
    end_of_one = min(float(lag[-1]), high)
    # The size of the words on the logarithmic axes, as ratios.
    width, height = lag[-1] ** 0.36, high**0.09
    for power in (0.62, 0.75, 0.5, 0.4):
        place = end_of_one**power
        if _free(lag, growth, (place, place * width * 1.2), (place / height, place)):
            canvas.label(axes, place * 1.15, place, "slope 1, random walk", "null", **beside)
            return
    place = end_of_one**0.92
    canvas.label(
        axes, place * 0.9, place, "slope 1, random walk", "null",
        transform=axes.transData, ha="right", va="bottom",
    )  # fmt: skip


def _free(
    lag: Floats, growth: Floats, across: tuple[float, float], up: tuple[float, float]
) -> bool:
    """Whether the curve keeps out of a box."""
    x = np.geomspace(*across, 50)
    y = np.interp(x, lag, growth)
    return across[1] <= 1.3 * lag[-1] and not np.any((y >= up[0] * 0.9) & (y <= up[1] * 1.02))


def _along_the_run(axes: "Axes", curves: Curves) -> None:
    axes.set_xlim(curves.window.first, curves.window.last)
    canvas.plain_ticks(axes.xaxis, 5)
    canvas.plain_ticks(axes.yaxis)
