"""Every figure of the report, and which of them shows what decided."""

from collections.abc import Mapping
from typing import Any

from trajscope.report.content.curves import MOST_POINTS, Curves
from trajscope.report.figures import components as plots_components
from trajscope.report.figures import curves as plots_curves
from trajscope.report.figures import increments as plots_increments
from trajscope.report.figures import null as plots_null
from trajscope.report.figures.canvas import HALF, WIDE, drawing
from trajscope.report.figures.known import LONGEST, draw_known, known_columns
from trajscope.report.figures.log import LOGGED
from trajscope.report.figures.norms import DISTANCES, NORM
from trajscope.report.figures.portrait import PORTRAIT
from trajscope.report.figures.record import Columns, PartPlot, Plot, in_numbers, obstacle
from trajscope.report.figures.river import RIVER
from trajscope.report.figures.tested import CIRCULATION, EXPONENTS, STANDINGS, VARIANCE_RATIO
from trajscope.report.figures.updates import UPDATES


def svg(plot: Plot | PartPlot, found: Any) -> str:
    """The figure as inline SVG, with its title and its numbers for those who cannot see it.

    Parameters
    ----------
    found :
        `Curves`, or the part that is drawn.
    """
    return drawing(
        plot.name,
        plot.title(found),
        lambda figure: plot.draw(figure, found),
        size=HALF if plot.height is None else (WIDE, plot.height(found)),
        description=in_numbers(plot.columns(found)),
    )


def in_order(curves: Curves) -> tuple[Plot, ...]:
    """The figures as they stand on the page: what decided, the others, those that are not drawn."""
    name = _DECIDING.get(curves.verdict.code, "") if curves.verdict else ""
    first = next((plot for plot in FIGURES if plot.name == name), _UNDECIDED)
    if obstacle(first, curves) is not None:
        first = _UNDECIDED
    rest = [plot for plot in FIGURES if plot is not first]
    return (first, *sorted(rest, key=lambda plot: obstacle(plot, curves) is not None))


def known_processes_svg() -> str:
    """The strip of four processes with known answers."""
    title = (
        "Mean squared displacement of a random walk, a confined, a circulating and a momentum "
        f"process to lag {LONGEST}"
    )
    description = in_numbers(known_columns())
    return drawing("known", title, draw_known, size=(WIDE, 190), description=description)


def caption(plot: Plot, curves: Curves) -> str:
    """The caption, with what was done to curves too long to be drawn point by point."""
    if plot.thinned is not None:
        return f"{plot.caption}{plot.thinned(curves)}"
    longest = max(column.size for column in plot.columns(curves).values())
    if longest <= MOST_POINTS:
        return plot.caption
    return (
        f"{plot.caption} The {longest:,} points lie in {MOST_POINTS} bins: the thick line goes "
        "through their means, thin bars from lowest to highest."
    )


def _displacement_growth(curves: Curves) -> Columns:
    return {
        "lag_checkpoints": curves.lags,
        "mean_squared_displacement": curves["mean_squared_displacement"],
    }


def _increment_fft(curves: Curves) -> Columns:
    return {
        "cycles_per_checkpoint": curves.frequencies,
        "increment_fft_mean": curves["increment_fft_mean"],
        "increment_fft_sd": curves["increment_fft_sd"],
    }


def _autocorrelation(curves: Curves) -> Columns:
    return {
        "lag_checkpoints": curves.lags,
        "autocorrelation_mean": curves["autocorrelation_mean"],
        "autocorrelation_sd": curves["autocorrelation_sd"],
        "autocorrelation_sd_error": curves["autocorrelation_sd_error"],
        "autocorrelation_brownian": curves["autocorrelation_brownian"],
    }


def _periodogram(curves: Curves) -> Columns:
    frequency, relative = plots_null.power(curves)
    return {"cycles_per_checkpoint": frequency, "relative_power": relative}


def _increment_size(curves: Curves) -> Columns:
    return {
        "step": curves.steps[:-1],
        "relative_squared_increment": plots_increments.relative_size(curves),
    }


def _components(curves: Curves) -> Columns:
    scores = curves["principal_component"]
    return {"step": curves.steps} | {f"pc_{k + 1}": scores[:, k] for k in range(2)}


def _displacement(curves: Curves) -> Columns:
    return {
        "step": curves.steps,
        "displacement": curves["displacement"],
        "random_walk": plots_curves.walk_distance(curves),
    }


def _turns(curves: Curves) -> Columns:
    return {"step": curves.steps[1:-1], "increment_cosine": curves["increment_cosine"]}


