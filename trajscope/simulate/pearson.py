"""A well whose noise grows with the distance from its centre: Pearson's diffusion."""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import xarray as xr

from trajscope.simulate.embedding import (
    as_trajectory,
    correlation_times,
    expect,
    expect_steps,
    random_stream,
)

_INNER_STEP: Final = 0.02
"""In correlation times: the stationary law is then that of Student's t to plain sight."""


def pearson_diffusion(
    n_steps: int,
    n_weights: int | None = None,
    *,
    taus: Sequence[float],
    degrees_of_freedom: float,
    seed: int,
) -> xr.DataArray:
    """Diffusion in wells with noise that depends on x: stationary, reversible, heavy-tailed.

    ``dx = -x/tau dt + sqrt(2 (1 - k + k x^2) / tau) dW`` (Ito) for every mode,
    ``k = 1 / (degrees_of_freedom - 1)``

    Stationary: Student's t with that many degrees of freedom, scaled to variance 1. Autocorrelation
    ``rho^h``, ``rho = e^{-1/tau}``, as in `ornstein_uhlenbeck`, and so c_h, S_y, MSD and VR; but
    squared increments cluster: ``E[x[t+h]^2 | x[t]] = 1 + (x[t]^2 - 1) e^{-2(1-k)h/tau}``. No
    signed area (Forman & Sørensen 2008, doi:10.1111/j.1467-9469.2007.00592.x).

    Parameters
    ----------
    taus :
        Correlation time of every mode in steps.
    degrees_of_freedom :
        More than 2; moments exist below it.

    Returns
    -------
    (step, weight)

    Raises
    ------
    OptionError
        A value outside its range.

    Notes
    -----
    Inner steps of at most 0.02 correlation times, normal, with the exact conditional mean and
    variance of the diffusion: covariances of x and the line above are exact, the law nearly.

    Examples
    --------
    >>> from trajscope import simulate
    >>> simulate.pearson_diffusion(
    ...     100, taus=[5.0], degrees_of_freedom=4, seed=1).shape
    (100, 1)
    """
    expect_steps(n_steps)
    times = correlation_times(taus)
    degrees = degrees_of_freedom
    found = "a finite number above 2, where the variance exists,"
    expect(2 < degrees < np.inf, "degrees_of_freedom", degrees, found)

    rng = random_stream(seed)
    n_inner = max(1, math.ceil(1 / (_INNER_STEP * times.min())))
    elapsed = 1 / (n_inner * times)
    keeps = np.exp(-elapsed)
    forgets = -np.expm1(-2 * elapsed * (1 - 1 / (degrees - 1)))
    grows = -np.expm1(-2 * elapsed) - forgets
    x = rng.standard_t(degrees, len(times)) / np.sqrt(degrees / (degrees - 2))
    modes = np.empty((n_steps, len(times)))
    modes[0] = x
    for step in range(1, n_steps):
        for kick in rng.standard_normal((n_inner, len(times))):
            x = keeps * x + np.sqrt(forgets + grows * x**2) * kick
        modes[step] = x
    return as_trajectory(modes, n_weights, seed)
