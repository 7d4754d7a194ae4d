"""Linear processes that stay near the origin: reversible and rotating Ornstein-Uhlenbeck."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from scipy.signal import lfilter

from trajscope.simulate.embedding import (
    as_trajectory,
    correlation_times,
    expect,
    expect_steps,
    random_stream,
)


def ornstein_uhlenbeck(
    n_steps: int,
    n_weights: int | None = None,
    *,
    taus: Sequence[float],
    seed: int,
    start: float | Sequence[float] = 0.0,
) -> xr.DataArray:
    """Ornstein-Uhlenbeck motion in independent quadratic wells: confined and time-reversible.

    ``dx = -x/tau dt + sqrt(2/tau) dW`` for every mode, exact at unit steps:
    ``x[t+1] = rho x[t] + sqrt(1 - rho^2) e_t``, ``rho = e^{-1/tau}``

    Stationary variance 1, autocorrelation rho^h. For each mode, to be summed over modes:
    ``c_0 = 2 (1 - rho)``, ``c_h = -(1 - rho)^2 rho^{h-1}``;
    ``S_y(w) = 2 (1 - cos w) (1 - rho^2) / (1 - 2 rho cos w + rho^2)``, rising with frequency;
    ``MSD(q) = 2 (1 - rho^q)``, ``VR(q) = (1 - rho^q) / (q (1 - rho))``. No signed area, no entropy
    production (Uhlenbeck & Ornstein 1930, doi:10.1103/PhysRev.36.823).

    Parameters
    ----------
    taus :
        Correlation time of every mode in steps.
    start :
        Mean position of the modes at step 0, in standard deviations; one number for all, or one
        for each. It decays as ``start rho^t`` while the covariance stays stationary: a relaxation.

    Returns
    -------
    (step, weight)

    Raises
    ------
    OptionError
        A correlation time that is not positive, or a number of starts that is not that of modes.

    Examples
    --------
    >>> from trajscope import simulate
    >>> simulate.ornstein_uhlenbeck(100, 50, taus=[5, 10], seed=1).shape
    (100, 50)
    """
    expect_steps(n_steps)
    times = correlation_times(taus)
    means = np.asarray(start, np.float64)
    fits = means.shape in {(), times.shape} and np.isfinite(means).all()
    expect(bool(fits), "start", start, f"one finite number, or one for each of {len(times)} modes,")

    modes = random_stream(seed).standard_normal((n_steps, len(times)))
    # 1 - rho^2 without the cancellation that long correlation times would bring.
    modes[1:] *= np.sqrt(-np.expm1(-2 / times))
    modes[0] += means
    for mode, rho in enumerate(np.exp(-1 / times)):
        modes[:, mode] = lfilter([1.0], [1.0, -rho], modes[:, mode])
    return as_trajectory(modes, n_weights, seed)


def rotating_ornstein_uhlenbeck(
    n_steps: int, n_weights: int | None = None, *, rate: float, angular_velocity: float, seed: int
) -> xr.DataArray:
    """Ornstein-Uhlenbeck motion that also rotates: confined, with a steady probability current.

    ``dx = -F x dt + sqrt(2a) dW``, ``F = a 1 + w J``, ``J = [[0, 1], [-1, 0]]``, exact at unit
    steps: ``z[t+1] = e^{-a + i w} z[t] + sqrt(1 - e^{-2a}) e_t`` for ``z = x_1 + i x_2``

    Stationary covariance 1 for every w; ``D = a 1``, ``U = 1``, ``Q = w J`` in ``F = (D + Q) U``.
    For w > 0 it turns from the first mode to the second: signed-area rate
    ``E[x_1[t] x_2[t+1] - x_2[t] x_1[t+1]] = 2 e^{-a} sin w`` per step. Entropy production
    ``2 w^2 / a`` per unit time, of which checkpoints show ``4 e^{-2a} sin^2 w / (1 - e^{-2a})`` per
    step. ``E x[t] . x[t+h] = 2 e^{-ah} cos wh``, ``MSD(q) = 4 (1 - e^{-aq} cos wq)`` (Godrèche &
    Luck 2018, arXiv:1807.00694).

    Parameters
    ----------
    rate :
        a, decay per step.
    angular_velocity :
        w, radians per step; beyond pi a turn looks like one the other way.

    Returns
    -------
    (step, weight)

    Raises
    ------
    OptionError
        A rate that is not positive, or an angular velocity that is not finite.

    Examples
    --------
    >>> from trajscope import simulate
    >>> simulate.rotating_ornstein_uhlenbeck(
    ...     100, rate=0.15, angular_velocity=0.45, seed=1).shape
    (100, 2)
    """
    expect_steps(n_steps)
    expect(0 < rate < np.inf, "rate", rate, "a positive decay per step")
    expect(
        np.isfinite(angular_velocity),
        "angular_velocity",
        angular_velocity,
        "a finite number of radians per step",
    )
    noise = random_stream(seed).standard_normal((n_steps, 2))
    noise[1:] *= np.sqrt(-np.expm1(-2 * rate))
    turn = np.exp(-rate + 1j * angular_velocity)
    z = lfilter([1.0], [1.0, -turn], noise[:, 0] + 1j * noise[:, 1])
    return as_trajectory(np.column_stack([z.real, z.imag]), n_weights, seed)
