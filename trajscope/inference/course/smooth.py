"""Whether a path is smooth: whether anything in its increments may be noise at all."""

from math import comb
from typing import Final

import numpy as np

from trajscope.kernels.gram import Floats

_ORDERS: Final = range(1, 7)
_PARTS: Final = 8
_NEGLIGIBLE: Final = 1e-5
"""Share of squared increments: products in single precision leave up to two millionths."""
_ROUNDED: Final = 4.0
"""Times what rounding of the stored weights adds."""


def noise_if_negligible(increments: Floats, rounding: float) -> float | None:
    """Share of the squared increments that may be noise, where it is next to nothing.

    ``min over k of sum_t |D^k y[t]|^2 / (C(2k, k) sum_t |y[t]|^2)``, D the difference of
    neighbours: of white y the same for every k, and of a well's more; of a smooth path it falls
    with k until rounding is left. Asked of every eighth of the window, so that a noisy part does
    not hide behind one that moves more.

    Parameters
    ----------
    increments : (interval, component)
    rounding :
        Share of the squared increments that is rounding of the stored weights.

    Returns
    -------
    float or None
        Of the whole window; `None` where some part has more than 1e-5, and more than rounding.
    """
    total = float((increments**2).mean(axis=0).sum())
    if not total > 0:
        return None
    shares = np.array([_noise(part) for part in np.array_split(increments, _PARTS)])
    noise, moved = shares.T
    if (noise > np.maximum(_NEGLIGIBLE * moved, _ROUNDED * rounding * total)).any():
        return None
    return float(noise.mean() / total)


def _noise(increments: Floats) -> tuple[float, float]:
    """Mean square of what may be noise, and of the increments."""
    moved = float((increments**2).mean(axis=0).sum())
    differences, least = increments, moved
    for order in _ORDERS:
        if len(differences) < 2:
            break
        differences = np.diff(differences, axis=0)
        square = float((differences**2).mean(axis=0).sum())
        least = min(least, square / comb(2 * order, order))
    return least, moved
