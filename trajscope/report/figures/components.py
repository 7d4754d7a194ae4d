"""Figures of the trajectory's principal components."""

from typing import TYPE_CHECKING

import numpy as np

from trajscope.report.content.curves import MOST_POINTS, Curves, Floats
from trajscope.report.content.numbers import percent
from trajscope.report.figures import canvas
from trajscope.report.figures.palette import TIME, light

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_BARS = 8
"""Components whose share is drawn."""


def draw_components(figure: "Figure", curves: Curves) -> None:
    """The path in its leading plane, and the variance along each component."""
    _draw_plane(
        canvas.add_axes(figure, "PC 2", "PC 1", box=(0.02, 0.1, 0.55, 0.8)),
        curves,
    )
    axes = canvas.add_axes(figure, "PC", "% of variance", box=(0.655, 0.155, 0.325, 0.745))
    draw_shares(
        axes,
        100 * curves["explained_variance"][:MOST_BARS],
        100 * curves["explained_variance_brownian"][:MOST_BARS],
    )
    canvas.label(axes, 0.98, 0.40, "bar: this run", "observed", ha="right")
    canvas.label(axes, 0.98, 0.31, "tick: random walk", "null", ha="right")


def components_title(curves: Curves) -> str:
    """Title with the share of the first three components."""
    shares, walk = curves["explained_variance"], curves["explained_variance_brownian"]
    several = min(3, shares.size)
    first = {1: "the first holds", 2: "the first two hold", 3: "the first three hold"}[several]
    return (
        f"Principal components: {first} {percent(float(shares[:several].sum()))} of the variance, "
        f"a random walk's {percent(float(walk[:several].sum()))}"
    )


def random_walk_arch(curves: Curves) -> tuple[Floats, Floats]:
    """The curve that a random walk with this run's variance draws in its own leading plane.

    ``sqrt(2 v_k) cos(pi k t)``, k = 1, 2, with v_k the variance along component k; the signs are
    those of this run, since a component's sign is arbitrary.
    """
    scores = curves["principal_component"][:, :2]
    share = curves["explained_variance"][0]
    total = scores[:, 0].var() / share if share > 0 else 0.0
    time = (np.arange(len(scores)) + 0.5) / len(scores)
    arch = []
    for k in (1, 2):
        wave = np.sqrt(2 * total * curves["explained_variance_brownian"][k - 1])
        wave = wave * np.cos(np.pi * k * time)
        arch.append(wave if wave @ scores[:, k - 1] >= 0 else -wave)
    return arch[0], arch[1]


def draw_shares(axes: "Axes", shares: Floats, walk: Floats) -> None:
    """Variance along each component as bars, that of a random walk as ticks, both in percent."""
    number = np.arange(1, shares.size + 1)
    axes.barh(number, shares, height=0.62, color=light("observed"))
    axes.vlines(walk, number - 0.42, number + 0.42, color=light("ink"), linewidth=1.8, zorder=4)
    axes.set_ylim(shares.size + 0.6, 0.4)
    axes.set_yticks(number)
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(0, 1.06 * max(float(shares.max()), float(walk.max())))
    canvas.plain_ticks(axes.xaxis, 4)


def drawn_stride(n_steps: int) -> int:
    """Every how many checkpoints the plane shows one."""
    return -(-n_steps // MOST_POINTS)


def strided(n_steps: int) -> str:
    """A sentence for the caption of a path that is too long to be drawn whole."""
    stride = drawn_stride(n_steps)
    return f" One checkpoint in {stride} is drawn." if stride > 1 else ""


def _draw_plane(axes: "Axes", curves: Curves) -> None:
    scores = curves["principal_component"][:, :2]
    shown = scores[:: drawn_stride(len(scores))]
    axes.spines[:].set_visible(False)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.axhline(0, color=light("rule"), linewidth=1, zorder=1)
    axes.axvline(0, color=light("rule"), linewidth=1, zorder=1)
    # Above the path, which would hide it; never binned, since its x is no function's argument.
    arch = [wave[:: drawn_stride(len(scores))] for wave in random_walk_arch(curves)]
    axes.plot(*arch, color=light("ink"), linewidth=1.7, linestyle=":", zorder=3.5)
    cuts = np.linspace(0, len(shown) - 1, len(TIME) + 1).astype(int)
    for (colour, _), start, stop in zip(TIME, cuts[:-1], cuts[1:], strict=True):
        part = shown[start : stop + 1]
        axes.plot(part[:, 0], part[:, 1], color=colour, linewidth=1.6, zorder=3)
    first, last = scores[0], scores[-1]
    ring, disc = TIME[0][0], TIME[-1][0]
    face = light("background")
    axes.plot(*first, "o", mfc=face, mec=ring, mew=2, ms=8, zorder=4)
    axes.plot(*last, "o", mfc=disc, mec=disc, ms=8, zorder=4)
    # To both sides, since a confined path ends near where it began.
    for point, word, away, side in ((first, "first", -8, "right"), (last, "last", 8, "left")):
        axes.annotate(
            word, point, (away, 0), textcoords="offset points", va="center", ha=side, zorder=5,
            color=light("ink"),
        )  # fmt: skip
    axes.margins(0.16, 0.08)
    axes.set_aspect("equal", adjustable="datalim")
    canvas.label(axes, 1.0, 1.075, "dotted: random walk", "null", ha="right", va="center")
