"""The page of a run that is still written: its verdict so far, its noise, its alarms."""

from dataclasses import dataclass
from importlib.metadata import version
from typing import Final

import numpy as np
import xarray as xr
from markupsafe import Markup
from numpy.typing import NDArray

from trajscope.report.content.numbers import number
from trajscope.report.content.watched import seen, walked
from trajscope.report.page.environment import stylesheet, template
from trajscope.schema import STEP

PAGE: Final = "watch.html"

Floats = NDArray[np.float64]

_WIDTH, _HEIGHT, _LEFT, _BELOW = 520, 220, 8, 22


@dataclass(frozen=True)
class Panel:
    """One drawing."""

    name: str
    title: str
    svg: Markup
    caption: str
    compare: str


def render_watch(state: xr.Dataset, *, seconds: int) -> str:
    """The page: everything inline, nothing fetched, no script; it reloads itself.

    Parameters
    ----------
    state :
        As `trajscope.analysis.watch.Watcher.look` gives it.
    seconds :
        Between two reloads.
    """
    told = seen(state)
    return template("watch.html").render(
        seconds=seconds,
        title=told.source,
        style=Markup(stylesheet()),
        source=told.source,
        word=told.word,
        sentence=told.sentence,
        alarms=told.alarms,
        hidden=told.hidden,
        panels=_panels(state) if state.sizes[STEP] > 1 else [],
        facts=told.facts,
        version=version("trajscope"),
    )


def _panels(state: xr.Dataset) -> list[Panel]:
    steps, n_weights = state[STEP].values, state.attrs["weights"]
    rms = state["increment"].values[1:] / np.sqrt(n_weights)
    far, walk = state["displacement"].values, walked(state)
    return [
        Panel(
            "noise",
            "Noise: length of the increments",
            _drawn(steps[1:], rms),
            "From each checkpoint to the next, root mean square over the weights.",
            "a level line, as noise of constant variance gives it.",
        ),
        Panel(
            "displacement",
            "Displacement from the first checkpoint",
            _drawn(steps, far, walk),
            "Distance of the weights. Dashed: of a random walk with the same increments.",
            "the dashed line. Above it the path drifts, below it something holds it back.",
        ),
    ]


def _drawn(
    steps: NDArray[np.float64],
    values: NDArray[np.float64],
    other: NDArray[np.float64] | None = None,
) -> Markup:
    """A curve from zero upward, and a dashed one beside it; the axes end at the largest values."""
    curves = [values] if other is None else [values, other]
    top = max(float(np.nanmax(each, initial=0.0)) for each in curves)
    if not np.isfinite(top) or top <= 0:
        top = 1.0
    span = float(steps[-1] - steps[0]) or 1.0
    x = _LEFT + (steps - steps[0]) / span * (_WIDTH - 2 * _LEFT)
    lines = [
        f'<polyline points="{_points(x, each / top)}" fill="none" stroke="var({colour})" '
        f'stroke-width="1.6"{dashes}/>'
        for each, colour, dashes in zip(
            curves, ("--observed", "--second"), ("", ' stroke-dasharray="5 4"'), strict=False
        )
    ]
    base = _HEIGHT - _BELOW
    text = 'font-size="13" fill="var(--second)"'
    last = f'text-anchor="end" {text}'
    return Markup(
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="100%" role="img" '
        f'aria-label="from 0 to {number(top, 2)}">'
        f'<path d="M{_LEFT} {base}H{_WIDTH - _LEFT}" stroke="var(--rule)"/>'
        f'<text x="{_LEFT}" y="13" {text}>{number(top, 3)}</text>'
        f'<text x="{_LEFT}" y="{_HEIGHT - 5}" {text}>step {steps[0]:g}</text>'
        f'<text x="{_WIDTH - _LEFT}" y="{_HEIGHT - 5}" {last}>{steps[-1]:g}</text>'
        f"{''.join(lines)}</svg>"
    )


def _points(x: Floats, share: Floats) -> str:
    y = _HEIGHT - _BELOW - np.nan_to_num(share) * (_HEIGHT - _BELOW - 20)
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x.tolist(), y.tolist(), strict=True))
