"""Covariances of paths along directions: the same of a run and of simulated ones."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final

import numpy as np

from trajscope.kernels.gram import Floats
from trajscope.theory.law import Law

_AT_ONCE: Final = 8 << 20
"""Bytes of simulated paths."""
_MATTERS: Final = 0.05
"""Of a kurtosis: what fifty directions show far below it changes no covariance."""
_NOT_NORMAL: Final = 3.0
"""Standard deviations of the logarithm: 0.3% for each of two kurtoses, whose tails are longer."""


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


def joined(parts: Sequence[Moments]) -> Moments:
    """Those of several stacks of paths as of one."""
    columns = ([getattr(part, each.name) for part in parts] for each in fields(Moments))
    return Moments(*(np.concatenate(column) for column in columns))


def simulated(law: Law, n_steps: int, n_runs: int, rng: np.random.Generator) -> Moments:
    """The moments of so many independent runs of a law."""
    size = max(_AT_ONCE // (8 * n_steps * len(law.state)), 1)
    sizes = (min(size, n_runs - start) for start in range(0, n_runs, size))
    return joined([moments(law.paths(each, n_steps, rng)) for each in sizes])


def not_normal(found: Moments, draws: Moments, slowest: int) -> str:
    """How a path differs from a normal law, in words; "" where it does not.

    Mardia's kurtosis of all directions, and the kurtosis along the slowest, which alone sees two
    wells; each two-sided against simulated paths, at 1% together.

    Parameters
    ----------
    draws :
        Of paths of the normal law with these correlations.
    """
    told = []
    for name, value, drawn in (
        ("all", found.mardia, draws.mardia),
        ("the slowest", found.kurtosis[slowest], draws.kurtosis[:, slowest]),
    ):
        logs = np.log(drawn)
        z = (np.log(value) - logs.mean()) / logs.std(ddof=1)
        if abs(z) > _NOT_NORMAL and abs(value - drawn.mean()) > _MATTERS:
            told.append(f"kurtosis of {name} {value:.2f} times that of a normal law, z = {z:.1f}")
    return "; ".join(told)


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

    def not_normal(self) -> str:
        """How the window differs from a normal law, in words; "" where it does not."""
        slowest = int(np.argmax(self.law.correlation_times))
        return not_normal(self.found, self.draws, slowest)


def windows_of(path: Floats, law: Law, n_draws: int, rng: np.random.Generator) -> Windows:
    """A window beside simulated ones.

    Parameters
    ----------
    path : (step, direction)
    """
    draws = simulated(law, len(path), n_draws, rng)
    null = simulated(law.without_correlations(), len(path), n_draws, rng)
    return Windows(moments(path), law, draws, null, len(path))


def _diagonal(matrices: Floats) -> Floats:
    found: Floats = np.diagonal(matrices, axis1=-2, axis2=-1)
    return found
