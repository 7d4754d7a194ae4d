"""The free energy of an ensemble of replicas along training, from the quadratic form of Phi.

The theory's functional is ``F = E[Phi] - H/beta`` over the law of the weights at one time; SGD
never lets it rise (arXiv:1710.11029). One run has no law at one time, replicas have. Phi comes from
the steady state itself, ``exp(-beta Phi)``: where that is Gaussian with mean m and covariance S,
``beta Phi = (x - m)' S^-1 (x - m) / 2``. Losses are not needed.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import scipy.special

from trajscope.kernels.gram import Floats

FEWEST: Final = 6
"""Replicas for each direction."""
_MOST_DIRECTIONS: Final = 3
_MOST_TIMES: Final = 40
_SETTLED: Final = 0.5
"""Share of the path behind which it is taken to be in the steady state."""
_LEVEL: Final = 0.05


@dataclass(frozen=True)
class FreeEnergy:
    """In units of 1/beta, above that of the steady state; zero there.

    Attributes
    ----------
    place : (time,)
        Numbers of the checkpoints.
    value, low, high : (time,)
        ``beta (F - F_ss)`` and its interval at 95%, over replicas.
    potential : (time,)
        ``beta (E[Phi] - E_ss[Phi])``.
    entropy : (time,)
        ``H - H_ss``.
    fall : (low, middle, high)
        From the first of these times to the steady state's half, and its interval.
    """

    place: Floats
    value: Floats
    low: Floats
    high: Floats
    potential: Floats
    entropy: Floats
    fall: tuple[float, float, float]


def n_directions(n_replicas: int) -> int:
    """Directions in which an entropy can be told from so many replicas; 0 of too few."""
    return min(_MOST_DIRECTIONS, n_replicas // FEWEST)


def free_energy(paths: Floats) -> FreeEnergy:
    """The free energy at up to 40 times, closer ones first.

    ``beta (F - F_ss) = (E (x - m)' S^-1 (x - m) - k)/2 - log(det Sigma/det S)/2``, with the mean
    and covariance of the replicas at one time, which for Gaussian laws is the Kullback-Leibler
    divergence from the steady state. m and S are of all replicas over the second half of the path;
    of log det Sigma the bias of few replicas is taken off (digamma functions). Intervals are by the
    jackknife over replicas.

    Parameters
    ----------
    paths : (replica, step, direction)
        Of replicas that start at one point, along directions that were not chosen on these steps.
    """
    import scipy.stats

    n, n_steps, _ = paths.shape
    places = np.unique(np.geomspace(1, n_steps - 1, _MOST_TIMES).round().astype(int))
    whole = _parts(paths, places)
    left = np.array([_parts(np.delete(paths, one, axis=0), places) for one in range(n)])
    value = whole[0] - whole[1]
    pseudo = n * value - (n - 1) * (left[:, 0] - left[:, 1])
    reach = float(scipy.stats.t.ppf(1 - _LEVEL / 2, n - 1)) / math.sqrt(n)
    error = reach * pseudo.std(axis=0, ddof=1)
    settled = places >= _SETTLED * n_steps
    falls = pseudo[:, 0] - pseudo[:, settled].mean(axis=1)
    middle = float(value[0] - value[settled].mean())
    spread = reach * float(falls.std(ddof=1))
    return FreeEnergy(
        places.astype(np.float64), value, value - error, value + error, whole[0], whole[1],
        (middle - spread, middle, middle + spread),
    )  # fmt: skip


def _parts(paths: Floats, places: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> Floats:
    """Potential and entropy above those of the steady state, (2, time)."""
    n, n_steps, k = paths.shape
    settled = paths[:, int(_SETTLED * n_steps) :].reshape(-1, k)
    mean = settled.mean(axis=0)
    white = (paths - mean) @ np.linalg.inv(np.linalg.cholesky(np.cov(settled.T).reshape(k, k))).T
    potential = ((white[:, places] ** 2).sum(axis=-1).mean(axis=0) - k) / 2
    chosen = np.swapaxes(white[:, places], 0, 1)
    centred = chosen - chosen.mean(axis=1, keepdims=True)
    sizes = np.linalg.slogdet(np.swapaxes(centred, 1, 2) @ centred / (n - 1))[1]
    halves = (n - 1 - np.arange(k)) / 2
    bias = float(scipy.special.digamma(halves).sum()) + k * math.log(2 / (n - 1))
    return np.stack([potential, (sizes - bias) / 2])
