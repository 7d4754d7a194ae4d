"""Figures of the tests: each statistic beside what its null gives."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from trajscope.report.content.curves import Curves, Floats
from trajscope.report.content.numbers import counted, number, percent
from trajscope.report.content.standings import Standing, standings
from trajscope.report.content.verdict import UNUSED
from trajscope.report.figures import canvas
from trajscope.report.figures.palette import light
from trajscope.schema import GROUP

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_GROUPS = 15
"""Groups whose exponents are drawn; more would not be readable."""
_FARTHEST = 4.0
"""Times the mark of its null at which a statistic is drawn at most."""
_NAMES = 190.0
"""Pixels of the longest name of a group at most."""


def draw_variance_ratio(figure: "Figure", curves: Curves) -> None:
    """Variance ratio against length, with the permutation mean and the simultaneous band."""
    q, ratio = curves.scales, curves.tested("variance_ratio")
    mean, low, high = (curves.tested(f"variance_ratio_{edge}") for edge in ("null", "low", "high"))
    axes = canvas.add_axes(
        figure, "variance ratio VR(q)", "length q of a displacement, checkpoints"
    )
    axes.set_xscale("log")
    axes.set_yscale("log")
    shown = np.concatenate([ratio[ratio > 0], mean[mean > 0], high[high > 0], low[low > 0.05]])
    shown = shown if shown.size else np.ones(1)  # all increments are equal
    # Room above for the labels, more where the curves take up more.
    decades = np.log10(shown.max() / shown.min())
    bottom = float(shown.min()) * 10 ** (-0.1 * decades - 0.05)
    top = float(shown.max()) * 10 ** (0.3 * decades + 0.1)
    canvas.null_band(axes, q, np.maximum(low, bottom), high)
    canvas.null_mean(axes, q, mean)
    canvas.observed_beside_band(axes, q, ratio, low, high)
    axes.set_xlim(q[0] * 0.97, max(q[-1], 1.1 * q[0]) * 1.03)
    axes.set_ylim(bottom, top)
    canvas.log_ticks(axes.xaxis, float(q[0]), float(q[-1]))
    canvas.log_ticks(axes.yaxis, bottom, top)
    canvas.label(axes, 0.02, 1.0, "this run", "observed")
    canvas.label(axes, 0.98, 1.0, f"grey: {_share(curves)} of Brownian runs", "null", ha="right")
    canvas.label(axes, 0.98, 0.92, "dashed: their mean", "null", ha="right")


def variance_ratio_title(curves: Curves) -> str:
    """Title with the length at which the ratio is farthest outside, or how many are inside."""
    q, ratio = curves.scales, curves.tested("variance_ratio")
    mean, low, high = (curves.tested(f"variance_ratio_{edge}") for edge in ("null", "low", "high"))
    beyond = np.fmax(ratio - high, low - ratio) / np.maximum(high - low, 1e-12)
    if not np.any(mean > 0):
        return "Variance ratio: undefined, since all increments are equal"
    if not np.any(beyond > 0):
        return f"Variance ratio: inside the Brownian band at all {counted(q.size, 'length')}"
    worst = int(beyond.argmax())
    return (
        f"Variance ratio: {number(ratio[worst], 2)} at {counted(q[worst], 'checkpoint')}, "
        f"where Brownian runs give {number(mean[worst], 2)}"
    )


def power(curves: Curves) -> tuple[Floats, Floats]:
    """Frequencies and pooled increment power over its mean: what was tested, where it was."""
    if curves.is_tested("relative_power"):
        return curves.tested_frequencies, curves.tested("relative_power")
    measured = curves["increment_periodogram"]
    return curves.frequencies, measured / measured.mean()


def draw_periodogram(figure: "Figure", curves: Curves) -> None:
    """Power of the increments summed over weights, relative to its mean, with its band."""
    frequency, relative = power(curves)
    axes = canvas.add_axes(
        figure, "power of increments, mean = 1", "frequency, cycles per checkpoint"
    )
    axes.set_yscale("log")
    level = np.ones_like(frequency)
    canvas.null_mean(axes, frequency, level)
    edges = relative[relative > 0]
    if curves.is_tested("relative_power"):
        low, high = _power_band(curves)
        canvas.null_band(axes, frequency, low * level, high * level)
        canvas.observed_beside_band(axes, frequency, relative, low * level, high * level)
        edges = np.append(edges, [low, high])
        null = f"grey: {_share(curves)} of Brownian runs; dashed: mean"
    else:
        canvas.observed(axes, frequency, relative)
        null = "dashed: random walk, on average"
    bottom, top = 0.4 * float(edges.min()), 3.5 * float(edges.max())
    axes.set_xlim(0, 0.5 if frequency[-1] > 0.25 else float(frequency[-1]))
    axes.set_ylim(bottom, top)
    canvas.log_ticks(axes.yaxis, bottom, top)
    canvas.label(axes, 0.98, 1.0, "this run, summed over weights", "observed", ha="right")
    canvas.label(axes, 0.02, 0.02, null, "null", va="bottom")


def periodogram_title(curves: Curves) -> str:
    """Title with the number of frequencies outside the band, or with the share of slow power."""
    _, relative = power(curves)
    if not curves.is_tested("relative_power"):
        lowest = max(relative.size // 10, 1)
        share = float(relative[:lowest].sum() / relative.sum())
        return (
            f"Increment power: {percent(share)} in the slowest {percent(lowest / relative.size)} "
            "of frequencies"
        )
    low, high = _power_band(curves)
    outside = int(np.sum((relative < low) | (relative > high)))
    if not outside:
        return f"Increment power: inside the Brownian band at all {relative.size:,} frequencies"
    return (
        f"Increment power: outside the Brownian band at {outside:,} of {relative.size:,} "
        "frequencies"
    )


def drawn_groups(curves: Curves) -> list[int]:
    """Numbers of the groups whose exponents are drawn: all weights, and those farthest off."""
    columns = exponents(curves)
    off = np.abs(columns["exponent"] - columns["brownian_median"])[1:]
    farthest = 1 + np.argsort(-np.nan_to_num(off), kind="stable")[: MOST_GROUPS - 1]
    return [0, *sorted(farthest.tolist())]


def draw_exponents(figure: "Figure", curves: Curves) -> None:
    """The diffusion exponent of all weights and of every group, each beside its null."""
    shown = drawn_groups(curves)
    names, wide = canvas.row_names(curves.tests[GROUP].values[shown].tolist(), _NAMES)
    left = max(0.23, (12 + wide) / canvas.HALF[0])
    axes = canvas.add_axes(figure, "", "diffusion exponent", box=(left, 0.155, 0.98 - left, 0.745))
    columns = exponents(curves)
    low, high, null, found = (
        columns[name][shown]
        for name in ("brownian_low", "brownian_high", "brownian_median", "exponent")
    )
    place = np.arange(len(shown), dtype=np.float64)
    height = 0.62 if len(shown) > 3 else 0.3
    axes.barh(place, high - low, left=low, height=height, color=light("band"), zorder=1)
    axes.vlines(null, place - height / 2, place + height / 2, color=light("null"),
                linewidth=1.3, zorder=2, linestyles="dashed")  # fmt: skip
    _points(axes, found, place, (found < low) | (found > high))
    for walk in (0.0, 1.0, 2.0):
        axes.axvline(walk, color=light("null"), linewidth=1.2, linestyle=":", zorder=0.5)
    known = np.concatenate([found, low, high])
    known = known[np.isfinite(known)]
    axes.set_xlim(min(-0.1, known.min() - 0.1), max(2.3, known.max() + 0.1))
    axes.set_ylim(len(shown) - 0.4, -1.1)
    axes.set_yticks(place, names)
    axes.tick_params(axis="y", length=0)
    canvas.plain_ticks(axes.xaxis)
    for walk, word in ((0.0, "well"), (1.0, "random walk"), (2.0, "straight line")):
        axes.text(walk, -1.12, word, color=light("null"), ha="center", va="bottom")


def exponents_title(curves: Curves) -> str:
    """Title with the exponent of all weights and the interval of its null."""
    found, low, high = (
        float(curves.tested(f"diffusion_exponent{edge}")) for edge in ("", "_low", "_high")
    )
    return (
        f"Diffusion exponent: {number(found, 2)}; Brownian runs of this length give "
        f"{number(low, 2)} to {number(high, 2)}"
    )


def exponents(curves: Curves) -> dict[str, Floats]:
    """The exponent of every group, all weights first, and the interval of its null."""
    edges = {"exponent": "", "brownian_median": "_null", "brownian_low": "_low",
             "brownian_high": "_high"}  # fmt: skip
    return {
        name: np.asarray(curves.tests[f"diffusion_exponent{edge}"].values, dtype=np.float64)
        for name, edge in edges.items()
    }


def standing(curves: Curves) -> tuple[Standing, ...]:
    """The tests that were asked of all weights."""
    alpha = float("nan") if curves.verdict is None else curves.verdict.alpha
    return standings(curves.tests, alpha)


def draw_standings(figure: "Figure", curves: Curves) -> None:
    """Every statistic of all weights on the scale of its own null."""
    axes = canvas.add_axes(
        figure, "", "median of the null 0, its edge 1", box=(0.29, 0.155, 0.47, 0.745)
    )
    found = standing(curves)
    place = np.arange(len(found), dtype=np.float64)
    ratio = np.array([one.ratio for one in found])
    farthest = min(_FARTHEST, 1.15 * max(1.3, float(np.nanmax(ratio, initial=1.3))))
    axes.barh(place, 1.6, left=-0.6, height=0.5, color=light("band"), zorder=1)
    axes.axvline(1, color=light("null"), linewidth=1.3, zorder=2, dashes=(5, 3))
    _points(axes, np.clip(ratio, -0.6, farthest), place, np.array([one.spoke for one in found]))
    for number_, one in enumerate(found):
        beyond = f"{number(one.ratio, 2)} → " if one.ratio > farthest else ""
        role = "outside-text" if one.spoke else "second"
        told = f"p = {one.p_value:.2g}" if one.is_used else UNUSED
        axes.text(
            1.02, number_, f"{beyond}{told}", color=light(role), va="center",
            transform=axes.get_yaxis_transform(),
        )  # fmt: skip
    axes.set_xlim(-0.65, farthest + 0.1)
    axes.set_ylim(max(len(found), 3) - 0.4, -0.9)
    axes.set_yticks(place, [one.label for one in found])
    axes.tick_params(axis="y", length=0)
    canvas.plain_ticks(axes.xaxis, 5)
    canvas.label(axes, 1.0, 1.0, f"{_share(curves)} of draws end at 1", "null", ha="left",
                 va="bottom", transform=axes.get_xaxis_transform())  # fmt: skip


def standings_title(curves: Curves) -> str:
    """Title with the statistic that reaches farthest."""
    known = [one for one in standing(curves) if np.isfinite(one.ratio) and one.is_used]
    share = _share(curves)
    if not known:
        return f"Every test: none of {len(standing(curves))} has a mark that counts here"
    first = max(known, key=lambda one: one.ratio)
    return f"Every test: {first.label} reaches {number(first.ratio, 2)} times its {share} mark"


def _points(axes: "Axes", x: Floats, y: Floats, outside: NDArray[np.bool_]) -> None:
    """Discs inside, diamonds outside: never told apart by colour alone."""
    axes.plot(x[~outside], y[~outside], "o", color=light("observed"), markersize=7, zorder=4)
    axes.plot(x[outside], y[outside], "D", color=light("outside"), markersize=7, zorder=4)


def _power_band(curves: Curves) -> tuple[float, float]:
    return (
        float(curves.tested("relative_power_low")),
        float(curves.tested("relative_power_high")),
    )


def _share(curves: Curves) -> str:
    return percent(1 - curves.verdict.alpha) if curves.verdict else "a share"
