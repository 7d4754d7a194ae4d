"""Paths without the volatility of their noise: every innovation is made of one size."""

from typing import Final

import numpy as np
import scipy.linalg
import scipy.special
from numpy.lib.stride_tricks import sliding_window_view

from trajscope.inference.statistics.stationarity import autocovariance
from trajscope.kernels.gram import Floats

_LONGEST: Final = 20
"""Order of the autoregression."""
_PENALTY: Final = 2.0
"""Times the usual price of an order: volatility makes autocorrelations scatter more."""
_ENOUGH: Final = 8
"""Independent numbers from which a variance is estimated."""
_LAGS: Final = 8
_RIDGE: Final = 1e-9
_RARE: Final = 1e-3
_NEAR: Final = 10
"""Intervals before and after whose median a giant is compared with."""


def with_even_noise(positions: Floats) -> Floats:
    """The path that the same innovations leave once they are made of one size.

    Noise that is loud for a while leaves currents and beginnings by chance that steady noise does
    not: the components of a loud walk are cosines, and a plane of two of them is an arc. So one
    autoregression is fitted to all components (Yule-Walker, the order by twice the penalty of
    Schwarz 1978, doi:10.1214/aos/1176344136), its innovations e[t] are divided by their root mean
    square over components, and the filter is run again. Where ``|e[t]|^2`` sums fewer than eight
    independent components, it is averaged over as many neighbours as make eight; single giants are
    made as large as one in a thousand of normal noise is. Where there are some, one may have come
    just before the window, and its beginning shrinks as the largest does.
    Of steady noise the path stays what it is; a current stays a current, since one scale for all
    components turns nothing.

    Parameters
    ----------
    positions : (step, component)
        All of them.

    Returns
    -------
    (step, component)
        Centred.
    """
    from scipy.signal import lfilter

    centred = positions - positions.mean(axis=0)
    coefficients = fitted_to_all(centred)
    order = len(coefficients) - 1
    news = lfilter(coefficients, [1.0], centred, axis=0)
    squares = (news[order:] ** 2).sum(axis=1)
    independent = _independent(news[order:], squares)
    near = max(1, int(np.ceil(_ENOUGH / independent)))
    kept = _without_giants(squares, independent)
    variance = _averaged(kept, near + 1 - near % 2)
    giant = np.divide(squares, kept, out=np.ones_like(squares), where=kept > 0)
    scale = np.sqrt(np.maximum(giant * variance / max(variance.mean(), 1e-300), 1e-12))
    # The first ones hold what came before the window: noise of about the same size, and a giant.
    before = scale[0] * np.sqrt(giant.max())
    news /= np.concatenate([np.full(order, before), scale])[:, np.newaxis]
    return np.asarray(lfilter([1.0], coefficients, news, axis=0))


def fitted_to_all(centred: Floats) -> Floats:
    """Coefficients 1, a[1], ..., a[p] of one autoregression of all components.

    Parameters
    ----------
    centred : (step, component)
    """
    n_steps, products = len(centred), autocovariance(centred)
    if products[0] <= 0:
        return np.ones(1)
    products[0] *= 1 + _RIDGE  # what is predictable exactly has equations without a solution
    best, lowest = np.ones(1), n_steps * np.log(max(products[0], 1e-300))
    for order in range(1, min(_LONGEST, n_steps // 10) + 1):
        solved = scipy.linalg.solve_toeplitz(products[:order], products[1 : order + 1])
        variance = products[0] - solved @ products[1 : order + 1]
        price = _PENALTY * order * np.log(n_steps)
        criterion = n_steps * np.log(max(variance, 1e-300)) + price
        if criterion < lowest:
            best, lowest = np.append(1.0, -solved), criterion
    return best


def _independent(news: Floats, squares: Floats) -> float:
    """Effective number of components: ``(tr C)^2 / tr C^2`` of the innovations' covariance C."""
    same = crossed = 0.0
    for lag in range(1, _LAGS + 1):
        products = np.einsum("tc,tc->t", news[:-lag], news[lag:])
        crossed += float((products**2).sum())
        same += float((squares[:-lag] * squares[lag:]).sum())
    return same / max(crossed, 1e-300)


def _without_giants(squares: Floats, independent: float) -> Floats:
    """Squares no larger than one in a thousand of normal noise is, beside the median of those near.

    A single giant is never evened by a mean over neighbours: it makes them small, and stays.
    """
    k = max(independent, 1.0)
    largest = float(scipy.special.chdtri(k, _RARE) / scipy.special.chdtri(k, 0.5))
    padded = np.pad(squares, _NEAR, mode="reflect" if len(squares) > _NEAR else "edge")
    medians = np.median(sliding_window_view(padded, 2 * _NEAR + 1), axis=1)
    return np.minimum(squares, largest * medians)


def _averaged(values: Floats, near: int) -> Floats:
    """Means over so many neighbours, an odd number."""
    padded = np.pad(values, near // 2, mode="reflect")
    return np.convolve(padded, np.full(near, 1 / near), "valid")
