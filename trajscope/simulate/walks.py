"""Processes that do not stay: random walks, with independent and with correlated increments."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from scipy.linalg import companion, hankel, solve_discrete_lyapunov
from scipy.signal import lfilter

from trajscope.simulate.embedding import (
    as_walk,
    expect,
    expect_steps,
    random_stream,
    square_root,
)
from trajscope.simulate.noises import gaussian, student_t


def brownian(  # noqa: PLR0913 - each is one way in which a run can differ from the plain walk
    n_steps: int,
    n_weights: int,
    *,
    seed: int,
    rank: int | None = None,
    drift: float = 0.0,
    degrees_of_freedom: float | None = None,
    noise_ratio: float = 1.0,
    noise_change: float = 0.5,
) -> xr.DataArray:
    """Brownian motion from the origin, at unit steps.

    ``y_t = drift + s_t e_t`` in each of k modes, e_t independent with mean 0 and variance 1

    For s = 1: ``c_0 = k``, all other c_h = 0, S_y = k is flat, VR = 1, ``MSD(q) = k (q + drift^2
    q^2)``. Without drift the fractions of variance along the principal components are, as k grows,
    in proportion to ``1 / sin^2(pi j / 2T)``: ``6 / (pi j)^2`` for long runs (Antognini &
    Sohl-Dickstein 2018, arXiv:1806.08805).

    Parameters
    ----------
    rank :
        Number of modes k; by default every weight is one, unmixed.
    drift :
        Mean of the increments of every mode in units of their first standard deviation.
    degrees_of_freedom :
        Draw e_t from Student's t, scaled to unit variance, independently for every mode; more
        than 2. By default e_t is normal.
    noise_ratio, noise_change :
        s_t is 1 on the first ``round(noise_change * (T - 1))`` intervals and `noise_ratio` after.

    Returns
    -------
    (step, weight)

    Raises
    ------
    OptionError
        A value outside its range.

    Examples
    --------
    >>> from trajscope import simulate
    >>> simulate.brownian(100, 20, drift=0.1, seed=1).shape
    (100, 20)
    """
    expect_steps(n_steps)
    _expect_rank(rank, n_weights)
    expect(np.isfinite(drift), "drift", drift, "a finite number")
    expect(0 <= noise_ratio < np.inf, "noise_ratio", noise_ratio, "a finite number of at least 0")
    expect(0 <= noise_change <= 1, "noise_change", noise_change, "a fraction between 0 and 1")
    rng = random_stream(seed)
    shape = (n_steps - 1, n_weights if rank is None else rank)
    law = gaussian if degrees_of_freedom is None else student_t(degrees_of_freedom)
    noise = law(rng, shape)
    noise[round(noise_change * (n_steps - 1)) :] *= noise_ratio
    return as_walk(drift + noise, None if rank is None else n_weights, seed)


def autoregressive_increments(
    n_steps: int, n_weights: int, *, phi: Sequence[float], seed: int, rank: int | None = None
) -> xr.DataArray:
    """A walk from the origin whose increments are a stationary AR(p) process of unit variance.

    ``y_t = sum_j phi_j y_{t-j} + s e_t`` in each of k modes, e_t independent, standard normal

    ``c_0 = k``; ``c_h = sum_j phi_j c_{h-j}``, for one phi ``c_h = k phi^h``, for two
    ``c_1 = k phi_1 / (1 - phi_2)``. ``S_y(w) = k s^2 / |1 - sum_j phi_j e^{-i w j}|^2``, with a
    peak inside the band for complex roots: increments that ring. For one phi
    ``VR(q) = (1 + phi) / (1 - phi) - 2 phi (1 - phi^q) / (q (1 - phi)^2)``; in general ``VR(q) ->
    S_y(0) / c_0`` as q grows, and ``MSD(q) = k q VR(q)`` (Box & Jenkins, Time Series Analysis, ch.
    3; Lo & MacKinlay 1988, doi:10.1093/rfs/1.1.41).

    Parameters
    ----------
    phi :
        ``(phi_1, ..., phi_p)``, with all roots of ``z^p - sum_j phi_j z^{p-j}`` inside the unit
        circle.
    rank :
        Number of modes k; by default every weight is one, unmixed.

    Returns
    -------
    (step, weight)

    Raises
    ------
    OptionError
        No coefficient, or an AR process that is not stationary.

    Examples
    --------
    >>> from trajscope import simulate
    >>> simulate.autoregressive_increments(100, 20, phi=[0.5], seed=1).shape
    (100, 20)
    """
    expect_steps(n_steps)
    _expect_rank(rank, n_weights)
    coefficients = np.asarray(phi, np.float64)
    whole = coefficients.ndim == 1 and coefficients.size and np.isfinite(coefficients).all()
    expect(bool(whole), "phi", phi, "a sequence of one or more finite numbers")
    polynomial = np.concatenate([[1.0], -coefficients])
    transition = companion(polynomial)
    largest = np.abs(np.linalg.eigvals(transition)).max()
    expect(largest < 1, "phi", phi, f"roots inside the unit circle (the largest is {largest:.6g})")

    order = len(coefficients)
    innovation = np.zeros((order, order))
    innovation[0, 0] = 1.0
    covariance = np.asarray(solve_discrete_lyapunov(transition, innovation), np.float64)
    rng = random_stream(seed)
    n_modes = n_weights if rank is None else rank
    past = square_root(covariance) @ rng.standard_normal((order, n_modes))
    noise = rng.standard_normal((n_steps - 1, n_modes))
    # The filter's memory after the values past[0] (latest), past[1], ...
    memory = hankel(coefficients) @ past
    increments, _ = lfilter([1.0], polynomial, noise, axis=0, zi=memory)
    increments /= np.sqrt(covariance[0, 0])
    return as_walk(increments, None if rank is None else n_weights, seed)


def _expect_rank(rank: int | None, n_weights: int) -> None:
    expect(n_weights >= 1, "n_weights", n_weights, "at least 1 weight")
    if rank is not None:
        expect(1 <= rank <= n_weights, "rank", rank, f"between 1 and the {n_weights} weights")
