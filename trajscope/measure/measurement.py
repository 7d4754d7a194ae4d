"""From a trajectory to labelled sums and observables of every group, by one pass."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from trajscope.kernels.gram import Floats
from trajscope.measure.blas import one_blas_thread
from trajscope.measure.directions import PROJECTION, Directions
from trajscope.measure.evidence import Evidence, Moves, moves_of
from trajscope.measure.executor import Executor
from trajscope.measure.found import Found, Measurement
from trajscope.measure.groups import Groups, groups_of, size_of
from trajscope.measure.joint import Joint
from trajscope.measure.labels import Arrays
from trajscope.measure.parts import Parts, parts_of
from trajscope.measure.paths import AUDIT, Size
from trajscope.measure.plan import Rows, make_plan
from trajscope.measure.span import JOINT, add_sums
from trajscope.measure.stream import Progress, find_nonfinite, stream
from trajscope.measure.trace import Trace
from trajscope.schema import DIRECTION, STEP

_COPIES: Final = 8
"""Of the projections: in tasks, and in the tree that adds them."""
_PROJECTED: Final = {
    "units": "weight",
    "long_name": "displacement from the first checkpoint along given directions",
}


def measure(  # noqa: PLR0913
    trajectory: xr.Dataset,
    executor: Executor,
    *,
    memory: int,
    seed: int,
    windows: Sequence[Rows] = (),
    directions: Directions | None = None,
    exact: bool = False,
    progress: Progress,
    parts: Path | None = None,
) -> list[Measurement]:
    """Sums and observables of every group of a trajectory, then those of its windows.

    Parameters
    ----------
    trajectory :
        With ``weights(step, weight)``, ``row_size(tensor)``, ``group(tensor)`` and
        ``stored_dtype(tensor)``.
    memory :
        Bytes that this process, or each process of a cluster, may hold.
    windows :
        Each the first of its checkpoints, and the one after its last, counted from 0.
    directions :
        Along which the run is projected: its reductions then hold ``projection(step, direction)``.
    exact :
        Whether the spread of the autocorrelation is that of all weights, not of a random sample of
        each group.
    progress :
        Called with (tasks done, tasks in all).
    parts :
        Folder in which finished parts are kept; a pass that was killed goes on from them.

    Raises
    ------
    NonFiniteError
        Some weight is NaN or infinite: see `nonfinite_weights`.
    OptionError
        The memory limit is too small.
    CheckpointError
        A file could not be read any more.
    """
    groups = groups_of(trajectory) if exact else groups_of(trajectory).sampled()
    size = size_of(trajectory["weights"], groups, executor, memory, windows=windows)
    kept, planned = parts_of(
        trajectory, parts, size, groups.segments, windows=windows, directions=directions, seed=seed
    )
    runs = [(0, trajectory.sizes[STEP])]
    found, together, trace = pass_over(
        trajectory["weights"].variable, groups, planned, executor, parts=kept,
        runs=runs, windows=windows, directions=directions, ends=tensor_ends(trajectory), seed=seed,
        progress=progress,
    )  # fmt: skip
    unit, steps = str(trajectory.attrs.get("step_unit", STEP)), trajectory[STEP].values
    whole, *others = [
        each.measurement(steps[start:stop], unit, each.evidence(trace, 0) if each.is_run else None)
        for each, (start, stop) in zip(found, [*runs, *windows], strict=True)
    ]
    if PROJECTION in together:
        along = xr.Variable((STEP, DIRECTION), together[PROJECTION], _PROJECTED)
        whole = replace(whole, reductions=whole.reductions.assign({PROJECTION: along}))
    return [whole, *others]


def evidence_of(
    trajectory: xr.Dataset, executor: Executor, *, memory: int, progress: Progress
) -> Evidence:
    """What an audit goes by, from a pass that sums nothing else.

    Raises
    ------
    NonFiniteError, OptionError, CheckpointError
        As `measure`.
    """
    groups = groups_of(trajectory)
    weights = trajectory["weights"].variable
    size = size_of(trajectory["weights"], groups, executor, memory)
    plan = make_plan(size, groups.segments, AUDIT)
    trace = Trace.empty(size.n_steps)
    wanted = plan.wanted([(0, size.n_steps)], ends=tensor_ends(trajectory))
    whole: Arrays = {}
    moves: dict[int, Moves] = {}
    with one_blas_thread():
        for group, sums_of in stream(
            weights, plan, executor, wanted=wanted, trace=trace, seed=0, progress=progress
        ):
            add_sums(whole, sums_of[0])
            if groups.are_layers:
                moves[group + 1] = moves_of(sums_of[0])
    return Evidence(trace.of_run(0, (0, size.n_steps)), {0: moves_of(whole), **moves})


def tensor_ends(trajectory: xr.Dataset) -> NDArray[np.int64]:
    """Where every tensor ends along the weights."""
    return np.cumsum(trajectory["row_size"].values, dtype=np.int64)


def pass_over(  # noqa: PLR0913
    weights: Any,  # an xarray Variable or a Stack
    groups: Groups,
    size: Size,
    executor: Executor,
    *,
    runs: Sequence[Rows],
    windows: Sequence[Rows] = (),
    joint: Joint | None = None,
    directions: Directions | None = None,
    ends: NDArray[np.int64],
    seed: int,
    progress: Progress,
    parts: Parts | None = None,
) -> tuple[list[Found], Mapping[str, Floats], Trace]:
    """What is found of every run, then of every window; sums over all weights; the trace.

    Parameters
    ----------
    weights : (step, weight)
        The runs behind one another along the first dimension, which `runs` and `windows` cut.
    ends : (tensor,)
        As `tensor_ends` gives them.
    directions :
        Along which all rows are projected.
    """
    if directions is not None:
        directions.check(weights.shape[1])
        own = directions.vectors.nbytes + _COPIES * 8 * size.n_steps * len(directions.vectors)
        size = replace(size, resident=size.resident + own)
    plan = make_plan(size, groups.segments)
    wanted = plan.wanted(runs, windows, joint, ends)
    trace = Trace.empty(size.n_steps)
    found = [
        Found(part, number < len(runs), groups, size, plan.path, seed)
        for number, part in enumerate(wanted.parts)
    ]
    together: Mapping[str, Floats] = {}
    # Eigenvectors of a thousand steps on two BLAS threads took ten times as long as on one where
    # another process wanted the second core.
    with one_blas_thread():
        for group, sums_of in stream(
            weights, plan, executor, wanted=wanted, trace=trace, directions=directions, seed=seed,
            progress=progress, parts=parts,
        ):  # fmt: skip
            if group == JOINT[0]:
                together = sums_of[JOINT[1]]
                continue
            for number, sums in sums_of.items():
                found[number].add(group, sums, sums_of.get(0, {}))
        for each in found:
            each.finish()
    return found, together, trace


def check_memory(
    trajectory: xr.Dataset, executor: Executor, *, memory: int, windows: Sequence[Rows] = ()
) -> None:
    """Refuse a memory limit that is too small for the pass; reads nothing.

    Raises
    ------
    OptionError
    """
    groups = groups_of(trajectory)
    size = size_of(trajectory["weights"], groups, executor, memory, windows=windows)
    make_plan(size, groups.segments)


def nonfinite_weights(
    trajectory: xr.Dataset, executor: Executor, *, memory: int, progress: Progress
) -> dict[int, tuple[int, str]]:
    """For every step with a NaN or infinite weight: how many, and the tensor that holds the first.

    Returns
    -------
    dict
        Row number -> (count, tensor name).
    """
    groups = groups_of(trajectory)
    plan = make_plan(size_of(trajectory["weights"], groups, executor, memory), groups.segments)
    found = find_nonfinite(trajectory["weights"].variable, plan, executor, progress=progress)
    ends = tensor_ends(trajectory)
    tensors = trajectory["tensor"].values
    return {
        row: (count, str(tensors[np.searchsorted(ends, first, side="right")]))
        for row, (count, first) in sorted(found.items())
    }
