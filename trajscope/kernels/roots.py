"""Where a function crosses zero."""

from collections.abc import Callable
from typing import Final

_ABSOLUTE: Final = 2e-12
_MOST_STEPS: Final = 100


def crossing(function: Callable[[float], float], low: float, high: float, relative: float) -> float:
    """Root of a continuous function between two places where it has opposite signs.

    Brent's method (Algorithms for Minimization without Derivatives, 1973, chapter 4), step by step
    as ``scipy.optimize.brentq``, whose package takes longer to import than a small run to test.

    Parameters
    ----------
    relative :
        Error of the root, as a share of it.
    """
    before, here = low, high
    f_before, f_here = function(before), function(here)
    other, f_other = before, f_before
    last = step = here - before
    for _ in range(_MOST_STEPS):
        if (f_before < 0) != (f_here < 0):
            other, f_other = before, f_before
            last = step = here - before
        if abs(f_other) < abs(f_here):
            before, here, other = here, other, here
            f_before, f_here, f_other = f_here, f_other, f_here
        least, half = (_ABSOLUTE + relative * abs(here)) / 2, (other - here) / 2
        if f_here == 0 or abs(half) < least:
            break
        tried = half
        if abs(last) > least and abs(f_here) < abs(f_before):
            if before == other:
                tried = -f_here * (here - before) / (f_here - f_before)
            else:
                to_before = (f_before - f_here) / (before - here)
                to_other = (f_other - f_here) / (other - here)
                slope = to_other * to_before * (f_other - f_before)
                tried = -f_here * (f_other * to_other - f_before * to_before) / slope
        is_short = 2 * abs(tried) < min(abs(last), 3 * abs(half) - least)
        last, step = (step, tried) if is_short else (half, half)
        before, f_before = here, f_here
        here += step if abs(step) > least else (least if half > 0 else -least)
        f_here = function(here)
    return here
