"""Whether a path runs away: increments that one growing recursion explains."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from trajscope.kernels.gram import Floats

_EXPLAINED: Final = 0.95
"""Share of the squared increments."""
_LEAST: Final = 3.0
"""Growth over the window."""
_FEWEST: Final = 7


@dataclass(frozen=True)
class Growth:
    """Of increments, from one to the next.

    Attributes
    ----------
    factor :
        By which their size grows.
    explained :
        Share of their squares that the recursion explains.
    alternates :
        Whether they also change their sign.
    """

    factor: float
    explained: float
    alternates: bool


def exponential_growth(increments: Floats) -> Growth | None:
    """``y[t+1] = a y[t] + b y[t-1]``, one a and b for all components, if it runs away.

    By least squares; it does where the recursion explains 95% of the squares, its larger root
    makes increments at least three times as large over the window, and the logarithm of their
    size is nearer to a straight line in time than in the logarithm of time, as a power of time
    would be. Independent increments explain nothing of each other, whatever their variance.

    Parameters
    ----------
    increments : (interval, component)
        Evenly spaced, not centred.
    """
    n = len(increments)
    if n < _FEWEST:
        return None
    scale = np.abs(increments).max() or 1
    parts = increments[2:], increments[1:-1], increments[:-2]
    # Inner products alone: of a long window its increments are most of the memory.
    new, old, older = (
        [float(np.einsum("tc,tc->", one, other)) / scale**2 for other in parts] for one in parts
    )
    products = np.array([old[1:], older[1:]])
    a, b = np.linalg.lstsq(products, np.array(new[1:]), rcond=1e-12)[0]
    left = new[0] - 2 * (a * new[1] + b * new[2]) + a**2 * old[1] + b**2 * older[2]
    left += 2 * a * b * old[2]
    explained = 1 - left / max(new[0], 1e-300)
    roots = np.roots([1.0, -a, -b])
    largest = roots[np.abs(roots).argmax()]
    factor = float(np.abs(largest))
    if explained < _EXPLAINED or factor <= 1 or n * np.log(factor) < np.log(_LEAST):
        return None
    sizes = np.log(np.maximum(np.linalg.norm(increments, axis=1) / scale, 1e-300))
    time = np.arange(1, n + 1, dtype=np.float64)
    if _missed(sizes, time) >= _missed(sizes, np.log(time)):
        return None
    return Growth(factor, explained, alternates=bool(largest.real < 0 and largest.imag == 0))


def _missed(values: Floats, against: Floats) -> float:
    """Sum of squares that a straight line leaves."""
    line = np.polynomial.Polynomial.fit(against, values, 1)
    return float(((values - line(against)) ** 2).sum())
