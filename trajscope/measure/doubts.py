"""What spoils a curve although its numbers are right: rounding, dead weights, uneven steps."""

from typing import Final

import xarray as xr

from trajscope.measure.labels import even_spacing
from trajscope.schema import ALL_WEIGHTS, STEP

_ROUNDED_SHARE: Final = 0.05
"""Share of the increments' variance that may come from rounding before it is said."""


def doubts(trajectory: xr.Dataset, observables: xr.Dataset) -> list[str]:
    """What a reader of the curves has to know, one sentence each.

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
            f"{n_weights - n_moving} of {n_weights} weights never move; they are left out of "
            "curves that are normalised per weight."
        )
    rms, floor = float(everything["increment_rms"]), float(everything["rounding_floor"])
    if n_moving and floor**2 > _ROUNDED_SHARE * rms**2:
        dtypes = ", ".join(sorted(set(map(str, trajectory["stored_dtype"].values))))
        zero = float(everything["zero_increment_fraction"])
        found.append(
            f"Rounding to {dtypes} spoils the increments: it alone would give a root mean square "
            f"of {floor:.2g}, and {rms:.2g} is seen; {zero:.0%} of increments are exactly zero. "
            "Rounding alone makes a spectrum rise with frequency. Save float32 checkpoints."
        )
    if n_moving and rms == 0:
        found.append(
            "Weights move, but by so little that squares of their increments vanish in float64; "
            "curves that are not normalised per weight are zero."
        )
    if even_spacing(trajectory[STEP].values) is None:
        found.append(
            "The checkpoints are unevenly spaced in steps: lags and frequencies count checkpoints, "
            "and their curves mix intervals of different length. --steps can select an even part."
        )
    return found
