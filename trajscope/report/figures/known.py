"""Four processes with known answers, in closed form; the same strip in every report."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trajscope.report.content.curves import Floats
from trajscope.report.figures import canvas

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LONGEST = 100
"""Lags shown, in checkpoints."""


@dataclass(frozen=True)
class Process:
    """A process whose mean squared displacement is known, up to a factor.

    Attributes
    ----------
    displacement :
        ``lag -> mean squared displacement``, lags in checkpoints.
    """

    name: str
    displacement: Callable[[Floats], Floats]


def random_walk(lag: Floats) -> Floats:
    """``q``: independent increments."""
    return lag


def confined(lag: Floats) -> Floats:
    """``1 - exp(-q / tau)``: an Ornstein-Uhlenbeck process in a well, tau = 6 checkpoints."""
    return 1 - np.exp(-lag / 6)


def rotating(lag: Floats) -> Floats:
    """``1 - exp(-a q) cos(w q)``: the same in a plane where it also turns, w/a = 5, period 30."""
    turn = 2 * np.pi / 30
    return 1 - np.exp(-turn * lag / 5) * np.cos(turn * lag)


def persistent(lag: Floats) -> Floats:
    """``q (1 + f)/(1 - f) - 2 f (1 - f^q)/(1 - f)^2``: increments that remember, f = 0.9.

    The increments are an AR(1) process with coefficient f, like those of momentum.
    """
    f = 0.9
    return lag * (1 + f) / (1 - f) - 2 * f * (1 - f**lag) / (1 - f) ** 2


PROCESSES = (
    Process("random walk", random_walk),
    Process("confined, τ = 6", confined),
    Process("circulating, period 30", rotating),
    Process("with momentum, 0.9", persistent),
)


def known_columns() -> dict[str, Floats]:
    """The curves that are drawn."""
    lag = np.geomspace(1, LONGEST, 120)
    return {"lag": lag} | {
        each.name: each.displacement(lag) / each.displacement(np.ones(1)) for each in PROCESSES
    }


def draw_known(figure: "Figure") -> None:
    """One panel per process, all on the same axes as figure 1."""
    curves = known_columns()
    lag = curves["lag"]
    for place, process in enumerate(PROCESSES):
        title = "mean squared displacement" if place == 0 else ""
        axes = canvas.add_axes(
            figure, title, "lag, checkpoints" if place == 0 else "",
            box=(0.045 + 0.243 * place, 0.24, 0.215, 0.62),
        )  # fmt: skip
        axes.set_xscale("log")
        axes.set_yscale("log")
        canvas.theory(axes, lag, lag)
        canvas.observed(axes, lag, curves[process.name], by_ratio=True)
        axes.set_xlim(1, LONGEST)
        axes.set_ylim(0.8, 3000)
        canvas.log_ticks(axes.xaxis, 1, 50)
        canvas.log_ticks(axes.yaxis, 0.8, 3000)
        if place:
            axes.set_yticklabels([])
        canvas.label(axes, 0.05, 0.97, process.name, "ink")
