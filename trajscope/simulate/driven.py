"""Walks and wells under any noise, on any schedule, round a centre that may move."""

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from trajscope.kernels.gram import Floats
from trajscope.schema import STEP
from trajscope.simulate.courses import LEARNING_RATE, Course, course_values, fractions, scales
from trajscope.simulate.embedding import (
    as_trajectory,
    as_walk,
    correlation_times,
    expect,
    expect_steps,
    random_stream,
)
from trajscope.simulate.noises import Law, gaussian

_FORGOTTEN: Final = 10
"""Correlation times after which a start at 0 is forgotten, to e^-20 of the variance."""


def driven_walk(
    n_steps: int,
    n_weights: int | None = None,
    *,
    n_modes: int,
    seed: int,
    noise: Law = gaussian,
    learning_rate: Course = 1.0,
) -> xr.DataArray:
    """A walk from the origin under any noise, whose size follows a schedule.

    ``y_t = s_t e_t`` in each of k modes

    With noise of variance 1: ``E|x[t+q] - x[t]|^2 = k sum_{t<=u<t+q} s_u^2``, increments
    uncorrelated.

    Parameters
    ----------
    n_modes :
        k.
    noise :
        The law of e_t: `gaussian`, `student_t`, `stable`, `clustered`, or one of your own.
    learning_rate :
        The course of s: how far the noise moves the weights.

    Returns
    -------
    (step, weight)
        With the coordinate ``learning_rate`` along steps: s_t. ``drop_vars`` makes it unknown.

    Raises
    ------
    OptionError
        A value outside its range.

    Examples
    --------
    >>> from trajscope import simulate
    >>> run = simulate.driven_walk(
    ...     100, n_modes=20, learning_rate=simulate.cosine(0.05), seed=1)
    >>> run.shape, float(run.learning_rate[0])
    ((100, 20), 1.0)
    """
    expect_steps(n_steps)
    expect(n_modes >= 1, "n_modes", n_modes, "at least 1 mode")
    rates = scales("learning_rate", learning_rate, n_steps)
    increments = noise(random_stream(seed), (n_steps - 1, n_modes)) * rates[:-1, np.newaxis]
    return as_walk(increments, n_weights, seed).assign_coords({LEARNING_RATE: (STEP, rates)})


