"""Caveats on curves: rounding, cancellation, constant weights, uneven steps."""

from typing import Final

import numpy as np
import xarray as xr

from trajscope.errors import printable
from trajscope.kernels.cancellation import (
    component_error,
    displacement_error,
    mean_squared_displacement_error,
    product_error,
)
from trajscope.measure.labels import even_spacing
from trajscope.readers.base import widened_dtype
from trajscope.schema import ALL_WEIGHTS, COMPONENT, GROUP, STEP

MOST_ERROR: Final = 0.01
"""Relative error of a distance above which it is said."""
_ROUNDED_SHARE: Final = 0.05
"""Share of the increments' variance that may come from rounding before it is said."""


def caveats(trajectory: xr.Dataset, observables: xr.Dataset, components: str) -> list[str]:
    """Caveats on the curves, one sentence each.

    Parameters
    ----------
    trajectory :
        With ``step`` and ``stored_dtype(tensor)``.
    observables :
        As `measure` gives them.
    components :
        Of which matrix: distances are sums of inner products where it is "gram".
    """
    everything = observables.sel(group=ALL_WEIGHTS)
    n_weights, n_moving = int(everything["n_weights"]), int(everything["n_moving"])
    found = []
    if n_moving < n_weights:
        found.append(
            f"{n_weights - n_moving} of {n_weights} weights never change; curves that are "
            "normalised per weight exclude them."
        )
    rms, floor = float(everything["increment_rms"]), float(everything["rounding_floor"])
    if n_moving and floor**2 > _ROUNDED_SHARE * rms**2:
        dtypes = ", ".join(sorted(set(map(str, trajectory["stored_dtype"].values))))
        zero = float(everything["zero_increment_fraction"])
        found.append(
            f"Rounding to {dtypes} distorts the increments: their root mean square is {rms:.2g}, "
            f"of which rounding alone gives {floor:.2g}; {zero:.0%} of increments are exactly "
            "zero. Rounding alone gives a spectrum that rises with frequency. Save checkpoints in "
            "float32."
        )
    if n_moving and rms == 0:
        found.append(
            "Weights change, but the squares of their increments underflow in float64; curves "
            "that are not normalised per weight are zero."
        )
    if components == "gram":
        found.extend(_cancelled(trajectory, observables))
    if even_spacing(trajectory[STEP].values) is None:
        found.append(
            "The checkpoints are unevenly spaced in steps: lags and frequencies count "
            "checkpoints, and curves mix intervals of different length. Select an evenly spaced "
            "part with --steps."
        )
    return found


def _cancelled(trajectory: xr.Dataset, observables: xr.Dataset) -> list[str]:
    """Which distances are differences of sums so large that their rounding counts."""
    names = {name for text in trajectory["stored_dtype"].values for name in str(text).split("|")}
    widened = [widened_dtype(name) for name in names]
    is_single = all(each is not None and each.itemsize <= 4 for each in widened)
    dtype = np.dtype("float32") if is_single else np.dtype("float64")
    error, squares = product_error(dtype), np.square(observables["increment_norm"].values)
    distance = observables["displacement"].values
    pooled = observables["mean_squared_displacement"].values
    curves = {
        "displacement": displacement_error(squares, distance, error),
        "mean_squared_displacement": mean_squared_displacement_error(
            squares, distance, pooled, error
        ),
    }
    wrong = {name: (bound > MOST_ERROR).any(axis=-1) for name, bound in curves.items()}
    leading = observables["principal_component"].isel({COMPONENT: 0}).transpose(..., STEP).values
    wrong["explained_variance"] = component_error(squares, leading, error) > MOST_ERROR
    groups = observables[GROUP].values[np.any(list(wrong.values()), axis=0)]
    if not len(groups):
        return []
    more = f" and {len(groups) - 1} more groups" if len(groups) > 1 else ""
    affected = [name for name, each in wrong.items() if each.any()]
    return [
        f"Distances in {printable(groups[0])}{more} are small differences of large movements: in "
        f"{dtype}, {' and '.join(affected)} may be wrong by more than {MOST_ERROR:.0%} where the "
        "path comes back close to an earlier point. "
        + ("Pass the weights as float64." if is_single else "Leave out the jumps with --steps.")
    ]
