"""The route from top to bottom: a source becomes a trajectory, is measured, becomes a result."""

import os
import platform
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np
import xarray as xr

from trajscope.arrays import Source, as_trajectory, is_place
from trajscope.checkpoints.selection import Selection
from trajscope.errors import OptionError, TrajectoryError, TrajscopeWarning, printable
from trajscope.history.kept import remembered
from trajscope.inference.decision.run import judge_trajectory, ringing
from trajscope.inference.decision.verdict import Question
from trajscope.measure.doubts import doubts
from trajscope.measure.executor import Executor, executor
from trajscope.measure.measurement import (
    Measurement,
    check_memory,
    even_spacing,
    measure,
    nonfinite_weights,
)
from trajscope.measure.resources import default_memory, parse_bytes
from trajscope.measure.span import NonFiniteError
from trajscope.optimizer import Optimizer
from trajscope.schema import STEP, WEIGHT, check_trajectory
from trajscope.trajectory import open_selection

History = str | os.PathLike[str] | Callable[[xr.Dataset], AbstractContextManager[xr.Dataset]]


def analyze(  # noqa: PLR0913 - the one front door: its options are the command line's
    source: Source,
    *,
    run: str | None = None,
    burn_in: int | str | None = None,
    steps: str | slice | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    by: str | None = None,
    order: str | None = None,
    weights: str | None = None,
    history: History | None = None,
    memory: int | str | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    n_surrogates: int = 999,
    alpha: float = 0.01,
    seed: int = 0,
    momentum: float | None = None,
    updates_per_epoch: float | None = None,
    diffusion: xr.Dataset | None = None,
    strict: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> xr.DataTree:
    """What the trajectory in `source` does, as a DataTree.

    Parameters
    ----------
    source :
        A directory of checkpoints; a Dataset from `open_trajectory`; or an array with dimensions
        ("step", "weight"), lazy or not: of xarray, NumPy, dask or torch, a pandas DataFrame, a list
        of rows. The options up to `weights` say how to open a directory, and are refused with the
        other sources: a Dataset has its groups, and xarray selects.
    run, burn_in, steps, include, exclude, by, order, weights, strict :
        As in `open_trajectory`. With `strict`, a checkpoint with a NaN or infinite weight is an
        error too; else it is left out with a warning.
    history :
        Folder in which the weights that are read from a directory are kept: a later analysis that
        names it reads only checkpoints that are new or changed, and finds the same as without it.
        Or a function of a trajectory that returns a context manager of the same trajectory, read
        from elsewhere; that is taken with a Dataset too.
    memory :
        Most that this process (or each of a cluster's) may hold, in bytes or as "2GiB"; by
        default a quarter of what is free.
    workers :
        Local worker processes; by default, threads in this process, or the active dask client.
    scheduler :
        Address of a running dask scheduler.
    n_surrogates :
        Random draws of every null; the smallest p-value is 1 / (n_surrogates + 1). Beyond 10,000
        checkpoints no more than `alpha` needs: 199 at 0.01.
    alpha :
        Level of every test: how often it may speak falsely.
    seed :
        Same seed, same numbers, whatever the workers; a tight memory limit changes last digits.
    momentum :
        Of the optimizer, where it is known: an oscillation is then told from its ringing, and not
        looked for in windows of fewer than seven ringing times.
    updates_per_epoch :
        With checkpoints that are numbered by epochs: how much is left of ringing is then computed.
    diffusion :
        What `trajscope.diffusion` found of the same checkpoints, to be kept with the rest.
    progress :
        Called with (tasks done, tasks in all).

    Returns
    -------
    DataTree
        ``/trajectory`` (what was read), ``/reductions`` (the sums of the one pass),
        ``/observables`` (labelled curves and numbers per group), ``/tests`` (p-values and curves
        with their bands), ``/verdict`` (its code and sentence, of all weights in the attributes),
        ``/diffusion``.

    Raises
    ------
    TrajscopeError
        Nothing there can be analysed; the message says why and what to try.
    """
    given: dict[str, Any] = {
        "run": run,
        "burn_in": burn_in,
        "steps": steps,
        "by": by,
        "order": order,
    }
    given |= {"weights": weights, "include": include or None, "exclude": exclude or None}
    given |= {"strict": strict or None}
    given = {name: value for name, value in given.items() if value is not None}
    if is_place(source):
        trajectory = open_selection(source, Selection.of(given))
    else:
        kept = None if callable(history) else history
        _refuse_selection({**given, "history": kept, "strict": None})
        trajectory = as_trajectory(source)
    check_trajectory(trajectory)
    unit = str(trajectory.attrs.get("step_unit", "index"))
    optimizer = Optimizer(momentum=momentum)
    left, said = ringing(
        optimizer, trajectory[STEP].values, unit, updates_per_epoch=updates_per_epoch
    )
    question = Question(n_surrogates, alpha, seed, left, said)
    limit = parse_bytes(memory) if isinstance(memory, str) else memory or default_memory()
    started = time.perf_counter()
    with executor(workers, scheduler) as running:
        check_memory(trajectory, running, memory=limit)  # before anything is kept
        with _from_history(trajectory, history) as read:
            trajectory, measurement = _measured(
                read, running, limit, seed=seed, strict=strict, progress=progress or _silence
            )
    timings = {"pass_s": time.perf_counter() - started}
    judged = judge_trajectory(trajectory, measurement, question)
    timings["tests_s"] = time.perf_counter() - started - timings["pass_s"]
    config = {
        **trajectory.attrs.get("selection", {}),
        "memory": limit,
        "seed": seed,
        "alpha": alpha,
    }
    config |= {"n_surrogates": n_surrogates}
    if momentum is not None:
        config["momentum"] = momentum
    if updates_per_epoch is not None:
        config["updates_per_epoch"] = updates_per_epoch
    result = _result(trajectory, measurement, judged, config, timings)
    if diffusion is not None:
        result["diffusion"] = xr.DataTree(diffusion)
    return result


@contextmanager
def _from_history(trajectory: xr.Dataset, history: History | None) -> Iterator[xr.Dataset]:
    """The trajectory, read from the history in a folder where one is named."""
    if history is None:
        yield trajectory
        return
    if callable(history):
        with history(trajectory) as elsewhere:
            yield elsewhere
        return
    with remembered(trajectory, history) as found:
        if not found.is_kept:
            warnings.warn(found.line, TrajscopeWarning, stacklevel=4)
        yield found.trajectory


def _measured(
    trajectory: xr.Dataset,
    running: Executor,
    memory: int,
    *,
    seed: int,
    strict: bool,
    progress: Callable[[int, int], None],
) -> tuple[xr.Dataset, Measurement]:
    """The measurement, and the trajectory without the checkpoints that are not numbers."""
    with suppress(NonFiniteError):
        return trajectory, measure(trajectory, running, memory=memory, seed=seed, progress=progress)
    # Not while the exception is handled: its traceback would keep the last block in memory.
    found = nonfinite_weights(trajectory, running, memory=memory, progress=progress)
    if not found:
        raise TrajectoryError(
            "All weights are finite, but squares of their increments are not: some are too large "
            "to be measured. Did the run diverge? Leave out the last checkpoints with --steps."
        )
    finite = _without_rows(trajectory, found, strict=strict)
    return finite, measure(finite, running, memory=memory, seed=seed, progress=progress)


def _without_rows(
    trajectory: xr.Dataset, found: Mapping[int, tuple[int, str]], *, strict: bool
) -> xr.Dataset:
    """`trajectory` without the rows in `found`, and with the reason noted."""
    n_weights = trajectory.sizes[WEIGHT]
    steps = trajectory[STEP].values
    paths = trajectory["path"].values if "path" in trajectory.coords else steps.astype(str)
    skipped = [
        {
            "path": str(paths[row]),
            "reason": f"{count} of {n_weights} weights are NaN or infinite, the first in tensor "
            f"'{printable(tensor)}' (step {steps[row]})",
        }
        for row, (count, tensor) in found.items()
    ]
    kept = np.setdiff1d(np.arange(len(steps)), list(found))
    first = f"{printable(skipped[0]['path'])}: {skipped[0]['reason']}"
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
    warnings.warn(message, TrajscopeWarning, stacklevel=4)
    remaining = trajectory.isel({STEP: kept})
    attributes = trajectory.attrs
    return remaining.assign_attrs(
        skipped=[*attributes.get("skipped", []), *skipped],
        warnings=[*attributes.get("warnings", []), message],
    )


def _refuse_selection(selection: Mapping[str, object]) -> None:
    given = [name for name, value in selection.items() if value is not None]
    if given:
        raise OptionError(
            f"{', '.join(given)}: these say how to open a directory, and the source is "
            "an array or Dataset. Select with xarray instead: source.isel(step=slice(10, None))."
        )


def _result(
    trajectory: xr.Dataset,
    measurement: Measurement,
    judged: tuple[xr.Dataset, xr.Dataset],
    config: Mapping[str, object],
    timings: Mapping[str, float],
) -> xr.DataTree:
    steps = trajectory[STEP].values
    found = doubts(trajectory, measurement.observables)
    for message in found:
        warnings.warn(message, TrajscopeWarning, stacklevel=3)
    read = trajectory.drop_vars("weights").assign_attrs(
        checkpoints=len(steps),
        weights=trajectory.sizes[WEIGHT],
        evenly_spaced=even_spacing(steps) is not None,
        warnings=[*trajectory.attrs.get("warnings", []), *found],
    )
    root = xr.Dataset(
        attrs={
            "trajscope": version("trajscope"),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "config": dict(config),
            "seed": config["seed"],
            "fingerprint": trajectory.attrs.get("fingerprint", ""),
            "path": measurement.path,
            "components": measurement.components,
            "timings": dict(timings),
            "versions": {
                "python": platform.python_version(),
                **{name: version(name) for name in ("numpy", "scipy", "xarray", "dask")},
            },
        }
    )
    return xr.DataTree.from_dict(
        {
            "/": root,
            "/trajectory": read,
            "/reductions": measurement.reductions,
            "/observables": measurement.observables,
            "/tests": judged[0],
            "/diffusion": xr.Dataset(attrs={"reason": "No training problem was given."}),
            "/verdict": judged[1],
        }
    )


def _silence(done: int, total: int) -> None:
    """Show nothing."""
