"""Arrays of every group as labelled Datasets: dimensions, coordinates, units, references."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from trajscope.kernels.directions import landmarks
from trajscope.kernels.gram import Floats
from trajscope.kernels.river import window_lengths
from trajscope.measure.catalogue import OBSERVABLES, REFERENCES
from trajscope.schema import (
    COMPONENT,
    FREQUENCY,
    GROUP,
    INTERVAL,
    INTERVAL_OTHER,
    LAG,
    LANDMARK,
    LANDMARK_OTHER,
    STEP,
    TURN,
    WINDOW_LENGTH,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

Arrays = dict[str, Floats]


def labels(step: "NDArray[Any]", unit: str) -> dict[str, xr.Variable]:
    """Coordinates of every dimension, in steps where checkpoints are evenly spaced.

    Parameters
    ----------
    step : (step,)
    unit :
        What they count: "step", "epoch", or "index".
    """
    n = len(step) - 1
    spacing = even_spacing(step)
    unit = unit if spacing else "checkpoint"
    lag = np.arange(n + 1) * (spacing or 1)
    frequency = np.arange(1, n // 2 + 1) / (n * (spacing or 1))
    marks = step[landmarks(len(step))]
    return {
        STEP: xr.Variable(STEP, step),
        LANDMARK: xr.Variable(LANDMARK, marks),
        LANDMARK_OTHER: xr.Variable(LANDMARK_OTHER, marks),
        INTERVAL: xr.Variable(INTERVAL, step[:-1]),
        INTERVAL_OTHER: xr.Variable(INTERVAL_OTHER, step[:-1]),
        TURN: xr.Variable(TURN, step[1:-1]),
        LAG: xr.Variable(LAG, lag, {"units": f"{unit}s" if unit != "index" else "index"}),
        WINDOW_LENGTH: xr.Variable(
            WINDOW_LENGTH, np.array(window_lengths(len(step)), int), {"units": "checkpoints"}
        ),
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


def stacked(
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


def observables(
    found: Mapping[int, Arrays], names: Sequence[str], labels: Mapping[str, xr.Variable]
) -> xr.Dataset:
    """The observables of all groups, with what Brownian motion gives beside them."""
    held = [each for each in OBSERVABLES if each.name in next(iter(found.values()))]
    dataset = stacked(found, {each.name: each.dims for each in held}, names, labels)
    for each in held:
        dataset[each.name].attrs = {"units": each.units, "long_name": each.long_name}
    n_steps, n_components = dataset.sizes[STEP], dataset.sizes[COMPONENT]
    dataset = dataset.assign_coords({COMPONENT: np.arange(1, n_components + 1)})
    for walk in REFERENCES:
        dataset[walk.name] = xr.Variable(
            walk.dims,
            walk.values(n_steps, n_components),
            {"units": walk.units, "long_name": walk.long_name},
        )
    dataset.attrs = {
        # 2.576: 99% of a standard normal distribution, on both sides.
        "white_noise_band": 2.576 / n_steps**0.5,
        "white_noise_fft_mean": float(np.sqrt(np.pi) / 2),
        "white_noise_fft_sd": float(np.sqrt(1 - np.pi / 4)),
    }
    return dataset
