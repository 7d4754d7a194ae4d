"""Covariances of paths along directions: the same of a run and of simulated ones."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from trajscope.kernels.gram import Floats
from trajscope.theory.law import Law

_AT_ONCE: Final = 64 << 20
"""Bytes of simulated paths."""


@dataclass(frozen=True)
class Moments:
    """Of one path, or of many along a leading dimension.

    Attributes
    ----------
    covariance : (..., direction, direction)
        S, about the mean of the window.
    lagged : (..., direction, direction)
        C, row one checkpoint later than column.
    mardia : (...)
        Mean fourth power of the distance from the mean, in units of S, over ``k (k + 2)``: 1 for a
        normal law (Mardia 1970, doi:10.1093/biomet/57.3.519).
    kurtosis : (..., direction)
        ``E x^4 / (E x^2)^2 / 3``: 1 for a normal law.
    displacements : (..., 3, direction)
        Mean squared displacement over 1, 2, and a quarter of the checkpoints.
    """

    covariance: Floats
    lagged: Floats
    mardia: Floats
    kurtosis: Floats
    displacements: Floats

    @property
    def variances(self) -> Floats:
        """(..., direction)."""
        return _diagonal(self.covariance)

    @property
    def lagged_variances(self) -> Floats:
        """(..., direction)."""
        return _diagonal(self.lagged)

    @property
    def spread(self) -> Floats:
        """Half the mean squared displacement over one checkpoint, (..., direction)."""
        return self.displacements[..., 0, :] / 2

    @property
    def currents(self) -> Floats:
        """``antisym(C)_ij / sqrt(S_ii S_jj)`` of every plane i < j, (..., plane)."""
        return currents(self.covariance, self.lagged)


def moments(paths: Floats) -> Moments:
    """Covariance and lagged covariance of (..., step, direction)."""
    centred = paths - paths.mean(axis=-2, keepdims=True)
    n = centred.shape[-2]
    turned = np.swapaxes(centred, -1, -2)
    covariance = turned @ centred / n
    lagged = turned[..., 1:] @ centred[..., :-1, :] / (n - 1)
    squares = ((centred @ np.linalg.pinv(covariance, hermitian=True)) * centred).sum(axis=-1)
    k = centred.shape[-1]
    mardia = (squares**2).mean(axis=-1) / (k * (k + 2))
    kurtosis = (centred**4).mean(axis=-2) / np.maximum(_diagonal(covariance) ** 2, 1e-300) / 3
    lags = (1, 2, max(n // 4, 1))
    moved = [((paths[..., h:, :] - paths[..., :-h, :]) ** 2).mean(axis=-2) for h in lags]
    return Moments(covariance, lagged, mardia, kurtosis, np.stack(moved, axis=-2))


def currents(covariance: Floats, lagged: Floats) -> Floats:
    """``antisym(C)_ij / sqrt(S_ii S_jj)`` of every plane i < j, (..., plane).

    Antisymmetric part ``(C - C') / 2``; positive where motion turns from j to i. Dimensionless.
    """
    sizes = np.sqrt(_diagonal(covariance))
    turning = (lagged - np.swapaxes(lagged, -1, -2)) / 2
    turning = turning / (sizes[..., :, None] * sizes[..., None, :])
    first, second = np.triu_indices(covariance.shape[-1], 1)
    found: Floats = turning[..., first, second]
    return found


def simulated(law: Law, n_steps: int, n_runs: int, rng: np.random.Generator) -> Moments:
    """The moments of so many independent runs of a law."""
    parts = list(_in_parts(law, n_steps, n_runs, rng))
    return Moments(
        np.concatenate([part.covariance for part in parts]),
        np.concatenate([part.lagged for part in parts]),
        np.concatenate([part.mardia for part in parts]),
        np.concatenate([part.kurtosis for part in parts]),
        np.concatenate([part.displacements for part in parts]),
    )


@dataclass(frozen=True)
class Windows:
    """A window, and simulated ones of its length.

    Attributes
    ----------
    found :
        Of the window itself.
    law :
        That is predicted for it.
    draws, null :
        Of windows of that law, and of one with independent directions.
    """

    found: Moments
    law: Law
    draws: Moments
    null: Moments
    n_steps: int


def windows_of(path: Floats, law: Law, n_draws: int, rng: np.random.Generator) -> Windows:
    """A window beside simulated ones.

    Parameters
    ----------
    path : (step, direction)
    """
    draws = simulated(law, len(path), n_draws, rng)
    null = simulated(law.without_correlations(), len(path), n_draws, rng)
    return Windows(moments(path), law, draws, null, len(path))


def _in_parts(law: Law, n_steps: int, n_runs: int, rng: np.random.Generator) -> Iterator[Moments]:
    size = max(_AT_ONCE // (8 * n_steps * len(law.state)), 1)
    for start in range(0, n_runs, size):
        yield moments(law.paths(min(size, n_runs - start), n_steps, rng))


def _diagonal(matrices: Floats) -> Floats:
    found: Floats = np.diagonal(matrices, axis1=-2, axis2=-1)
    return found
