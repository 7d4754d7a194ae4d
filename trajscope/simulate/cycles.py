"""Nonlinear processes with a steady circulation: a limit cycle, and a double well with a force."""

import math
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.stats import truncnorm

from trajscope.simulate.embedding import as_trajectory, expect, expect_steps, random_stream

_HOPF_RESOLUTION: Final = 0.05
"""Inner time step in units of the fastest relaxation time: E|z|^2 is then right to 1e-3."""
_WELL_INNER_STEP: Final = 0.02
"""Up to a strength of 1, and shorter beyond: moments are then right to 1e-3."""
_WELL_REACH: Final = 4.0
"""The density of x_1 beyond is below 1e-24."""


def hopf(
    n_steps: int,
    n_weights: int | None = None,
    *,
    mu: float,
    angular_velocity: float,
    noise: float,
    seed: int,
) -> xr.DataArray:
    """A limit cycle: the normal form of a Hopf bifurcation, with noise or without.

    ``dz = ((mu + i w) z - |z|^2 z) dt + sqrt(2 D) dW``, ``z = x_1 + i x_2``, W a Brownian motion
    of unit variance along x_1 and x_2; stationary from the first step, at a random phase

    Radius sqrt(mu), period 2 pi / w. The rotation leaves ``exp(-(r^4/4 - mu r^2/2) / D)``
    stationary for every w, so ``u = r^2`` is normal, of mean mu and variance 2D, cut at 0:
    ``E r^2 = mu + s h(mu/s)``, ``s = sqrt(2D)``, h the standard normal density over its
    distribution function. Signed-area rate ``E[x_1 dx_2 - x_2 dx_1] / dt = w E r^2``, entropy
    production ``w^2 E r^2 / D`` per unit time. For small D the phase diffuses as D/mu: coherent
    over about mu/D steps. With D = 0: ``MSD(q) = 4 mu sin^2(wq/2)``, one line in the spectrum.

    Parameters
    ----------
    mu :
        Squared radius of the cycle, positive; deviations from it decay as ``e^{-2 mu t}``.
    angular_velocity :
        w, radians per step.
    noise :
        D, squared length per step; 0 for a coherent cycle.

    Returns
    -------
    (step, weight)

    Raises
    ------
    OptionError
        A value outside its range.

    Notes
    -----
    In the frame that rotates with w the noise is the same and the rest is radial. Half a radial
    flow, solved exactly, noise, and half a radial flow again: of second order in the inner step.

    Examples
    --------
    >>> from trajscope import simulate
    >>> simulate.hopf(
    ...     100, mu=0.2, angular_velocity=0.3, noise=1e-5, seed=1).shape
    (100, 2)
    """
    expect_steps(n_steps)
    expect(0 < mu < np.inf, "mu", mu, "a positive number")
    expect(0 <= noise < np.inf, "noise", noise, "a finite number of at least 0")
    expect(
        np.isfinite(angular_velocity),
        "angular_velocity",
        angular_velocity,
        "a finite number of radians per step",
    )
    rng = random_stream(seed)
    phase = rng.uniform(0, 2 * np.pi)
    spread = math.sqrt(2 * noise)
    square = mu
    if spread > 0:
        square = truncnorm.rvs(-mu / spread, np.inf, mu, spread, random_state=rng)
    radial = _radial_diffusion(math.sqrt(square), n_steps, mu, noise, rng)
    z = radial * np.exp(1j * (angular_velocity * np.arange(n_steps) + phase))
    return as_trajectory(np.column_stack([z.real, z.imag]), n_weights, seed)


