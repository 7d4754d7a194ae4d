"""Vector autoregressions of first order: fitted without the bias of short paths, and simulated."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.linalg import solve_discrete_lyapunov

from trajscope.kernels.gram import Floats

_LARGEST: Final = 1 - 1e-6
"""Modulus of an eigenvalue; above, a path does not forget its start within a million steps."""
_SHRINKING: Final = tuple(np.linspace(1.0, 0.0, 11).tolist())
"""Shares of the correction that are tried until the path it gives is stationary."""


@dataclass(frozen=True)
class VectorAutoregression:
    """``x[t+1] = A x[t] + e[t]``, e independent normal with covariance W.

    Attributes
    ----------
    transition : (direction, direction)
        A.
    noise : (direction, direction)
        W.
    """

    transition: Floats
    noise: Floats

    @property
    def covariance(self) -> Floats:
        """S of the steady state, ``S = A S A' + W``, (direction, direction)."""
        found = np.asarray(solve_discrete_lyapunov(self.transition, self.noise), np.float64)
        return (found + found.T) / 2

    @property
    def correlation_time(self) -> float:
        """Of the slowest mode, ``-1 / log |lambda|``, in steps."""
        largest = float(np.abs(np.linalg.eigvals(self.transition)).max())
        return -1 / float(np.log(largest)) if largest > 0 else 0.0

    def simulated(self, n_steps: int, n_paths: int, rng: np.random.Generator) -> Iterator[Floats]:
        """Paths in the steady state, a step at a time.

        Yields
        ------
        (path, direction)
        """
        state = rng.standard_normal((n_paths, len(self.noise))) @ root(self.covariance).T
        shaping, carried = root(self.noise).T, self.transition.T
        for _ in range(n_steps):
            yield state
            state = state @ carried + rng.standard_normal(state.shape) @ shaping

    def covariances(self, n_steps: int, n_paths: int, rng: np.random.Generator) -> Floats:
        """Sample covariances of simulated paths, in coordinates in which S is the identity.

        ``L^-1 (mean of x x' - mean of x mean of x') L'^-1`` with ``S = L L'``.

        Returns
        -------
        (path, direction, direction)
        """
        k = len(self.noise)
        totals, products = np.zeros((n_paths, k)), np.zeros((n_paths, k, k))
        for state in self.simulated(n_steps, n_paths, rng):
            totals += state
            products += state[:, :, np.newaxis] * state[:, np.newaxis, :]
        means = totals / n_steps
        sample = products / n_steps - means[:, :, np.newaxis] * means[:, np.newaxis, :]
        inverse = np.linalg.inv(root(self.covariance))
        return np.asarray(inverse @ sample @ inverse.T)


def fitted(path: Floats) -> VectorAutoregression | None:
    """The autoregression of a path, by least squares, without the bias of a short path.

    ``A^ - bias``, ``bias = -(1/T) W [(I - A')^-1 + A' (I - A'^2)^-1 + sum_j l_j (I - l_j A')^-1]
    S^-1`` with l the eigenvalues of A (Nicholls & Pope 1988,
    doi:10.1111/j.1467-842X.1988.tb00581.x; Pope 1990, doi:10.1111/j.1467-9892.1990.tb00056.x); of
    one direction ``-(1 + 3 A)/T``. The correction is taken in part where all of it would leave
    nothing stationary (Engsted & Pedersen 2014, doi:10.3390/econometrics2010045).

    Parameters
    ----------
    path : (step, direction)

    Returns
    -------
    VectorAutoregression or None
        `None` where the path has no steady state, or does not move in some direction.
    """
    centred = path - path.mean(axis=0)
    before, after = centred[:-1], centred[1:]
    n, k = before.shape
    if n <= 2 * k or np.linalg.matrix_rank(before) < k:
        return None
    found = np.linalg.lstsq(before, after, rcond=None)[0].T
    left = after - before @ found.T
    model = VectorAutoregression(found, left.T @ left / (n - k))
    if not _is_stationary(found):
        return None
    bias = _bias(model, n)
    for share in _SHRINKING:
        corrected = found - share * bias
        if _is_stationary(corrected):
            return VectorAutoregression(corrected, model.noise)
    return None


def root(covariance: Floats) -> Floats:
    """L of ``S = L L'``, of a covariance that rounding may have left not quite positive."""
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray(vectors * np.sqrt(np.maximum(values, values[-1] * 1e-14)))


def _bias(model: VectorAutoregression, n: int) -> Floats:
    """Of the least squares estimate of A, to first order in 1/n."""
    turned, one = model.transition.T, np.eye(len(model.noise))
    total = np.linalg.inv(one - turned) + turned @ np.linalg.inv(one - turned @ turned)
    for value in np.linalg.eigvals(turned):
        total = total + value * np.linalg.inv(one - value * turned)
    bias: Floats = -(model.noise @ total @ np.linalg.inv(model.covariance)).real / n
    return bias


def _is_stationary(transition: Floats) -> bool:
    return bool(np.abs(np.linalg.eigvals(transition)).max() < _LARGEST)
