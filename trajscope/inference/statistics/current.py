"""How a path circulates: its plane, its angular velocity, the entropy it produces."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trajscope.inference.nulls.draws import DRAWS_AT_ONCE, over_batches, phases
from trajscope.inference.statistics.circulation import (
    series_of,
    signed_areas,
    slow_modes,
    spectra_of,
)
from trajscope.kernels.gram import Floats

N_AREAS: Final = 20
"""Surrogates whose signed area is kept, to be drawn beside that of the data."""
_N_DRAWS: Final = 6 * DRAWS_AT_ONCE
_N_RESAMPLED: Final = 200
_RESAMPLING: Final = 7
"""Of the generator, beside the seed."""


@dataclass(frozen=True)
class Current:
    """The current in the plane where it is strongest; rates are per checkpoint.

    Attributes
    ----------
    angular_velocity :
        Radians, positive: the plane is turned so that the path circulates anticlockwise. Less, in
        quadrature, the share that reversible surrogates, each in its strongest plane, have of its
        area.
    per_relaxation :
        The same in radians per relaxation time of the plane.
    period : float or None
        Of the complex eigenvalue of the propagator of all slow modes that lies most in the plane,
        in checkpoints. The path along the plane alone has other eigenvalues: they may be complex
        where those of the whole are real.
    period_interval : tuple of float or None
        95% interval of the period, in checkpoints, where the eigenvalues of the propagator are
        complex in that interval: only then does the plane turn round and round.
    entropy_production, entropy_interval :
        Nats, of the linear process with these covariances, less the mean of reversible surrogates;
        so it may be negative where there is none. With its 95% interval.
    plane : (axis, component)
        Two unit vectors in the space of principal components.
    path : (step, axis)
        Along the plane, whitened: one standard deviation is 1.
    area : (step,)
        Signed area swept from the first checkpoint on, squared standard deviations.
    surrogate_areas : (surrogate, step)
        The same of paths that look alike backwards, each in its own strongest plane.
    """

    angular_velocity: float
    per_relaxation: float
    period: float | None
    period_interval: tuple[float, float] | None
    entropy_production: float
    entropy_interval: tuple[float, float]
    plane: Floats
    path: Floats
    area: Floats
    surrogate_areas: Floats


def describe_current(positions: Floats, seed: int) -> Current:
    """The current of a path that is evenly spaced and evenly sampled.

    Parameters
    ----------
    positions : (step, component)
        At least two components, none constant.
    """
    n_steps = len(positions)
    spectra = spectra_of(positions)
    modes = slow_modes(spectra, n_steps)
    amplitudes = np.abs(modes.spectra)
    axes = _strongest_plane(modes.spectra, n_steps)
    path = _path_in(axes, modes.spectra, n_steps)

    def draw(batch: int, count: int) -> tuple[list[float], list[Floats]]:
        rates, areas = [], []
        for number, angles in enumerate(phases(seed, batch, amplitudes.shape)[:count]):
            drawn = slow_modes(amplitudes * np.exp(1j * angles), n_steps).spectra
            rates.append(entropy_production(series_of(drawn, n_steps).T))
            if batch * DRAWS_AT_ONCE + number < N_AREAS:
                own = _path_in(_strongest_plane(drawn, n_steps), drawn, n_steps)
                areas.append(signed_area(own))
        return rates, areas

    drawn = over_batches(draw, _N_DRAWS, positions.size)
    surrogate = float(np.mean([rate for rates, _ in drawn for rate in rates]))
    plane = axes @ modes.unmixing
    area = signed_area(path)
    by_chance = np.array([area for _, areas in drawn for area in areas])
    squared = float((by_chance[:, -1] ** 2).mean()) / max(float(area[-1]) ** 2, 1e-300)
    velocity = max(0.0, 1 - squared) ** 0.5 * angular_velocity(path)
    rates = -np.log(np.clip(np.abs(np.linalg.eigvals(_propagator(path))), 1e-12, 1 - 1e-12))
    series = series_of(modes.spectra, n_steps).T
    entropy = entropy_production(series)
    white = series / series.std(axis=0)
    turning = _propagator(white)
    again = _resampled(white, turning, seed)
    entropies = np.array([entropy_production(each) for each in again])
    low, high = np.quantile(entropies - entropies.mean(), [0.025, 0.975])
    period, interval = _period(turning, again, axes) if velocity > 0 else (None, None)
    return Current(
        velocity,
        velocity / float(rates.mean()),
        period,
        interval,
        entropy - surrogate,
        # What resampled paths add to the entropy, their own surrogates would take off again.
        (entropy - surrogate + float(low), entropy - surrogate + float(high)),
        np.asarray(plane / np.linalg.norm(plane, axis=1, keepdims=True)),
        path,
        area,
        by_chance,
    )


def _propagator(path: Floats) -> Floats:
    """A of ``z[t+1] = A z[t] + e[t]``, by least squares, (axis, axis)."""
    fitted, *_ = np.linalg.lstsq(path[:-1], path[1:], rcond=None)
    return np.asarray(fitted.T)


def _resampled(path: Floats, turning: Floats, seed: int) -> Floats:
    """Paths of the same propagator and start with its residuals drawn again, (draw, step, axis)."""
    rng = np.random.default_rng([seed, _RESAMPLING])
    n = len(path) - 1
    left = path[1:] - path[:-1] @ turning.T
    drawn = np.empty((_N_RESAMPLED, n + 1, path.shape[1]))
    drawn[:, 0] = path[rng.integers(0, n + 1, _N_RESAMPLED)]
    picked = rng.integers(0, n, (n, _N_RESAMPLED))
    for t in range(n):
        drawn[:, t + 1] = drawn[:, t] @ turning.T + left[picked[t]]
    return drawn


def _period(
    turning: Floats, resampled: Floats, axes: Floats
) -> tuple[float, tuple[float, float]] | tuple[None, None]:
    """The angle of an eigenvalue as a period, and where it lies; `None` where it may be zero."""
    own = _angle(turning, axes)
    angles = [_angle(_propagator(each), axes) for each in resampled]
    low, high = np.quantile(angles, [0.025, 0.975])
    if own == 0 or low <= 0:
        return None, None
    return 2 * np.pi / own, (float(2 * np.pi / high), float(2 * np.pi / low))


def _angle(turning: Floats, axes: Floats) -> float:
    """Radians of the complex eigenvalue whose vector lies most in the plane; 0 without any."""
    values, vectors = np.linalg.eig(turning)
    within = np.linalg.norm(axes @ vectors, axis=0) * (values.imag > 0)
    return float(np.angle(values[within.argmax()])) if within.any() else 0.0


def signed_area(path: Floats) -> Floats:
    """``L[t] = 1/2 sum_{s<t} (u[s] v[s+1] - v[s] u[s+1])``, zero at the first step.

    Parameters
    ----------
    path : (step, axis)

    Returns
    -------
    (step,)
    """
    u, v = path.T
    swept = (u[:-1] * v[1:] - v[:-1] * u[1:]) / 2
    return np.concatenate([[0.0], swept.cumsum()])


def angular_velocity(path: Floats) -> float:
    """Argument of the complex eigenvalue of the propagator from one step to the next, radians.

    For the white path z of a plane, ``A = E[z[t+1] z[t]']`` is split into its antisymmetric part
    and the mean of its diagonal; for ``dz = -(a + w J) z dt + dW`` it is ``exp(-a) R(w)``.

    Parameters
    ----------
    path : (step, axis)
    """
    lagged = path[1:].T @ path[:-1]
    return float(np.arctan2(lagged[1, 0] - lagged[0, 1], np.trace(lagged)))


def entropy_production(series: Floats) -> float:
    """Nats per step by which forward pairs of a Gaussian process differ from backward pairs.

    ``KL(p(x[t], x[t+1]) || p(x[t+1], x[t]))``; ``2 w^2 / a`` per unit of time for the rotating
    process of `angular_velocity`, sampled often, and a lower bound otherwise.
    Seifert 2012, doi:10.1088/0034-4885/75/12/126001.

    Parameters
    ----------
    series : (step, mode)
    """
    centred = series - series.mean(axis=0)
    covariance = centred.T @ centred / len(centred)
    root = np.linalg.cholesky(covariance)
    white = np.linalg.solve(root, centred.T)
    # The loop is closed, as Fourier coefficients see it.
    lagged = np.roll(white, -1, axis=1) @ white.T / white.shape[1]
    # A path that returns exactly produces infinitely much: here, about a million.
    lagged *= 1 - 1e-6
    n = len(lagged)
    forward = np.block([[np.eye(n), lagged.T], [lagged, np.eye(n)]])
    backward = np.block([[np.eye(n), lagged], [lagged.T, np.eye(n)]])
    return float(np.trace(np.linalg.solve(backward, forward)) / 2 - n)


def _strongest_plane(modes: NDArray[np.complexfloating], n_steps: int) -> Floats:
    """Orthonormal axes, (axis, mode), of the plane in which standardised areas are largest."""
    values, vectors = np.linalg.eigh(1j * signed_areas(modes, n_steps))
    leading = vectors[:, values.argmax()]
    axes = np.stack([leading.real, leading.imag]) * np.sqrt(2)
    u, _, v = np.linalg.svd(axes, full_matrices=False)
    return np.asarray(u @ v)


def _path_in(axes: Floats, modes: NDArray[np.complexfloating], n_steps: int) -> Floats:
    """The path in a plane of white modes, turned so that its signed area is positive."""
    series = series_of(modes, n_steps)
    path = axes @ (series / series.std(axis=1, keepdims=True))
    if signed_area(path.T)[-1] < 0:
        path = path[::-1]
    return np.asarray(path.T)