FIGURES: tuple[Plot, ...] = (
    UPDATES,
    LOGGED,
    NORM,
    DISTANCES,
    RIVER,
    VARIANCE_RATIO,
    Plot(
        "periodogram",
        "Increment power",
        ("increment_periodogram",),
        8,
        plots_null.draw_periodogram,
        plots_null.periodogram_title,
        "Periodogram of the increments, summed over weights, so that weights that move more count "
        "more; relative to its mean, unsmoothed.",
        "the dashed level of a random walk; whole spectra of Brownian runs stay in a band. A rise "
        "towards high frequency marks a well, or rounding; it is no sign of a loop.",
        "I(j) = (1/n) Σ over weights of |FFT(y − mean y)(j)|², over its mean; band: least and "
        "largest ordinate of each permutation of the increments (Fisher 1929)",
        _periodogram,
    ),
    CIRCULATION,
    STANDINGS,
    EXPONENTS,
    Plot(
        "displacement-growth",
        "Mean squared displacement",
        ("mean_squared_displacement", "diffusion_exponent"),
        4,
        plots_curves.draw_displacement_growth,
        plots_curves.displacement_growth_title,
        "Squared distance between checkpoints that lie a lag apart, averaged over start times, "
        "summed over weights, in units of one mean squared increment.",
        "the dotted slopes. A curve that flattens is mean-reverting; long lags average few "
        "windows, and every run scatters there. Its power is fitted with the drift, to a quarter "
        "of the window; the diffusion exponent of the verdict has the mean increment removed.",
        "MSD(q) = mean over t of |x(t+q) − x(t)|²; the exponent is its slope on log axes",
        _displacement_growth,
    ),
    Plot(
        "increment-fft",
        "Increment spectrum",
        ("increment_fft_mean", "increment_fft_sd"),
        8,
        plots_curves.draw_increment_fft,
        plots_curves.increment_fft_title,
        "Amplitude of the increments' Fourier transform (the paper's Fig. 3a): mean over weights, "
        "thin lines one standard deviation over weights to each side, logarithmic.",
        "the dashed level of white noise. The paper's band assumes independent weights: a random "
        "walk in few directions leaves it too.",
        "|FFT(y − mean y)| of every weight, scaled to mean power 1 over j = 1..⌊n/2⌋; mean and "
        "standard deviation over the weights that move",
        _increment_fft,
    ),
    Plot(
        "autocorrelation",
        "Autocorrelation",
        (
            "autocorrelation_mean",
            "autocorrelation_sd",
            "autocorrelation_sd_error",
            "autocorrelation_brownian",
        ),
        8,
        plots_curves.draw_autocorrelation,
        plots_curves.autocorrelation_title,
        "Autocorrelation of the weights themselves (the paper's Fig. 3b): mean over weights, thin "
        "lines one standard deviation over weights to each side.",
        "the dashed Brownian path of the same length. The paper's band is that of white noise, "
        "which no Brownian path stays in.",
        "r(h) = Σ (x(t) − m)(x(t+h) − m) / Σ (x(t) − m)² of every weight, biased; mean and "
        "standard deviation over the weights that move; of more than 8,192 weights the latter is "
        "from a random sample, with its standard error in the data, unless the run was analyzed "
        "with --exact",
        _autocorrelation,
    ),
    Plot(
        "components",
        "Principal components",
        ("principal_component", "explained_variance", "explained_variance_brownian"),
        4,
        plots_components.draw_components,
        plots_components.components_title,
        "The path in its own first two components, dark to light in time, ring first, disc last; "
        "right, the share of variance along each component.",
        "the dotted arch and the ticks, which a random walk in many directions gives. An arch in "
        "this plane is not a loop.",
        "eigenvectors of the covariance of x over time; a random walk's shares are proportional "
        "to 1 / sin²(πk / 2T)",
        _components,
        thinned=lambda curves: plots_components.strided(curves.steps.size),
    ),
    Plot(
        "increment-size",
        "Increment size",
        ("increment_norm",),
        4,
        plots_increments.draw_increment_size,
        plots_increments.increment_size_title,
        "Squared length of every increment along the run, over all weights, logarithmic.",
        "the dashed mean, about which noise of one scale stays. Where the scale changes, no one "
        "verdict fits both sides.",
        "|y(t)|² over its mean; the change: largest CUSUM of |y|² against permutations",
        _increment_size,
    ),
    Plot(
        "displacement",
        "Displacement",
        ("displacement", "increment_norm"),
        3,
        plots_curves.draw_displacement,
        plots_curves.displacement_title,
        "Distance of every checkpoint from the first, over all weights.",
        "the dotted random walk with increments of the same lengths, √t while these stay equal. "
        "One random walk scatters about it by as much as itself when it moves in few directions.",
        "|x(t) − x(0)|; dotted, sqrt(Σ |y(s)|²) over s < t",
        _displacement,
    ),
    Plot(
        "turns",
        "Turning",
        ("increment_cosine",),
        4,
        plots_curves.draw_turns,
        plots_curves.turns_title,
        "Cosine of the angle between each increment and the next: 1 goes on, −1 goes back.",
        "zero, where a random walk in many directions stays. A well or rounding pulls it below, "
        "drift and momentum above.",
        "⟨y(t), y(t+1)⟩ / (|y(t)| |y(t+1)|)",
        _turns,
    ),
    PORTRAIT,
)
"""In the order of the page, but for the one that decided, which stands beside the headline."""

_DECIDING: Mapping[str, str] = {
    "too_short": "variance-ratio",
    "noise_scale_changes": "increment-size",
    "drifting": "displacement",
    "brownian": "variance-ratio",
    "confined": "variance-ratio",
    "circulating": "circulation",
    "oscillating": "periodogram",
    "course": "displacement",
    "anomalous": "displacement-growth",
    "alternating": "turns",
    "diverging": "increment-size",
}
"""Code of the verdict -> name of the figure that shows what decided."""
_UNDECIDED = next(plot for plot in FIGURES if plot.name == "displacement-growth")
