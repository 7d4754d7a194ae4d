"""Checkpoints that change or vanish while they are read: left out and named, never mixed."""

import warnings
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import numpy as np
import xarray as xr

from trajscope.checkpoints.lazy import check_unchanged
from trajscope.errors import ChangedError, TrajectoryError, TrajscopeWarning, printable
from trajscope.schema import PATH, STEP

Found = TypeVar("Found")

_MOST_PASSES: Final = 5
"""Over a run that goes on changing; a trainer that is started anew replaces one after another."""


def unchanged(
    trajectories: Sequence[xr.Dataset],
    go: Callable[[Sequence[xr.Dataset]], Found],
    *,
    strict: bool,
) -> Found:
    """What `go` finds in trajectories of which nothing changed from their opening to its end.

    Where something does, `go` is called again without the checkpoints that changed.

    Parameters
    ----------
    go :
        Reads the weights, and calls `check_read` on what it has read.
    strict :
        Whether a checkpoint that changed is an error.

    Raises
    ------
    TrajectoryError
        Fewer than two checkpoints of a trajectory are as they were; the run goes on changing; or
        one changed and `strict` is set.
    ChangedError
        A worker sees another state of the files than this process does.
    """
    for _ in range(_MOST_PASSES):
        try:
            return go(trajectories)
        except ChangedError as error:
            # Without its traceback, which would keep blocks of weights in memory.
            seen = ChangedError(str(error), error.reason)
        trajectories = _without_changed(trajectories, seen, strict=strict)
    raise TrajectoryError(
        f"Checkpoints change or vanish faster than they can be read: in each of {_MOST_PASSES} "
        f"passes some did. {seen} Or use --history always, which reads each of them only once."
    )


def check_read(trajectory: xr.Dataset) -> None:
    """Refuse a trajectory that has been read from files which changed meanwhile.

    Of most formats each reading has told, and what changes after the last one does not matter. It
    is looked for here where a checkpoint is a folder of many files, or one step of a store.

    Raises
    ------
    ChangedError
    """
    try:
        check_unchanged(trajectory["weights"].variable)
    except ChangedError as error:
        if error.unseen:
            raise


def _without_changed(
    trajectories: Sequence[xr.Dataset], seen: ChangedError, *, strict: bool
) -> list[xr.Dataset]:
    # The blocks of dask are read whole, with what is left out of them.
    of_files = all(trajectory["weights"].chunks is None for trajectory in trajectories)
    lost = [_changed(trajectory) for trajectory in trajectories] if of_files else []
    if strict or not any(lost):
        raise seen
    return [
        _without(trajectory, rows) if rows else trajectory
        for trajectory, rows in zip(trajectories, lost, strict=True)
    ]


def _changed(trajectory: xr.Dataset) -> dict[int, str]:
    """Which checkpoints are not as they were, and why, by row."""
    try:
        check_unchanged(trajectory["weights"].variable)
    except ChangedError as error:
        return error.rows
    return {}


def _without(trajectory: xr.Dataset, lost: dict[int, str]) -> xr.Dataset:
    steps = trajectory[STEP].values
    paths = trajectory[PATH].values if PATH in trajectory.coords else steps.astype(str)
    skipped = [{"path": str(paths[row]), "reason": reason} for row, reason in lost.items()]
    first = f"{printable(skipped[0]['path'])}: {skipped[0]['reason']}"
    kept = np.setdiff1d(np.arange(len(steps)), list(lost))
    if len(kept) < 2:
        raise TrajectoryError(
            f"{len(lost)} of {len(steps)} checkpoints changed or vanished while they were read; at "
            f"least 2 must stay as they are. {first}. Analyze again after training, or copying, "
            "has finished."
        )
    verb = "is" if len(lost) == 1 else "are"
    message = (
        f"{len(lost)} of {len(steps)} checkpoints changed or vanished while they were read, and "
        f"{verb} left out: {first}."
    )
    warnings.warn(message, TrajscopeWarning, stacklevel=6)
    attributes = trajectory.attrs
    return trajectory.isel({STEP: kept}).assign_attrs(
        skipped=[*attributes.get("skipped", []), *skipped],
        warnings=[*attributes.get("warnings", []), message],
    )
