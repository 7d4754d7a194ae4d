"""The test against time reversal in all directions at once: whether parts of a path turn alike."""

from itertools import pairwise, product
from typing import Final

import numpy as np

from trajscope.inference.statistics.redrawn import Singles, in_fewer_directions
from trajscope.inference.statistics.volatility import fitted_to_all
from trajscope.kernels.gram import Floats

N_PARTS: Final = 12
"""As few as leave a p-value small enough, 1/2048: longer parts hold more of a turn."""
_APART: Final = 3
"""Parts that are compared: what rings on from one into the next turns the same way in both."""
_RINGING: Final = 0.5
"""Of a part: for how long a path may ring so that parts which are apart do not depend on it."""
_SIGNS: Final = np.array([(1, *rest) for rest in product((1, -1), repeat=N_PARTS - 1)], np.float64)
"""(draw, part): all that differ, since all signs turned over change nothing; the data's first."""


def draw_agreement(path: Floats, most: int, seed: int) -> Floats | None:
    """How much the areas that twelve parts of a path sweep agree, under all signs of the areas.

    ``S = sum_{c-b>=3} s_b s_c <A_b, A_c> / sqrt(sum_{c-b>=3} <A_b, A_c>^2)``, all signs s_b = +-1,
    those of the data, all +1, first; ``A_b = 1/2 sum_t (x[t] - m_b) y[t]' - y[t] (x[t] - m_b)'``,
    the area that part b of the path sweeps about its mean m_b in every plane (y its increments).
    Read backwards, it sweeps ``-A_b``. So where a path looks alike backwards and parts that are
    apart do not depend on each other, any signs are as likely, whatever its modes, their number,
    the tails and the volatility of the noise. A mean area that is the same in all parts makes S
    large, be it in one plane or a little in many: S has variance 1 without it. Areas as a measure
    of circulation: Strang, arXiv:2411.07613.

    Parameters
    ----------
    path : (step, component)
        At least 32 steps, in any basis.
    most :
        Numbers of a path, above 512 intervals, from which it is looked at in fewer random
        directions (`permutations.draw_increments`).

    Returns
    -------
    (draw,)
        `None` where the path rings for longer than half a part: parts are not independent then.
    """
    if _ringing(path) > _RINGING * len(path) / N_PARTS:
        return None
    rows = in_fewer_directions((path - path.mean(axis=0)).T.astype(np.float32), most, seed)
    ends = np.linspace(0, len(path) - 1, N_PARTS + 1).round().astype(int)
    areas = np.stack([_area(rows[:, a : b + 1]) for a, b in pairwise(ends)])
    areas = areas.reshape(N_PARTS, -1)
    products = np.triu((areas @ areas.T).astype(np.float64), k=_APART)
    spread = max(float(np.linalg.norm(products)), 1e-300)
    return np.asarray(((_SIGNS @ products) * _SIGNS).sum(axis=1) / spread)


def _area(part: Singles) -> Singles:
    """Signed area that a part sweeps about its mean in every plane, (component, component).

    Parameters
    ----------
    part : (component, step)
    """
    turned = (part - part.mean(axis=1, keepdims=True))[:, :-1] @ np.diff(part, axis=1).T
    return np.asarray((turned - turned.T) / 2, np.float32)


def _ringing(path: Floats) -> float:
    """Steps in which ringing decays by e; 0 where the path only relaxes.

    Of the slowest pair of complex roots of one autoregression of all components.
    """
    roots = np.roots(fitted_to_all(path - path.mean(axis=0)))
    rings = np.abs(roots[np.abs(roots.imag) > 1e-9])
    slowest = min(float(rings.max(initial=0.0)), 1 - 1e-9)
    return float(-1 / np.log(slowest)) if slowest > 0 else 0.0
