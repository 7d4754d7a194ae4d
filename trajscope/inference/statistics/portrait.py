"""The phase portrait of position and increment along a few axes, and the area that it sweeps.

Where noise kicks positions, increments forget at once; with momentum they persist, and the path
turns in the plane of position and velocity (Kunin et al. 2021, arXiv:2107.09133).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trajscope.inference.nulls.draws import over_batches, permutations
from trajscope.inference.statistics.brownian import p_value
from trajscope.kernels.gram import Floats

N_AXES: Final = 6
N_DRAWS: Final = 199
FEWEST: Final = 16
"""Checkpoints; below, an area has no shape."""


@dataclass(frozen=True)
class Portrait:
    """Along the principal axes of the increments, the largest first.

    Attributes
    ----------
    position : (step, axis)
        About its mean; weight units. Signs are such that the largest is positive.
    increment : (interval, axis)
        About its mean.
    area : (axis,)
        As `phase_areas`.
    draws : (draw, axis)
        The same of permuted increments.
    """

    position: Floats
    increment: Floats
    area: Floats
    draws: Floats

    @property
    def p_values(self) -> Floats:
        """Two-sided, of exchangeable increments, among all axes (maxT), (axis,)."""
        middle, spread = self.draws.mean(axis=0), np.maximum(self.draws.std(axis=0), 1e-12)
        largest = np.abs((self.draws - middle) / spread).max(axis=1)
        own = np.abs((self.area - middle) / spread)
        return np.array([p_value(np.append(each, largest)) for each in own])


def phase_areas(increments: Floats) -> Floats:
    """Signed area swept in the plane of position and increment, over the increments' variance.

    ``A = sum_t (x[t] y[t+1] - y[t] x[t+1]) / sum_t y[t]^2``, about ``-(1 + r)`` with r the
    correlation of neighbouring increments: -1 for a random walk, down to -2 where velocities
    persist, up to 0 where each increment takes back the one before.

    Parameters
    ----------
    increments : (..., interval, axis)
        About their mean.

    Returns
    -------
    (..., axis)
    """
    position = positions_of(increments)
    one = position[..., :-2, :] * increments[..., 1:, :]
    other = increments[..., :-1, :] * position[..., 1:-1, :]
    squares = (increments**2).sum(axis=-2)
    return np.asarray((one - other).sum(axis=-2) / np.maximum(squares, 1e-300))


def positions_of(increments: Floats) -> Floats:
    """What they add up to, about its mean, (..., step, axis)."""
    start = np.zeros((*increments.shape[:-2], 1, increments.shape[-1]))
    path = np.concatenate([start, increments.cumsum(axis=-2)], axis=-2)
    return np.asarray(path - path.mean(axis=-2, keepdims=True))


def portrait(factor: NDArray[np.floating], seed: int) -> Portrait | None:
    """The portrait of a run, and of its increments in any other order.

    Axes are found from the increments as a set, so that no order of them is preferred; those found
    from the path were chosen for being slow.

    Parameters
    ----------
    factor : (interval, component)
        Coordinates of the increments.

    Returns
    -------
    Portrait or None
        `None` of fewer than 16 checkpoints, or where nothing moves but evenly.
    """
    n = len(factor)
    if n + 1 < FEWEST:
        return None
    centred = factor.astype(np.float64)
    centred -= centred.mean(axis=0)
    values, vectors = np.linalg.eigh(centred.T @ centred)
    moving = values > max(values[-1], 0.0) * 1e-9
    kept = vectors[:, moving][:, : -N_AXES - 1 : -1]
    if values[-1] <= 1e-12 * float((factor.astype(np.float64) ** 2).sum()) or not kept.size:
        return None
    increments = centred @ kept
    position = positions_of(increments)
    extreme = position[np.abs(position).argmax(axis=0), np.arange(position.shape[1])]
    signs = np.where(extreme < 0, -1.0, 1.0)
    increments, position = increments * signs, position * signs

    def draw(batch: int, count: int) -> Floats:
        return phase_areas(increments[permutations(seed, batch, n)[:count]])

    draws = np.concatenate(over_batches(draw, N_DRAWS, increments.size))
    return Portrait(position, increments, phase_areas(increments), draws)
