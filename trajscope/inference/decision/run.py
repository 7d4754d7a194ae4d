"""From a measured trajectory to the tests and the verdict of all its groups."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from trajscope.inference.decision.combine import RunDecision, decide_run
from trajscope.inference.decision.order import FEWEST_CHECKPOINTS
from trajscope.inference.decision.result import tests_dataset, tests_summary, verdict_dataset
from trajscope.inference.decision.settings import RINGING_GIVEN, RINGING_UNKNOWN, DecisionSettings
from trajscope.inference.decision.words import Run, number
from trajscope.inference.statistics.river import NUMBERS, draw_river, river_p_values
from trajscope.inference.statistics.window import Window, longest_even_part, nearly_even
from trajscope.kernels.river import window_lengths
from trajscope.measure.blas import one_blas_thread
from trajscope.measure.found import Measurement
from trajscope.measure.labels import even_spacing
from trajscope.optimizer import Optimizer
from trajscope.schema import (
    EPOCH_STEPS,
    GROUP,
    LEARNING_RATE,
    PLANE_STEP,
    RIVER_NUMBER,
    STEP,
    WINDOW_LENGTH,
)

_MOST_ROUNDING: Final = 0.05
"""Share of a squared displacement that may be rounding."""
_LEAST_DAMPING: Final = 0.1
"""Of ringing between checkpoints: below, nothing is left to ring."""


def decide_trajectory(
    trajectory: xr.Dataset,
    measurement: Measurement,
    settings: DecisionSettings,
    *,
    in_phases: bool = False,
) -> tuple[xr.Dataset, xr.Dataset]:
    """The parts ``/tests`` and ``/verdict`` of a result; see `decide_measured_run`."""
    decided, tests = decide_measured_run(trajectory, measurement, settings, in_phases=in_phases)
    return tests, verdict_dataset(decided)


def decide_measured_run(
    trajectory: xr.Dataset,
    measurement: Measurement,
    settings: DecisionSettings,
    *,
    in_phases: bool = False,
) -> tuple[RunDecision, xr.Dataset]:
    """The decisions on every group, with the draws, and the part ``/tests`` of a result.

    Of checkpoints that are unevenly spaced those are taken whose spacings differ by a factor of
    three at most, and are treated as evenly spaced (`nearly_even`). Where too few are, increments
    are tested over the root of their length, and for circulation on the longest even part. Where
    rounding of the stored weights is over 5% of the squared increments, every second, fourth, ...
    checkpoint is taken.
    """
    asked = _asked(trajectory, measurement, settings)
    settings = asked.settings
    with one_blas_thread():
        decided = decide_run(asked.run, asked.names, asked.windows, settings, in_phases=in_phases)
        tests = tests_dataset(decided)
        averages = _of_averages(measurement.factors, settings)
    if decided.current is not None:
        tests = tests.assign_coords({PLANE_STEP: asked.planes})
    tests = tests.assign(averages)
    told = _told(decided, settings, asked.stride)
    p_any = [None if math.isnan(p) else p for p in averages["river_p_any"].values[0].tolist()]
    told["summary"] |= {"river": dict(zip(NUMBERS, p_any, strict=True))}
    return decided, tests.assign_attrs(told)


def verdict_alone(
    trajectory: xr.Dataset, measurement: Measurement, settings: DecisionSettings
) -> xr.Dataset:
    """The part ``/verdict`` of a result, as `decide_trajectory`, in a third of the time."""
    asked = _asked(trajectory, measurement, settings)
    with one_blas_thread():
        return verdict_dataset(decide_run(asked.run, asked.names, asked.windows, asked.settings))


@dataclass(frozen=True)
class _Asked:
    """What is decided on.

    Attributes
    ----------
    planes :
        Steps of the checkpoints in which a circulation is looked for.
    stride :
        Every so many checkpoints one is taken.
    """

    run: Run
    names: list[str]
    windows: list[Window]
    settings: DecisionSettings
    planes: NDArray[np.floating]
    stride: int


def _asked(trajectory: xr.Dataset, measurement: Measurement, settings: DecisionSettings) -> _Asked:
    steps = trajectory[STEP].values
    unit = str(trajectory.attrs.get("step_unit", "index"))
    observables = measurement.observables
    stride = _stride(observables.isel({GROUP: 0}), len(steps))
    kept = steps[: len(steps) - (len(steps) - 1) % stride : stride]
    spacing = even_spacing(kept)
    near = None if spacing is not None else nearly_even(kept, FEWEST_CHECKPOINTS)
    even = np.arange(len(kept)) if near is None else near
    if spacing is None and near is None:
        even = longest_even_part(kept)
    needed = observables[list(_OF_A_WINDOW)]  # selecting a layer costs by the number of arrays
    windows = [
        _window(factor, needed.isel({GROUP: group}), steps, even, stride)
        for group, factor in enumerate(measurement.factors)
    ]
    if near is not None:
        windows = [
            Window(np.diff(each.walked, axis=0), each.positions, rounding=each.rounding)
            for each in windows
        ]
    settings = replace(
        settings,
        n_surrogates=settings.n_draws(len(kept)),
        damping=_left(settings.damping, stride),
    )
    rate = trajectory.coords.get(LEARNING_RATE)
    used = slice(None) if near is None else near
    run = Run(
        kept[used],
        unit,
        spacing if near is None else float(np.diff(kept[near]).mean()),
        None if rate is None else rate.values[: len(kept) * stride : stride][used],
        trajectory.attrs.get(EPOCH_STEPS),
        "" if near is None else _nearly(kept, near, unit),
    )
    names = [str(name) for name in observables[GROUP].values]
    return _Asked(run, names, windows, settings, kept[even], stride)


def ringing(
    optimizer: Optimizer,
    steps: NDArray[np.floating],
    unit: str,
    *,
    updates_per_epoch: float | None = None,
) -> tuple[float | None, str]:
    """What is left of momentum's ringing from one checkpoint to the next, and a sentence on it.

    ``momentum ** (updates / 2)``, `None` where that is little or cannot be known: uneven steps and
    mere positions leave it unknown. Epochs whose updates are not known are taken to be long enough
    for ringing to die out.
    """
    if optimizer.momentum is None:
        return None, RINGING_UNKNOWN
    spacing, where = even_spacing(steps), "unevenly spaced checkpoints"
    died_out = "Ringing at the given momentum decays between checkpoints."
    if optimizer.mu == 0:
        return None, died_out
    if unit == "epoch" and updates_per_epoch is not None:
        spacing = None if spacing is None else spacing * updates_per_epoch
    elif unit == "epoch":
        enough = math.ceil(2 * math.log(_LEAST_DAMPING) / math.log(optimizer.mu))
        return None, (
            "Ringing at the given momentum is assumed to decay between checkpoints, since their "
            f"steps count epochs: true from {enough} updates between checkpoints on."
        )
    elif unit != "step":
        spacing, where = None, "checkpoints that do not count updates"
    if spacing is None:
        return None, (
            "Ringing of the optimizer may give the same peak: how far it decays between "
            f"{where} is unknown."
        )
    left = _left(optimizer.mu**0.5, spacing)
    return left, died_out if left is None else RINGING_GIVEN


def _left(damping: float | None, times: float) -> float | None:
    """Of ringing after as many times as it takes to leave `damping`; None where that is little."""
    left = 0.0 if damping is None else float(damping**times)
    return left if left >= _LEAST_DAMPING else None


def _stride(whole: xr.Dataset, n_steps: int) -> int:
    """The fewest checkpoints apart at which rounding is a small share of a displacement."""
    moved = whole["mean_squared_displacement"].values
    rounding = float(whole["rounding_floor"]) ** 2 * float(whole["n_weights"])
    stride = 1
    while 2 * stride * FEWEST_CHECKPOINTS <= n_steps:
        if rounding <= _MOST_ROUNDING * moved[stride]:
            return stride
        stride *= 2
    return 1


_OF_A_WINDOW = (
    "principal_component", "mean_squared_displacement", "rounding_floor", "n_weights",
)  # fmt: skip


def _window(
    factor: NDArray[np.float32],
    observed: xr.Dataset,
    steps: NDArray[np.floating],
    even: NDArray[np.int64],
    stride: int,
) -> Window:
    whole = Window(factor.astype(np.float64))
    scores = observed["principal_component"].transpose(STEP, ...).values
    window = whole.coarser(stride) if stride > 1 else whole
    kept = steps[::stride][: window.n_steps]
    gaps, is_even = np.diff(kept), even_spacing(kept) is not None
    moved = float(observed["mean_squared_displacement"][stride])
    rounding = float(observed["rounding_floor"]) ** 2 * float(observed["n_weights"])
    return Window(
        window.increments,
        scores[::stride][: window.n_steps][even],
        None if is_even else gaps / gaps.mean(),
        None if is_even else even,
        rounding / moved if moved > 0 else 0.0,
    )


def _nearly(steps: NDArray[np.floating], near: NDArray[np.int64], unit: str) -> str:
    """What is taken for even, in words."""
    gaps = np.diff(steps[near])
    word = "checkpoint" if unit == "index" else unit
    return (
        f"what goes with uneven spacing: {len(near):,} of {len(steps):,} checkpoints, "
        f"{number(gaps.min())} to {number(gaps.max())} {word}s apart, are taken as evenly spaced"
    )


def _of_averages(
    factors: Sequence[NDArray[np.float32]], settings: DecisionSettings
) -> dict[str, xr.Variable]:
    """Numbers of averages over windows, of every group, against permuted increments."""
    n_draws = settings.of_a_window.n_surrogates
    draws = [draw_river(each.astype(np.float64), n_draws, settings.seed) for each in factors]
    each, of_all = river_p_values(np.array(draws))
    what = "increments permuted in time, two-sided"
    lengths = np.array(window_lengths(len(factors[0]) + 1), int)
    return {
        RIVER_NUMBER: xr.Variable(RIVER_NUMBER, list(NUMBERS)),
        WINDOW_LENGTH: xr.Variable(WINDOW_LENGTH, lengths, {"units": "checkpoints"}),
        "river_p_value": xr.Variable(
            (GROUP, RIVER_NUMBER, WINDOW_LENGTH),
            each,
            {"units": "1", "long_name": f"p-value of each group alone: {what}"},
        ),
        "river_p_any": xr.Variable(
            (GROUP, RIVER_NUMBER),
            of_all,
            {"units": "1", "long_name": f"p-value over all lengths, and over all layers: {what}"},
        ),
    }


def _told(decided: RunDecision, settings: DecisionSettings, stride: int) -> dict[str, Any]:
    method = "sign flips" if decided.decisions[0].flips else "permutations"
    ranks: Sequence[int] = [window.increments.shape[1] for window in decided.windows]
    return {
        "n_surrogates": settings.n_surrogates,
        "alpha": settings.alpha,
        "seed": settings.seed,
        "method": method,
        "rank": list(ranks),
        "stride": stride,
        "evenly_spaced": decided.run.spacing is not None and not decided.run.taken,
        "summary": tests_summary(decided, method),
    }
