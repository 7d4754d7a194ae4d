"""How wrong distances may be that are sums of inner products of increments, which cancel."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from trajscope.kernels.gram import Floats

_ROUNDINGS: Final = 64
"""Half units in the last place by which a squared distance may be off, over what it is made of."""
_EXACT: Final = float(np.finfo(np.float64).eps) / 2


def product_error(dtype: np.dtype[np.float32] | np.dtype[np.float64]) -> float:
    """Error of products of increments, ``e = 64 u``: u is 2^-24 in float32 and 2^-53 in float64.

    Parameters
    ----------
    dtype :
        In which increments are subtracted and multiplied.
    """
    return _ROUNDINGS * float(np.finfo(dtype).eps) / 2


def displacement_error(squared_increments: Floats, displacement: Floats, error: float) -> Floats:
    """Bound on the relative error of distances from the first step.

    ``|d[t]^2 - |x[t] - x[0]|^2| <= e (S[t] + d[t]^2)``, ``S[t] = sum of |y[s]|^2, s < t``: the sum
    of all products of increments before t, each with an error of its own. A path that runs far and
    comes back, or swings widely about where it is going, is a small difference of large sums: the
    bound is e for one straight step, and e T/4 for a stationary path of T steps.

    Parameters
    ----------
    squared_increments : (..., interval)
    displacement : (..., step)
    error :
        As `product_error` gives it.

    Returns
    -------
    (..., step)
        Dimensionless; zero at the first step, infinite where a distance is zero after movement.
    """
    squares = np.square(displacement)
    return _relative(error * (_before(squared_increments) + squares), squares)


def mean_squared_displacement_error(
    squared_increments: Floats, displacement: Floats, squared_displacement: Floats, error: float
) -> Floats:
    """Bound on the relative error of the root of a mean squared displacement.

    ``|M[q] - MSD(q)| <= e (mean over t of (S[t+q] - S[t]) + MSD(q)) + T u max d^2``; the last term,
    with u of float64, is that of centring.

    Parameters
    ----------
    squared_increments : (..., interval)
    displacement : (..., step)
    squared_displacement : (..., lag)
        From lag 0.
    error :
        As `product_error` gives it.

    Returns
    -------
    (..., lag)
        Dimensionless; zero at lag 0.
    """
    before = _before(squared_increments)
    n_steps = before.shape[-1]
    added = np.concatenate([np.zeros_like(before[..., :1]), before.cumsum(axis=-1)], axis=-1)
    lags = np.arange(n_steps)
    tails = added[..., -1:] - added[..., lags]
    moved = (tails - added[..., n_steps - lags]) / (n_steps - lags)
    centring = n_steps * _EXACT * np.square(displacement).max(axis=-1, keepdims=True)
    found = _relative(error * (moved + squared_displacement) + centring, squared_displacement)
    found[..., 0] = 0.0
    return found


def component_error(squared_increments: Floats, scores: Floats, error: float) -> Floats:
    """Bound, to first order, on the relative error of the variance along a principal component.

    ``|v' dG v| <= e sum_u |y[u]|^2 w[u]^2``, v the unit vector of its scores, ``w[u] = sum of v[t],
    t > u``: in the centred Gram matrix G each product of increments has an error of its own. A path
    that swings widely and whose slow component is small has a large bound. The last term is that of
    the eigenvectors, in float64.

    Parameters
    ----------
    squared_increments : (..., interval)
    scores : (..., step)
        Positions along the component.
    error :
        As `product_error` gives it.

    Returns
    -------
    (...)
        Dimensionless; zero where nothing moves along the component.
    """
    variance = np.square(scores).sum(axis=-1)
    later = scores.sum(axis=-1, keepdims=True) - np.cumsum(scores, axis=-1)[..., :-1]
    weighted = np.sum(squared_increments * np.square(later), axis=-1)
    relative = np.divide(
        weighted, np.square(variance), out=np.zeros_like(variance), where=variance > 0
    )
    return np.asarray(error * (relative + 1) + scores.shape[-1] * _EXACT)


def _before(squared_increments: Floats) -> Floats:
    """Squares added up to each step, (..., step)."""
    total = np.cumsum(squared_increments, axis=-1)
    return np.concatenate([np.zeros_like(total[..., :1]), total], axis=-1)


def _relative(error: Floats, squares: Floats) -> Floats:
    """Relative error of a length whose square has an error; zero where that is zero."""
    found: NDArray[np.float64] = np.where(error > 0, np.inf, 0.0)
    np.divide(error, 2 * squares, out=found, where=squares > 0)
    return found
