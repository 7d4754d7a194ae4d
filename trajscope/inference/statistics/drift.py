"""The test against no drift, for white and for coloured increments."""

import numpy as np
import scipy.fft

from trajscope.inference.nulls.draws import normals, over_batches, signs
from trajscope.kernels.gram import Floats


def draw_drift(increments: Floats, n_draws: int, seed: int) -> Floats:
    """``R = |sum_t y[t]|^2 / sum_t |y[t]|^2`` of the data (draw 0), and of random signs.

    The share of squared movement that adds up to one displacement, times the number of
    increments: about 1 without drift. Exact where increments are independent and symmetric
    about zero, whatever their scale.

    Parameters
    ----------
    increments : (interval, component)
        Not centred.

    Returns
    -------
    (draw,)
    """
    n = len(increments)
    scale = np.abs(increments).max() or 1
    rows = (increments / scale).astype(np.float32)
    total = float(np.einsum("tc,tc->", rows, rows, dtype=np.float64)) or 1

    def draw(batch: int, count: int) -> Floats:
        sums = signs(seed, batch, n)[:count] @ rows
        return np.asarray((sums.astype(np.float64) ** 2).sum(axis=-1))

    data = np.array([(rows.sum(axis=0, dtype=np.float64) ** 2).sum()])
    return np.concatenate([data, *over_batches(draw, n_draws, rows.size)]) / total


def draw_slow_drift(increments: Floats, n_slow: int, n_draws: int, seed: int) -> Floats:
    """Share of the mean among the slowest cosines of the increments, against random rotations.

    The slowest ``n_slow + 1`` coefficients of the cosine transform are, for coloured increments
    with a spectrum that is flat that far, independent with one covariance: no direction among
    them is special, and the mean is one of them. Mueller & Watson 2008, doi:10.3982/ECTA6814.

    Parameters
    ----------
    increments : (interval, component)
        Not centred.

    Returns
    -------
    (draw,)
        Data first.
    """
    slow = scipy.fft.dct(increments, norm="ortho", axis=0)[: n_slow + 1]
    products = slow @ slow.T
    total = np.trace(products) or 1

    def draw(batch: int, count: int) -> Floats:
        directions = normals(seed, batch, (n_slow + 1,))[:count]
        directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
        return np.asarray(np.einsum("di,ij,dj->d", directions, products, directions))

    data = np.array([products[0, 0]])
    return np.concatenate([data, *over_batches(draw, n_draws, products.size)]) / total