def double_well(
    n_steps: int,
    n_weights: int | None = None,
    *,
    strength: float,
    seed: int,
    interval: float = 0.25,
) -> xr.DataArray:
    """A double well stirred by a force that leaves its steady state alone.

    ``dx = -grad f dt + sqrt(2) dW``, ``grad f = -j + grad Phi``,
    ``Phi = (x_1^2 - 1)^2 / 4 + x_2^2 / 2``, ``j = lambda e^Phi e^{-|x|^4 / 4} (-x_2, x_1)``

    The density is ``e^-Phi / Z``, Z = 7.6235, for every lambda, since ``div(j e^-Phi) = 0``: x_2
    is standard normal and independent of x_1, ``E x_1^2 = 1.0418``. Signed-area rate ``E[x_1 dx_2 -
    x_2 dx_1] / dt = 2 pi lambda / Z``: 0.412 at lambda = 0.5 (the minima of f have left those of
    Phi at (-1, 0) and (1, 0)) and 1.236 at 1.5 (a limit cycle round the saddle at 0).
    Time-reversible only at lambda = 0 (arXiv:1710.11029).

    Parameters
    ----------
    strength :
        lambda, signed: which way round, and how fast.
    interval :
        Time between checkpoints. Seen at checkpoints only, the signed area over the interval
        falls short of the rate: by 7 percent at 0.1, 18 at 0.25, 36 at 0.5, for lambda = 1.5.

    Returns
    -------
    (step, weight)

    Raises
    ------
    OptionError
        A strength that is not finite, or an interval that is not positive.

    Notes
    -----
    The first checkpoint is drawn from the steady state. Heun's method at an inner time step of
    0.02 or less: for noise that does not depend on x its moments are of second order.

    Examples
    --------
    >>> from trajscope import simulate
    >>> simulate.double_well(100, strength=1.0, seed=1).shape
    (100, 2)
    """
    expect_steps(n_steps)
    expect(np.isfinite(strength), "strength", strength, "a finite number")
    expect(0 < interval < np.inf, "interval", interval, "a positive time")
    rng = random_stream(seed)
    n_inner = math.ceil(interval * max(1.0, abs(strength)) / _WELL_INNER_STEP)
    dt = interval / n_inner
    positions = np.empty((n_steps, 2))
    first, second = _draw_from_wells(rng)
    positions[0] = first, second
    for step in range(1, n_steps):
        for kick_1, kick_2 in (rng.standard_normal((n_inner, 2)) * math.sqrt(2 * dt)).tolist():
            before_1, before_2 = _stirred_velocity(first, second, strength)
            after_1, after_2 = _stirred_velocity(
                first + before_1 * dt + kick_1, second + before_2 * dt + kick_2, strength
            )
            first += (before_1 + after_1) * dt / 2 + kick_1
            second += (before_2 + after_2) * dt / 2 + kick_2
        positions[step] = first, second
    return as_trajectory(positions, n_weights, seed)


def _radial_diffusion(
    radius: float, n_steps: int, mu: float, noise: float, rng: np.random.Generator
) -> NDArray[np.complex128]:
    """``dz = (mu - |z|^2) z dt + sqrt(2 D) dW`` from `radius`, at unit steps, as (step,)."""
    # The rates are 2 mu at the cycle, and about r^2 where noise alone sets r.
    n_inner = math.ceil((mu + math.sqrt(2 * noise)) / _HOPF_RESOLUTION)
    dt = 1 / n_inner
    decay = math.exp(-mu * dt)
    z = complex(radius)
    path = np.full(n_steps, z)
    for step in range(1, n_steps):
        kicks = rng.standard_normal((n_inner, 2)) * math.sqrt(2 * noise * dt)
        for kick_1, kick_2 in kicks.tolist():
            z = _half_flow(z, mu, decay) + complex(kick_1, kick_2)
            z = _half_flow(z, mu, decay)
        path[step] = z
    return path


def _half_flow(z: complex, mu: float, decay: float) -> complex:
    """``z' = (mu - |z|^2) z`` after half an inner step: ``r^2 -> mu r^2 / (r^2 + (mu - r^2) d)``.

    d = `decay` is ``e^{-2 mu t}`` over the half step.
    """
    square = z.real * z.real + z.imag * z.imag
    return z * math.sqrt(mu / (square + (mu - square) * decay))


def _draw_from_wells(rng: np.random.Generator) -> tuple[float, float]:
    """One draw from ``e^-Phi / Z``: x_1 by rejection, x_2 standard normal."""
    while True:
        proposed = rng.uniform(-_WELL_REACH, _WELL_REACH)
        if rng.uniform() < math.exp(-((proposed**2 - 1) ** 2) / 4):
            return proposed, rng.standard_normal()


def _stirred_velocity(first: float, second: float, strength: float) -> tuple[float, float]:
    """``j - grad Phi``. The exponent ``Phi - |x|^4 / 4`` is at most 1/2: no overflow far out."""
    square_1, square_2 = first * first, second * second
    exponent = 0.25 + (square_2 - square_1 - square_1 * square_2) / 2 - square_2 * square_2 / 4
    stir = strength * math.exp(exponent)
    return -stir * second - first * (square_1 - 1), stir * first - second
