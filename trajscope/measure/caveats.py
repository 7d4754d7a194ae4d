"""Caveats on curves whose numbers are right: rounding, constant weights, uneven steps."""

from typing import Final

import xarray as xr

from trajscope.measure.labels import even_spacing
from trajscope.schema import ALL_WEIGHTS, STEP

_ROUNDED_SHARE: Final = 0.05
"""Share of the increments' variance that may come from rounding before it is said."""


def caveats(trajectory: xr.Dataset, observables: xr.Dataset) -> list[str]:
    """Caveats on the curves, one sentence each.

    Parameters
    ----------
    trajectory :
        With ``step`` and ``stored_dtype(tensor)``.
    observables :
        As `measure` gives them.
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
    if even_spacing(trajectory[STEP].values) is None:
        found.append(
            "The checkpoints are unevenly spaced in steps: lags and frequencies count "
            "checkpoints, and curves mix intervals of different length. Select an evenly spaced "
            "part with --steps."
        )
    return found
