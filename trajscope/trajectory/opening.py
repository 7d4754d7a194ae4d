"""A folder of checkpoints as one lazy, labelled array: ``weights(step, weight)``."""

import os
import warnings as python_warnings
from collections.abc import Sequence

import numpy as np
import xarray as xr

from trajscope.checkpoints.selection import Selection
from trajscope.errors import TrajectoryError, TrajscopeWarning, printable
from trajscope.schema import FINGERPRINT, STEP
from trajscope.trajectory.dataset import as_dataset
from trajscope.trajectory.listing import listed


def open_trajectory(  # noqa: PLR0913
    path: str | os.PathLike[str],
    *,
    run: str | None = None,
    burn_in: int | str | None = None,
    steps: str | slice | None = None,
    include: str | Sequence[str] = (),
    exclude: str | Sequence[str] = (),
    by: str = "layer",
    order: str = "step",
    weights: str = "live",
    strict: bool = False,
) -> xr.Dataset:
    """The trajectory in a folder of checkpoints, as a lazy Dataset.

    Only headers are read. Weights are read on access, and only the selected ones, along both
    dimensions.

    Parameters
    ----------
    path :
        Folder that a training run wrote its checkpoints to, or a zarr store with a step axis; or
        the address of such a folder, as ``"s3://bucket/run"`` or ``"hf://ORG/NAME"``, of which only
        the bytes that are needed are fetched.
    run :
        Name of the run, if the folder contains several. A glob (``"version_*"``), or several names
        with commas between them (``"version_0,version_1"``), joins what it matches in that order: a
        later part replaces the steps that it repeats.
    burn_in :
        Number of checkpoints to exclude at the beginning (``20``), or a percentage of them
        (``"10%"``), applied after `steps`.
    steps :
        ``"START:STOP:STRIDE"`` or a slice: checkpoints with START <= step < STOP, of these every
        STRIDE-th.
    include, exclude :
        Globs on tensor names, or one of them. With `include` only matching tensors are used,
        including batch-norm statistics and other buffers. `exclude` also excludes files and
        folders.
    by :
        The groups: ``"none"`` (one group), ``"layer"`` (the name up to its last dot) or
        ``"tensor"``.
    order :
        ``"step"``, or ``"mtime"`` or ``"name"``: number the checkpoints in the order of their
        modification times or names, and ignore their steps.
    weights :
        ``"live"``, or ``"ema"``: the averages of the weights that the trainer keeps.
    strict :
        Fail where a checkpoint or a tensor would be left out with a warning.

    Returns
    -------
    Dataset
        ``weights(step, weight)`` in the narrowest of float32 and float64 that holds every stored
        value. Coordinates: ``step``, and along it ``path`` and ``fingerprint``, which changes
        with the checkpoint's files, and what else the names count (``tokens``, ``epoch``,
        ``stage``, ...); ``tensor``, and along it ``row_size`` (weights), ``group``,
        ``shape`` (JSON) and ``stored_dtype``. The tensors lie behind one another along ``weight``,
        a contiguous ragged array (CF conventions 9.3.3). Attributes: source, run, step_unit,
        step_source, selection, format, fingerprint, left_out, skipped, warnings, decisions, and
        equal_files where checkpoints of several steps are the same file on disk.
        To copy it, ``chunk({"weight": ...}).to_zarr(...)``; NetCDF cannot hold the lists among
        the attributes.

    Raises
    ------
    TrajectoryError
        The files do not make one trajectory of at least two checkpoints.
    CheckpointError
        With `strict`: a file cannot be read.
    OptionError
        An option that cannot be understood, or that matches nothing.

    Warns
    -----
    TrajscopeWarning
        Something was left out, or names and contents disagree; also kept in the attributes.

    Examples
    --------
    >>> import numpy as np, trajscope
    >>> for step in (0, 100, 200):
    ...     weights = {"fc.weight": np.full((2, 3), step, "float32")}
    ...     path = trajscope.save_checkpoint("runs/opened", weights, step=step)
    >>> run = trajscope.open_trajectory("runs/opened")
    >>> run["weights"].dims, run["step"].values.tolist()
    (('step', 'weight'), [0, 100, 200])
    """
    return open_selection(
        path, Selection(run, burn_in, steps, include, exclude, by, order, weights, strict)
    )


def open_selection(path: str | os.PathLike[str], selection: Selection) -> xr.Dataset:
    """The trajectory that `open_trajectory` opens, its options in one record.

    The record is kept in the Dataset's attribute ``selection``, as far as it says something.
    """
    with listed(path, selection) as listing:
        dataset = as_dataset(listing)
    for message in dataset.attrs["warnings"]:
        python_warnings.warn(message, TrajscopeWarning, stacklevel=3)
    return dataset


def with_buffers(trajectory: xr.Dataset) -> xr.Dataset | None:
    """Every floating-point array at the same checkpoints, buffers among them, as a trajectory.

    The files are opened again as they were the first time, and have to be the same still.

    Returns
    -------
    Dataset or None
        `None` where the Dataset does not say which files it was opened from.

    Raises
    ------
    TrajscopeError
        The files are gone, or have changed since the trajectory was opened.
    """
    if "selection" not in trajectory.attrs:
        return None
    place, selection = trajectory.attrs["source"], Selection.of(trajectory.attrs["selection"])
    with listed(place, selection) as listing:
        again, everything = as_dataset(listing), as_dataset(listing.everything())
    steps = trajectory[STEP].to_numpy()
    there = np.isin(steps, again[STEP]) & np.isin(steps, everything[STEP])
    changed = [*steps[~there], *(s for s in steps[there] if _is_other(trajectory, again, s))]
    if changed:
        raise TrajectoryError(
            f"{printable(place)}: the checkpoint at step {changed[0]} has changed since the "
            "trajectory was opened. Is the run being written again? Open it again afterwards."
        )
    return everything.sel({STEP: steps})


def _is_other(trajectory: xr.Dataset, again: xr.Dataset, step: float) -> bool:
    """Whether the files of a checkpoint have changed; of a store, anything of it."""
    before, now = (
        str(each[FINGERPRINT].sel({STEP: step}).item()) or each.attrs["fingerprint"]
        for each in (trajectory, again)
    )
    return bool(before != now)
