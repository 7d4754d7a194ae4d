"""The phase portrait of a run as part of its observables."""

import numpy as np
import xarray as xr

from trajscope.inference.statistics.portrait import portrait
from trajscope.measure.found import Measurement
from trajscope.measure.labels import even_spacing
from trajscope.schema import INTERVAL, PHASE_AXIS, STEP


def phase_portrait(
    steps: "np.ndarray[tuple[int, ...], np.dtype[np.generic]]", measurement: Measurement, seed: int
) -> dict[str, xr.Variable]:
    """Position, increment and signed area along the leading axes of the increments.

    Returns
    -------
    dict
        By name, of all weights; empty of unevenly spaced checkpoints, and where
        `inference.statistics.portrait.portrait` finds none.
    """
    if even_spacing(steps) is None or not measurement.factors:
        return {}
    found = portrait(measurement.factors[0], seed)
    if found is None:
        return {}
    low, high = np.quantile(found.draws, [0.005, 0.995], axis=0)
    weight, one = {"units": "weight"}, {"units": "1"}
    band = "end of the central 99% of the areas of permuted increments"
    return {
        "phase_position": xr.Variable(
            (STEP, PHASE_AXIS), found.position,
            {**weight, "long_name": "position along principal axes of the increments"},
        ),
        "phase_increment": xr.Variable(
            (INTERVAL, PHASE_AXIS), found.increment,
            {**weight, "long_name": "increment along principal axes of the increments"},
        ),
        "phase_area": xr.Variable(
            PHASE_AXIS, found.area,
            {**one, "long_name": "signed area swept in the plane of position and increment, over "
             "the increments' variance"},
        ),
        "phase_area_low": xr.Variable(PHASE_AXIS, low, {**one, "long_name": f"lower {band}"}),
        "phase_area_high": xr.Variable(PHASE_AXIS, high, {**one, "long_name": f"upper {band}"}),
        "phase_area_p": xr.Variable(
            PHASE_AXIS, found.p_values,
            {**one, "long_name": "p-value of exchangeable increments, among all axes (maxT)"},
        ),
    }  # fmt: skip
