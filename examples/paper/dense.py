"""A growing zarr store of the weights after every epoch, which trajscope opens like any run.

One array ``(step, ...)`` for each tensor, in chunks of a thousand steps, and an array ``step``
that is written last: a reader never meets a step whose weights are not there.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import zarr
from numpy.typing import NDArray

ROWS = 1_000  # of a chunk


def write_rows(
    path: Path, start: int, tensors: Mapping[str, NDArray[np.float32]], steps: NDArray[np.int64]
) -> None:
    """Write rows from `start` on, and drop what was behind them.

    Parameters
    ----------
    tensors : (row, ...)
        By name.
    steps : (row,)
    """
    group = zarr.open_group(path, mode="a", zarr_format=3)
    for name, values in (*tensors.items(), ("step", steps)):
        if name not in group:
            group.create_array(
                name,
                shape=(0, *values.shape[1:]),
                chunks=(ROWS, *values.shape[1:]),
                dtype=values.dtype,
                compressors=None,
                dimension_names=("step", *(f"{name}.{axis}" for axis in range(1, values.ndim))),
            )
        array = group[name]
        assert isinstance(array, zarr.Array)
        array.resize((start + len(values), *values.shape[1:]))
        array[start:] = values