def driven_well(  # noqa: PLR0913 - each is one way in which a run can differ from the plain well
    n_steps: int,
    n_weights: int | None = None,
    *,
    taus: Sequence[float],
    seed: int,
    noise: Law = gaussian,
    scale: Course = 1.0,
    learning_rate: Course = 1.0,
    centre: Course = 0.0,
    angular_velocity: float | None = None,
) -> xr.DataArray:
    """Ornstein-Uhlenbeck motion under any noise, on a schedule, in a well that may move and turn.

    ``dx = -s (x - m) / tau dt + s b sqrt(2/tau) dW``, exact at unit steps:
    ``x[t+1] = m_t + r_t (x[t] - m_t) + b_t sqrt(s_t (1 - r_t^2)) e_t``, ``r_t = e^{-s_t/tau}``

    About its mean a mode has ``V[0] = 1``, variance ``V[t+1] = r_t^2 V[t] + b_t^2 s_t (1 - r_t^2)``
    and autocovariance ``V[t] r_t r_{t+1} ... r_{t+h-1}``: with s = b = 1 those of
    `ornstein_uhlenbeck`, for any noise of variance 1. The mean starts at the centre and lags:
    behind one that moves by d a step it ends ``d / (1 - r)`` back. With `stable` noise of index
    alpha and s = b = 1, ``E cos k(x - m) = exp(-|k|^alpha c / 2)``,
    ``c = (1 - r^2)^{alpha/2} / (1 - r^alpha)``. In the clock ``sum_t s_t`` the correlation time
    is tau on any schedule.

    Parameters
    ----------
    taus :
        Correlation time of every mode, or of every plane that turns, in steps at s = 1.
    noise :
        The law of e_t: `gaussian`, `student_t`, `stable`, `clustered`, or one of your own.
    scale :
        The course of b, the size of the noise alone (a batch size that changes).
    learning_rate :
        The course of s, which speeds up the pull as well.
    centre :
        The course of m, the same in every mode; an array may also be (step, mode).
    angular_velocity :
        w, radians per step at s = 1: every tau stands for a plane of two modes that turns as
        `rotating_ornstein_uhlenbeck` does, ``r_t = e^{-s_t (1/tau - i w)}`` for ``x_1 + i x_2``.
        Signed-area rate about the mean, with s = b = 1: ``2 e^{-1/tau} sin w`` per step.

    Returns
    -------
    (step, weight)
        With the coordinate ``learning_rate`` along steps: s_t. ``drop_vars`` makes it unknown.

    Raises
    ------
    OptionError
        A value outside its range, or a course that does not fit the checkpoints.

    Notes
    -----
    Before step 0 the well stands still at s = b = 1. Noise that is not Gaussian runs for 10
    correlation times there, until its start is forgotten.

    Examples
    --------
    >>> from trajscope import simulate
    >>> simulate.driven_well(
    ...     100, taus=[5] * 20, centre=simulate.linear(30), seed=1).shape
    (100, 20)
    """
    expect_steps(n_steps)
    times = correlation_times(taus)
    turns = angular_velocity is not None
    velocity = angular_velocity or 0.0
    expect(bool(np.isfinite(velocity)), "angular_velocity", velocity, "finite radians per step")
    n_modes = len(times) * (2 if turns else 1)
    rates = scales("learning_rate", learning_rate, n_steps)
    path = _centres(centre, n_steps, n_modes)

    n_before = 1 if noise is gaussian else math.ceil(_FORGOTTEN * times.max())
    speed = np.concatenate([np.ones(n_before), rates[:-1]])[:, np.newaxis]
    size = np.concatenate([np.ones(n_before), scales("scale", scale, n_steps)[:-1]])[:, np.newaxis]
    drawn = noise(random_stream(seed), (len(speed), n_modes))
    # 1 - r^2 without the cancellation that long correlation times would bring.
    kick = size * np.sqrt(-speed * np.expm1(-2 * speed / times))
    if noise is gaussian:
        kick[0] = 1.0
    if turns:
        pulls = -np.expm1(-speed * (1 / times - 1j * velocity))
        z = _pulled(pulls, kick * _planes(drawn), _planes(path))
        modes = np.stack([z.real, z.imag], axis=2).reshape(n_steps, n_modes)
    else:
        modes = _pulled(-np.expm1(-speed / times), kick * drawn, path)
    return as_trajectory(modes, n_weights, seed).assign_coords({LEARNING_RATE: (STEP, rates)})


def _centres(centre: Course, n_steps: int, n_modes: int) -> Floats:
    """The centre of the well as (step, mode)."""
    path = course_values("centre", centre, fractions(n_steps))
    if path.ndim == 1:
        path = np.repeat(path[:, np.newaxis], n_modes, axis=1)
    found = f"array of shape {path.shape}"
    expect(path.shape[1] == n_modes, "centre", found, f"shape (step, mode) with {n_modes} modes")
    return path


def _planes(modes: Floats) -> NDArray[np.complex128]:
    """Two modes each as one complex number."""
    planes: NDArray[np.complex128] = modes[:, 0::2] + 1j * modes[:, 1::2]
    return planes


def _pulled(pulls: NDArray[Any], kicks: NDArray[Any], path: NDArray[Any]) -> NDArray[Any]:
    """``x <- x + pull (m - x) + kick`` from m_0 on, as (step, mode) like the path of m.

    Earlier intervals than the path has go by at m_0. Where pull and kick are 0, x keeps its bits.
    """
    n_before = len(kicks) - len(path) + 1
    x = path[0]
    positions = np.empty_like(path)
    for interval, (pull, kick) in enumerate(zip(pulls, kicks, strict=True)):
        centre = path[max(interval - n_before, 0)]
        x = x + pull * (centre - x) + kick
        if interval >= n_before - 1:
            positions[interval - n_before + 1] = x
    return positions
