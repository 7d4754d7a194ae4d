"""Numbers by step and weight that are in memory already, as a trajectory."""

import hashlib
import os
from typing import Any, Final, TypeGuard

import numpy as np
import xarray as xr

from trajscope.errors import OptionError, printable
from trajscope.schema import ALL_WEIGHTS, EPOCH, LEARNING_RATE, STEP, WEIGHT, check_weights

Source = str | os.PathLike[str] | xr.Dataset | xr.DataArray | Any
"""A folder or an address; or a Dataset, or whatever `as_array` takes."""

_FINGERPRINTED: Final = 1 << 16
"""Weights whose first and last values tell one array from another: all may not fit in memory."""


def is_place(source: Source) -> TypeGuard[str | os.PathLike[str]]:
    """Whether the source is a folder or an address, which has to be opened."""
    return isinstance(source, str | os.PathLike)


def as_trajectory(source: Source) -> xr.Dataset:
    """A source that is no folder as a trajectory: a Dataset as it is, an array as one tensor.

    Raises
    ------
    TrajscopeError
        As `as_array`; or the array has fewer than two steps, or no real numbers.
    """
    return source if isinstance(source, xr.Dataset) else _of_array(as_array(source))


def as_array(source: Any) -> xr.DataArray:
    """A source that is no folder and no Dataset as an array ("step", "weight").

    Parameters
    ----------
    source :
        A DataArray; an array of NumPy, dask or torch with a row for each step; a pandas DataFrame,
        whose index counts steps where it holds numbers; or a list of rows.

    Raises
    ------
    OptionError
        It is something else, or has not two dimensions.
    """
    if isinstance(source, xr.DataArray):
        return source
    values = source
    steps = None
    if hasattr(source, "detach"):
        values = source.detach().cpu().numpy()
    elif hasattr(source, "columns"):
        values, steps = source.to_numpy(), source.index.to_numpy()
    elif isinstance(source, list | tuple):
        try:
            values = np.asarray(source)
        except ValueError:  # rows of different lengths
            values = None
    shape, kind = getattr(values, "shape", None), getattr(values, "dtype", np.dtype(object)).kind
    if shape is None or kind == "O" or not hasattr(values, "__array__"):
        raise OptionError(
            f"The source is a {type(source).__name__}; a folder of checkpoints, a Dataset from "
            "open_trajectory, or an array (step, weight) was expected. To make one from a dict "
            "of weights: numpy.concatenate([w.reshape(T, -1) for w in ...], 1)."
        )
    if len(shape) != 2:
        raise OptionError(
            f"The array has the shape {printable(shape)}; (step, weight) was expected. If steps "
            "are the first dimension, use array.reshape(len(array), -1)."
        )
    array = xr.DataArray(values, dims=(STEP, WEIGHT))
    is_counted = steps is not None and steps.dtype.kind in "iuf"
    return array.assign_coords({STEP: steps}) if is_counted else array


def _of_array(array: xr.DataArray) -> xr.Dataset:
    """The trajectory Dataset of one array: a single tensor, named like the array."""
    check_weights(array.dims, array.dtype.kind, array.sizes.get(STEP, 0))
    has_steps = STEP in array.coords
    corner = {STEP: [0, -1], WEIGHT: slice(_FINGERPRINTED)}
    ends = np.ascontiguousarray(array.isel(corner).to_numpy())
    steps = array[STEP].values if has_steps else np.arange(array.sizes[STEP])
    identity = hashlib.sha256(repr((array.shape, str(array.dtype), steps.tolist())).encode())
    identity.update(ends.tobytes())
    told = {each: array[each] for each in (LEARNING_RATE, EPOCH) if each in array.coords}
    name = str(array.name or "weights")
    return xr.Dataset(
        {"weights": array.variable},
        {
            STEP: steps,
            "tensor": [name],
            "row_size": ("tensor", [array.sizes[WEIGHT]]),
            "group": ("tensor", [ALL_WEIGHTS]),
            "stored_dtype": ("tensor", [str(array.dtype)]),
            **told,
        },
        {
            "source": "an array in memory",
            "run": name,
            "format": "array",
            "step_unit": "step" if has_steps else "index",
            "step_source": "the array's step coordinate" if has_steps else "position in the array",
            "fingerprint": identity.hexdigest(),
            "left_out": [],
            "skipped": [],
            "warnings": [],
        },
    )
