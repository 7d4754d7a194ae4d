"""The pass over what is finite: checkpoints with NaN or infinite weights are left out and named."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import xarray as xr

from trajscope.analysis.windows import Window, rows_left
from trajscope.errors import TrajectoryError, TrajscopeWarning, printable
from trajscope.measure.directions import Directions
from trajscope.measure.executor import Executor
from trajscope.measure.found import Measurement
from trajscope.measure.measurement import measure, nonfinite_weights
from trajscope.measure.span import NonFiniteError
from trajscope.schema import STEP, WEIGHT


@dataclass(frozen=True)
class Engine:
    """How the weights are gone over.

    Attributes
    ----------
    memory :
        Bytes that a process may hold.
    strict :
        Whether a checkpoint that is not finite is an error.
    parts :
        Folder in which finished parts of a pass are kept.
    directions :
        Along which a run is projected.
    exact :
        Whether the spread of the autocorrelation is that of all weights.
    """

    memory: int
    seed: int
    strict: bool
    progress: Callable[[int, int], None]
    parts: Path | None = None
    directions: Directions | None = None
    exact: bool = False


def measured(
    trajectory: xr.Dataset,
    running: Executor,
    engine: Engine,
    windows: Sequence[Window] = (),
) -> tuple[xr.Dataset, list[Window], list[Measurement]]:
    """The measurements of the run and of its windows, without checkpoints that are not numbers.

    Returns
    -------
    trajectory, windows, measurements
        What is left of the run and of its windows; the run comes first among the measurements.
    """
    go = partial(
        measure,
        memory=engine.memory,
        seed=engine.seed,
        directions=engine.directions,
        exact=engine.exact,
        progress=engine.progress,
        parts=engine.parts,
    )
    steps = trajectory[STEP].values
    with suppress(NonFiniteError):
        rows = [each.rows(steps) for each in windows]
        return trajectory, list(windows), go(trajectory, running, windows=rows)
    # Not while the exception is handled: its traceback would keep the last block in memory.
    finite = without_nonfinite(trajectory, running, engine)
    check_squares([trajectory], [finite])
    left, rows = rows_left(windows, finite[STEP].values)
    return finite, left, go(finite, running, windows=rows)


def without_nonfinite(trajectory: xr.Dataset, running: Executor, engine: Engine) -> xr.Dataset:
    """The trajectory without the checkpoints that hold NaN or infinite weights; one pass.

    Raises
    ------
    TrajectoryError
        Fewer than two are finite; or one is not and `engine` is strict.
    """
    found = nonfinite_weights(trajectory, running, memory=engine.memory, progress=engine.progress)
    if not found:
        return trajectory
    return _without_rows(trajectory, found, strict=engine.strict)


def check_squares(before: Sequence[xr.Dataset], after: Sequence[xr.Dataset]) -> None:
    """Refuse runs of which sums are not finite, although every weight is.

    Raises
    ------
    TrajectoryError
    """
    if all(one is other for one, other in zip(before, after, strict=True)):
        raise TrajectoryError(
            "All weights are finite, but squares of their increments overflow. Did the run "
            "diverge? Leave out the last checkpoints with --steps."
        )


def place_of(trajectory: xr.Dataset, row: int) -> str:
    """What a checkpoint is called among those that are skipped: its path below the source."""
    if "path" not in trajectory.coords:
        return str(trajectory[STEP].values[row])
    path = str(trajectory["path"].values[row])
    return path.removeprefix(f"{trajectory.attrs.get('source', '')}/")


def _without_rows(
    trajectory: xr.Dataset, found: Mapping[int, tuple[int, str]], *, strict: bool
) -> xr.Dataset:
    """`trajectory` without the rows in `found`, and with the reason noted."""
    n_weights = trajectory.sizes[WEIGHT]
    steps = trajectory[STEP].values
    skipped = [
        {
            "path": place_of(trajectory, row),
            "reason": f"{count} of {n_weights} weights are NaN or infinite, the first in tensor "
            f"'{printable(tensor)}'",
        }
        for row, (count, tensor) in found.items()
    ]
    kept = np.setdiff1d(np.arange(len(steps)), list(found))
    step = steps[next(iter(found))]
    first = f"{printable(skipped[0]['path'])}: {skipped[0]['reason']} (step {step})"
    if strict:
        raise TrajectoryError(f"{first}. Leave it out with --steps, or drop --strict.")
    if len(kept) < 2:
        raise TrajectoryError(
            f"{len(kept)} of {len(steps)} checkpoints hold finite weights only; at least 2 are "
            f"needed. {first}. Did the run diverge at once?"
        )
    message = (
        f"{len(found)} of {len(steps)} checkpoints hold NaN or infinite weights and are left out: "
        f"{first}."
    )
    warnings.warn(message, TrajscopeWarning, stacklevel=6)
    remaining = trajectory.isel({STEP: kept})
    return remaining.assign_attrs(skipped=[*trajectory.attrs.get("skipped", []), *skipped])
