"""The size of the increments along the run, and where the noise changes its scale."""

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from trajscope.report.content.curves import Curves, Floats
from trajscope.report.content.numbers import exact, number
from trajscope.report.figures import canvas
from trajscope.report.figures.palette import light

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_NAMED: Final = 2


def relative_size(curves: Curves) -> Floats:
    """(interval,) squared length of every increment over its mean."""
    squared = curves["increment_norm"] ** 2
    relative: Floats = squared / squared.mean()
    return relative


@dataclass(frozen=True)
class NoiseChange:
    """How the variance of the noise changes along the run.

    Attributes
    ----------
    steps : (change,)
        From which on it is another one; none where it changes gradually.
    ratio :
        The last variance over the first.
    """

    steps: tuple[float, ...]
    ratio: float


def noise_change(curves: Curves) -> NoiseChange | None:
    """What the verdict says of it, `None` where the noise is steady."""
    if curves.verdict is None or "change" not in curves.verdict.evidence:
        return None
    told, evidence = curves.verdict.noise, curves.verdict.evidence
    if told:
        steps = tuple(told["change_steps"]) if told["kind"] == "steps" else ()
        return NoiseChange(steps, float(told["ratio"]))
    first = curves.steps[:: curves.stride][round(evidence["change"])]
    return NoiseChange((float(first),), evidence["noise_ratio"])


def draw_increment_size(figure: "Figure", curves: Curves) -> None:
    """Squared increments along the run; where the noise steps, the level of every side."""
    at, size = curves.steps[:-1], relative_size(curves)
    axes = canvas.add_axes(figure, "squared increment, mean = 1", curves.step_title)
    axes.set_yscale("log")
    positive = size[size > 0]
    low, high = 0.4 * float(positive.min()), 3.5 * float(positive.max())
    canvas.null_mean(axes, at, np.ones_like(at))
    canvas.observed(axes, at, np.where(size > 0, size, np.nan))
    change = noise_change(curves)
    steps = change.steps if change else ()
    for first, stop in pairwise((at[0], *steps, np.inf)) if steps else ():
        side = (at >= first) & (at < stop)
        level = float(size[side].mean())
        axes.plot(at[side][[0, -1]], [level, level], color=light("outside"), lw=2.6, zorder=3.6)
        if first > at[0]:
            axes.axvline(first, color=light("outside"), linewidth=1.6, zorder=3.4)
    axes.set_xlim(curves.window.first, curves.window.last)
    axes.set_ylim(low, high)
    canvas.plain_ticks(axes.xaxis, 5)
    canvas.log_ticks(axes.yaxis, low, high)
    canvas.label(axes, 0.02, 1.0, "this run", "observed")
    canvas.label(axes, 0.98, 1.0, "dashed: steady noise", "null", ha="right")
    if steps:
        canvas.label(axes, 0.98, 0.02, "orange: change, and mean of each side", "outside-text",
                     ha="right", va="bottom")  # fmt: skip


def increment_size_title(curves: Curves) -> str:
    """Title with the change, or with the p-value of a steady scale, or the range."""
    told = curves.verdict.evidence if curves.verdict else {}
    change = noise_change(curves)
    if change is not None:
        way, by = ("rises", change.ratio) if change.ratio > 1 else ("falls", 1 / change.ratio)
        places = ", ".join(exact(each) for each in change.steps[:_MOST_NAMED])
        more = ", ..." if len(change.steps) > _MOST_NAMED else ""
        where = f"at {curves.window.unit} {places}{more}" if places else "gradually"
        return f"Increment size: variance {way} {number(by)}-fold {where}"
    if "noise_scale" in told:
        return f"Increment size: no change of noise variance seen, p = {told['noise_scale']:.2g}"
    size = relative_size(curves)
    return (
        f"Increment size: squares from {number(size.min(), 2)} to {number(size.max(), 2)} of mean"
    )
