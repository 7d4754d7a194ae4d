"""The figure of the trainer's own log: loss and learning rate along the run."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import numpy as np

from trajscope.report.content.curves import Curves, Floats
from trajscope.report.content.numbers import exact, number
from trajscope.report.figures import canvas
from trajscope.report.figures.palette import light
from trajscope.report.figures.record import Columns, Obstacle, Plot
from trajscope.schema import LEARNING_RATE, STEP

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDE_RANGE: Final = 10.0
"""Largest over smallest value from which an axis is logarithmic."""
_LEFT, _RIGHT = (0.105, 0.155, 0.37, 0.745), (0.61, 0.155, 0.37, 0.745)
_WHOLE: Final = (0.105, 0.155, 0.875, 0.745)
_LOSSES: Final = ("loss", "validation_loss")


def draw_log(figure: "Figure", curves: Curves) -> None:
    """Losses at the left, learning rate at the right."""
    losses = {name: _logged(curves, name) for name in _LOSSES if name in curves.log}
    rates = _rate(curves)
    left, right = (_LEFT, _RIGHT) if losses and rates[0].size else (_WHOLE, _WHOLE)
    if losses:
        axes = canvas.add_axes(figure, "loss, as logged", curves.step_title, box=left)
        for place, (name, (steps, values)) in enumerate(losses.items()):
            if name == "loss":
                canvas.observed(axes, steps, values)
            else:
                axes.plot(steps, values, "o-", color=light("ink"), lw=1.1, ms=3, zorder=4)
            word = {"loss": "training", "validation_loss": "dots: validation"}[name]
            role = "observed" if name == "loss" else "ink"
            canvas.label(axes, 0.98, 1.0 - 0.08 * place, word, role, ha="right")
        _limit(axes, curves, np.concatenate([values for _, values in losses.values()]))
    if rates[0].size:
        axes = canvas.add_axes(figure, "learning rate", curves.step_title, box=right)
        steps, values = rates
        # A rate holds until the next is told.
        axes.step(steps, values, where="post", color=light("observed"), lw=1.9, zorder=3)
        _limit(axes, curves, values)


def log_title(curves: Curves) -> str:
    """Title with the first and the last of what is drawn."""
    told: list[tuple[str, Callable[[float], str], Floats]] = [
        (word, number, _logged(curves, name)[1])
        for name, word in (("loss", "loss"), ("validation_loss", "validation"))
        if name in curves.log
    ]
    told.append(("learning rate", _three_digits, _rate(curves)[1]))
    words = [
        f"{word} {said(values[0])}" + ("" if values[0] == values[-1] else f" to {said(values[-1])}")
        for word, said, values in told
        if values.size
    ]
    return f"Training log: {', '.join(words)}"


def log_columns(curves: Curves) -> Columns:
    """What was logged, at every step where anything was; without a log, rates of checkpoints."""
    if not _has_log(curves):
        steps, rates = _rate(curves)
        return {"step": steps, LEARNING_RATE: rates}
    names = [name for name in (*_LOSSES, LEARNING_RATE) if name in curves.log]
    return {name: _floats(curves.log[name].values) for name in (STEP, *names)}


def no_log(curves: Curves) -> Obstacle | None:
    """Why there is nothing to draw, or `None`."""
    if _has_log(curves) or _rate(curves)[0].size:
        return None
    return Obstacle(
        "No log of the trainer lies with the checkpoints.",
        "keep trainer_state.json (transformers) or metrics.csv (Lightning's CSVLogger) beside "
        "them; --lr-schedule gives the learning rate alone.",
    )


def log_source(curves: Curves) -> str:
    """A sentence on where it is from."""
    if _has_log(curves):
        return f" Read from {curves.log.attrs.get('source', 'the log')}."
    return " The learning rate is that of the checkpoints; no log of the loss was found."


def _three_digits(value: float) -> str:
    return exact(float(f"{value:.3g}"))


def _has_log(curves: Curves) -> bool:
    return STEP in curves.log and curves.log.sizes[STEP] > 0


def _logged(curves: Curves, name: str) -> tuple[Floats, Floats]:
    steps, values = _floats(curves.log[STEP].values), _floats(curves.log[name].values)
    known = np.isfinite(values)
    return steps[known], values[known]


def _rate(curves: Curves) -> tuple[Floats, Floats]:
    """The logged rates; else those known of the checkpoints."""
    if LEARNING_RATE in curves.log:
        return _logged(curves, LEARNING_RATE)
    known = np.isfinite(curves.rates)
    return curves.steps[known], curves.rates[known]


def _limit(axes: "Axes", curves: Curves, values: Floats) -> None:
    low, high = float(values.min()), float(values.max())
    if low > 0 and high > _WIDE_RANGE * low:
        axes.set_yscale("log")
        axes.set_ylim(low / 1.3, high * 1.8)
        canvas.log_ticks(axes.yaxis, low / 1.3, high * 1.8)
    else:
        room = 0.08 * (high - low) or 0.5 * abs(high) or 1.0
        axes.set_ylim(low - room, high + 2.5 * room)
        canvas.plain_ticks(axes.yaxis, 5)
    axes.set_xlim(curves.window.first, curves.window.last)
    canvas.plain_ticks(axes.xaxis, 3)


def _floats(values: object) -> Floats:
    return np.asarray(values, dtype=np.float64)


LOGGED: Final = Plot(
    "training-log",
    "Training log",
    (),
    2,
    draw_log,
    log_title,
    "Loss and learning rate as the trainer logged them between the first checkpoint and the last.",
    "the other figures at the same step: a step of the rate is a step of the increments' size. A "
    "loss that falls while the verdict is no drift falls by noise that shrinks, or along "
    "directions too small to see; a logged loss is that of one batch, or a mean of several.",
    "as logged",
    log_columns,
    absent=no_log,
    thinned=log_source,
)
