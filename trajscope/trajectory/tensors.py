"""One tensor of a trajectory, in its own shape."""

import json
from difflib import get_close_matches

import xarray as xr

from trajscope.checkpoints.lazy import shaped
from trajscope.errors import TrajectoryError, printable
from trajscope.schema import STEP, TENSOR, WEIGHT


def tensor(trajectory: xr.Dataset, name: str) -> xr.DataArray:
    """One tensor of a trajectory in its own shape, (step, dim_0, dim_1, ...), lazily.

    Raises
    ------
    TrajectoryError
        There is no such tensor, or the Dataset is not a whole trajectory along ``weight``.

    Examples
    --------
    >>> import numpy as np, trajscope
    >>> for step in (0, 100):
    ...     weights = {"fc.weight": np.full((2, 3), step, "float32")}
    ...     path = trajscope.save_checkpoint("runs/tensor", weights, step=step)
    >>> run = trajscope.open_trajectory("runs/tensor")
    >>> trajscope.tensor(run, "fc.weight").shape
    (2, 2, 3)
    """
    missing = {"weights", TENSOR, "row_size", "shape"} - set(trajectory.variables)
    if missing or trajectory["weights"].dims != (STEP, WEIGHT):
        raise TrajectoryError(
            "A Dataset from open_trajectory was expected, with weights(step, weight); "
            + (
                f"{', '.join(sorted(missing))} is missing. "
                if missing
                else ("it has other dimensions. ")
            )
            + "Select steps with a list or a slice, so that the dimension stays."
        )
    sizes = trajectory["row_size"].to_numpy()
    if sizes.sum() != trajectory.sizes[WEIGHT]:
        raise TrajectoryError(
            f"The tensors have {sizes.sum()} weights together, the Dataset has "
            f"{trajectory.sizes[WEIGHT]}. Take the tensor first, then select some of its weights."
        )
    names = [str(each) for each in trajectory[TENSOR].to_numpy()]
    if name not in names:
        close = get_close_matches(str(name), names) or names[:5]
        raise TrajectoryError(
            f"There is no tensor {printable(name)!r} in this trajectory of {len(names)} tensors. "
            f"Near it: {', '.join(printable(each) for each in close)}."
        )
    position = names.index(name)
    start = int(sizes[:position].sum())
    shape = tuple(json.loads(str(trajectory["shape"].to_numpy()[position])))
    flat = trajectory["weights"].variable[:, start : start + int(sizes[position])]
    along = {key: c.variable for key, c in trajectory.coords.items() if c.dims == (STEP,)}
    return xr.DataArray(shaped(flat, shape), coords=along, name=name)
