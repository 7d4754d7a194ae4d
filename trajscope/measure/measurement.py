"""From a trajectory to labelled sums and observables of every group, by one pass."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import xarray as xr

from trajscope.kernels.autocorrelation import brownian_autocorrelation
from trajscope.kernels.components import brownian_explained_variance
from trajscope.kernels.factors import factor_width, leading_columns
from trajscope.kernels.gram import Floats
from trajscope.measure.blas import one_blas_thread
from trajscope.measure.executor import Executor
from trajscope.measure.observables import OBSERVABLES, Measured
from trajscope.measure.paths import Size, keeps_groups, layer_width
from trajscope.measure.plan import Segment, make_plan
from trajscope.measure.pooled import increment_factor, pooled_quantities
from trajscope.measure.resources import resident_bytes
from trajscope.measure.span import WHOLE, add_sums
from trajscope.measure.stream import Progress, find_nonfinite, stream
from trajscope.readers.base import resolution
from trajscope.schema import (
    ALL_WEIGHTS,
    COMPONENT,
    FREQUENCY,
    GROUP,
    INTERVAL,
    INTERVAL_OTHER,
    LAG,
    STEP,
    TURN,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

Arrays = dict[str, Floats]


@dataclass(frozen=True)
class Measurement:
    """What one pass found.

    Attributes
    ----------
    reductions :
        The sums, from which the observables follow again without the checkpoints.
    observables :
        As `OBSERVABLES` lists them, and their Brownian references.
    factors :
        (interval, component) of every group: its increments as `increment_factor` has them, in
        float32; fewer columns for a layer than for all weights.
    path, components :
        Names of the path taken and of the matrix behind the principal components.
    """

    reductions: xr.Dataset
    observables: xr.Dataset
    factors: "Sequence[NDArray[np.float32]]"
    path: str
    components: str


def measure(
    trajectory: xr.Dataset,
    executor: Executor,
    *,
    memory: int,
    seed: int,
    progress: Progress,
) -> Measurement:
    """Sums and observables of every group of a trajectory.

    Parameters
    ----------
    trajectory :
        With ``weights(step, weight)``, ``row_size(tensor)``, ``group(tensor)`` and
        ``stored_dtype(tensor)``.
    memory :
        Bytes that this process, or each process of a cluster, may hold.
    progress :
        Called with (tasks done, tasks in all).

    Raises
    ------
    NonFiniteError
        Some weight is NaN or infinite: see `nonfinite_weights`.
    OptionError
        The memory limit is too small.
    CheckpointError
        A file could not be read any more.
    """
    names, segments = _groups(trajectory)
    size = _size(trajectory, segments, executor, memory)
    plan = make_plan(size, segments)
    n_steps = trajectory.sizes[STEP]
    kept = {name: dims for r in plan.path.reductions for name, dims in r.kept.items()}
    keeps_all_groups = keeps_groups(size, plan.path)
    width = layer_width(size)
    everything: Arrays = {}
    whole: Arrays = {}
    sums_of: dict[int, Arrays] = {}
    found: dict[int, Arrays] = {}
    factors: dict[int, NDArray[np.float32]] = {}
    weights = trajectory["weights"].variable
    # Eigenvectors of a thousand steps on two BLAS threads took ten times as long as on one where
    # another process wanted the second core.
    with one_blas_thread():
        for group, sums in stream(weights, plan, executor, seed=seed, progress=progress):
            if group == WHOLE:
                whole = sums
                continue
            add_sums(everything, sums)
            if names != [ALL_WEIGHTS]:
                found[group + 1] = _observed(sums, n_steps, seed)
                factors[group + 1] = _factor(sums, width)
                if keeps_all_groups:
                    sums_of[group + 1] = {name: sums[name] for name in kept}
        found[0] = _observed(everything | whole, n_steps, seed)
        factors[0] = _factor(everything | whole, factor_width(n_steps - 1))
    sums_of[0] = {name: everything[name] for name in kept}
    labels = _labels(trajectory)
    if names != [ALL_WEIGHTS]:
        # A layer may be called "all" too.
        names = [ALL_WEIGHTS, *(f"'{name}'" if name == ALL_WEIGHTS else name for name in names)]
    return Measurement(
        _stacked(sums_of, kept, names, labels),
        _observables(found, names, labels),
        [factors[group] for group in sorted(factors)],
        plan.path.name,
        plan.path.components,
    )


def check_memory(trajectory: xr.Dataset, executor: Executor, *, memory: int) -> None:
    """Refuse a memory limit that is too small for the pass; reads nothing.

    Raises
    ------
    OptionError
    """
    _, segments = _groups(trajectory)
    make_plan(_size(trajectory, segments, executor, memory), segments)


def nonfinite_weights(
    trajectory: xr.Dataset, executor: Executor, *, memory: int, progress: Progress
) -> dict[int, tuple[int, str]]:
    """For every step with a NaN or infinite weight: how many, and the tensor that holds the first.

    Returns
    -------
    dict
        Row number -> (count, tensor name).
    """
    _, segments = _groups(trajectory)
    plan = make_plan(_size(trajectory, segments, executor, memory), segments)
    weights = trajectory["weights"].variable
    found = find_nonfinite(weights, plan, executor, progress=progress)
    ends = np.cumsum(trajectory["row_size"].values)
    tensors = trajectory["tensor"].values
    return {
        row: (count, str(tensors[np.searchsorted(ends, first, side="right")]))
        for row, (count, first) in sorted(found.items())
    }


def _groups(trajectory: xr.Dataset) -> tuple[list[str], list[Segment]]:
    """Names of the groups in order of appearance, and the runs of weights that make them up."""
    names: dict[str, int] = {}
    segments: list[Segment] = []
    start = 0
    rows = zip(
        trajectory["group"].values,
        trajectory["row_size"].values,
        trajectory["stored_dtype"].values,
        strict=True,
    )
    for group, size, dtype in rows:
        number = names.setdefault(str(group), len(names))
        spacing, stop = resolution(str(dtype)), start + int(size)
        last = segments[-1] if segments else None
        if last and (last.group, last.resolution) == (number, spacing):
            segments[-1] = Segment(number, last.start, stop, spacing)
        else:
            segments.append(Segment(number, start, stop, spacing))
        start = stop
    return list(names), segments


def _size(
    trajectory: xr.Dataset, segments: Sequence[Segment], executor: Executor, memory: int
) -> Size:
    weights = trajectory["weights"]
    n_steps, n_weights = weights.shape
    shared = executor.shares_memory
    return Size(
        n_steps=n_steps,
        n_weights=n_weights,
        n_groups=len({segment.group for segment in segments}),
        itemsize=4 if weights.dtype.kind == "f" and weights.dtype.itemsize <= 4 else 8,
        memory=memory,
        workers=executor.per_process,
        fewest_workers=1 if shared else executor.per_process,
        resident=resident_bytes() if shared else _WORKER_RESIDENT,
        holds_tasks=weights.chunks is not None,
    )


_WORKER_RESIDENT: Final = 160 << 20
"""What a dask worker process holds once it has imported what the pass needs; measured."""


def _observed(sums: Mapping[str, Floats], n_steps: int, seed: int) -> Arrays:
    measured = Measured(sums, pooled_quantities(sums, n_steps, seed))
    return {each.name: np.asarray(each.values(measured)) for each in OBSERVABLES}


def _factor(sums: Mapping[str, Floats], width: int) -> "NDArray[np.float32]":
    return leading_columns(increment_factor(sums), width).astype(np.float32)


def _labels(trajectory: xr.Dataset) -> dict[str, xr.Variable]:
    """Coordinates of every dimension, in steps where checkpoints are evenly spaced."""
    step = trajectory[STEP].values
    n = len(step) - 1
    spacing = even_spacing(step)
    unit = trajectory.attrs.get("step_unit", STEP) if spacing else "checkpoint"
    lag = np.arange(n + 1) * (spacing or 1)
    frequency = np.arange(1, n // 2 + 1) / (n * (spacing or 1))
    return {
        STEP: xr.Variable(STEP, step),
        INTERVAL: xr.Variable(INTERVAL, step[:-1]),
        INTERVAL_OTHER: xr.Variable(INTERVAL_OTHER, step[:-1]),
        TURN: xr.Variable(TURN, step[1:-1]),
        LAG: xr.Variable(LAG, lag, {"units": f"{unit}s" if unit != "index" else "index"}),
        FREQUENCY: xr.Variable(FREQUENCY, frequency, {"units": f"cycles per {unit}"}),
    }


def even_spacing(step: "NDArray[Any]") -> float | int | None:
    """The interval that all neighbouring steps share, or `None` where they are unevenly spaced."""
    intervals = np.diff(step)
    first = intervals[0]
    # Fractional epochs are rounded when they are logged.
    if not np.allclose(intervals, first, rtol=1e-6, atol=0):
        return None
    return int(first) if float(first).is_integer() else float(first)


def _stacked(
    arrays: Mapping[int, Arrays],
    dims: Mapping[str, tuple[str, ...]],
    names: Sequence[str],
    labels: Mapping[str, xr.Variable],
) -> xr.Dataset:
    """One Dataset with a leading group dimension, of the groups that `arrays` holds."""
    groups = sorted(arrays)
    variables = {
        name: ((GROUP, *dims[name]), np.stack([arrays[group][name] for group in groups]))
        for name in dims
    }
    used = {dim for (_, *rest), _ in variables.values() for dim in rest}
    coords = {name: label for name, label in labels.items() if name in used}
    return xr.Dataset(variables, {GROUP: [names[group] for group in groups], **coords})


def _observables(
    found: Mapping[int, Arrays], names: Sequence[str], labels: Mapping[str, xr.Variable]
) -> xr.Dataset:
    dims = {observable.name: observable.dims for observable in OBSERVABLES}
    dataset = _stacked(found, dims, names, labels)
    for observable in OBSERVABLES:
        dataset[observable.name].attrs = {
            "units": observable.units,
            "long_name": observable.long_name,
        }
    n_steps, n_components = dataset.sizes[STEP], dataset.sizes[COMPONENT]
    dataset = dataset.assign_coords({COMPONENT: np.arange(1, n_components + 1)})
    dataset["autocorrelation_brownian"] = xr.Variable(
        LAG,
        brownian_autocorrelation(n_steps),
        {"units": "1", "long_name": "expected autocorrelation of a Brownian path as long as this"},
    )
    dataset["explained_variance_brownian"] = xr.Variable(
        COMPONENT,
        brownian_explained_variance(n_steps, n_components),
        {"units": "1", "long_name": "explained variance of isotropic Brownian motion"},
    )
    dataset.attrs = {
        # 2.576: 99% of a standard normal distribution, on both sides.
        "white_noise_band": 2.576 / n_steps**0.5,
        "white_noise_fft_mean": float(np.sqrt(np.pi) / 2),
        "white_noise_fft_sd": float(np.sqrt(1 - np.pi / 4)),
    }
    return dataset
