"""From a measured trajectory to the tests and the verdict of all its groups."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from trajscope.inference.decision.combine import RunDecision, decide_run
from trajscope.inference.decision.order import FEWEST_CHECKPOINTS
from trajscope.inference.decision.result import tests_dataset, tests_summary, verdict_dataset
from trajscope.inference.decision.settings import RINGING_GIVEN, RINGING_UNKNOWN, DecisionSettings
from trajscope.inference.decision.words import Run
from trajscope.inference.statistics.window import Window, longest_even_part
from trajscope.measure.blas import one_blas_thread
from trajscope.measure.found import Measurement
from trajscope.measure.labels import even_spacing
from trajscope.optimizer import Optimizer
from trajscope.schema import EPOCH_STEPS, GROUP, LEARNING_RATE, PLANE_STEP, STEP

_MOST_ROUNDING: Final = 0.05
"""Share of a squared displacement that may be rounding."""
_LEAST_DAMPING: Final = 0.1
"""Of ringing between checkpoints: below, nothing is left to ring."""


def decide_trajectory(
    trajectory: xr.Dataset, measurement: Measurement, settings: DecisionSettings
) -> tuple[xr.Dataset, xr.Dataset]:
    """The parts ``/tests`` and ``/verdict`` of a result; see `decide_measured_run`."""
    decided, tests = decide_measured_run(trajectory, measurement, settings)
    return tests, verdict_dataset(decided)


def decide_measured_run(
    trajectory: xr.Dataset, measurement: Measurement, settings: DecisionSettings
) -> tuple[RunDecision, xr.Dataset]:
    """The decisions on every group, with the draws, and the part ``/tests`` of a result.

    Checkpoints that are unevenly spaced are tested by their increments over the root of their
    length, and for circulation on their longest evenly spaced part. Where rounding of the
    stored weights is over 5% of the squared increments, every second, fourth, ... checkpoint is
    taken.
    """
    steps = trajectory[STEP].values
    unit = str(trajectory.attrs.get("step_unit", "index"))
    observables = measurement.observables
    stride = _stride(observables.isel({GROUP: 0}), len(steps))
    kept = steps[: len(steps) - (len(steps) - 1) % stride : stride]
    even = np.arange(len(kept)) if even_spacing(kept) is not None else longest_even_part(kept)
    needed = observables[list(_OF_A_WINDOW)]  # selecting a layer costs by the number of arrays
    windows = [
        _window(factor, needed.isel({GROUP: group}), steps, even, stride)
        for group, factor in enumerate(measurement.factors)
    ]
    settings = replace(
        settings,
        n_surrogates=settings.n_draws(len(kept)),
        damping=_left(settings.damping, stride),
    )
    rate = trajectory.coords.get(LEARNING_RATE)
    run = Run(
        kept,
        unit,
        even_spacing(kept),
        None if rate is None else rate.values[: len(kept) * stride : stride],
        trajectory.attrs.get(EPOCH_STEPS),
    )
    names = [str(name) for name in observables[GROUP].values]
    with one_blas_thread():
        decided = decide_run(run, names, windows, settings)
    tests = tests_dataset(decided)
    if decided.current is not None:
        tests = tests.assign_coords({PLANE_STEP: kept[even]})
    return decided, tests.assign_attrs(_told(decided, settings, stride))


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
    gaps = np.diff(kept)
    moved = float(observed["mean_squared_displacement"][stride])
    rounding = float(observed["rounding_floor"]) ** 2 * float(observed["n_weights"])
    return Window(
        window.increments,
        scores[::stride][: window.n_steps][even],
        None if even_spacing(kept) is not None else gaps / gaps.mean(),
        rounding / moved if moved > 0 else 0.0,
    )


def _told(decided: RunDecision, settings: DecisionSettings, stride: int) -> dict[str, object]:
    method = "sign flips" if decided.decisions[0].flips else "permutations"
    ranks: Sequence[int] = [window.increments.shape[1] for window in decided.windows]
    return {
        "n_surrogates": settings.n_surrogates,
        "alpha": settings.alpha,
        "seed": settings.seed,
        "method": method,
        "rank": list(ranks),
        "stride": stride,
        "evenly_spaced": decided.run.spacing is not None,
        "summary": tests_summary(decided, method),
    }
