"""What is summed of the rows of several runs together: inner products, and distances of pairs."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trajscope.kernels.gram import SAFE_SQUARES, Floats


@dataclass(frozen=True)
class Joint:
    """Rows of a block that hold several runs, one behind another.

    Attributes
    ----------
    points :
        Rows of which all inner products are taken.
    pairs :
        Pairs of rows of which the distance is taken.
    """

    points: tuple[int, ...]
    pairs: tuple[tuple[int, int], ...]

    def sums(self, values: NDArray[np.floating]) -> dict[str, Floats]:
        """Sums over the weights of one block; those of disjoint weights add up.

        Parameters
        ----------
        values : (step, weight)

        Returns
        -------
        dict
            ``joint_gram`` (point, point): ``<x[i] - m, x[j] - m>``, m the mean over the points;
            ``squared_distance`` (pair,): ``|x[i] - x[j]|^2``. Squared weight units.
        """
        gram = np.zeros((len(self.points), len(self.points)))
        distances = np.zeros(len(self.pairs))
        width = max(_IN_CACHE // max(values.shape[0] * values.itemsize, 1), _NARROWEST)
        # Squares that overflow are taken again, in float64.
        with np.errstate(over="ignore", under="ignore"):
            for start in range(0, values.shape[1], width):
                self._add(values[:, start : start + width], gram, distances)
        return {"joint_gram": gram, "squared_distance": distances}

    def _add(self, values: NDArray[np.floating], gram: Floats, distances: Floats) -> None:
        """Add the sums over a few weights, which stay in the cache."""
        points = values[list(self.points)]
        centred = points - points.mean(axis=0)
        largest = float(np.einsum("tw,tw->t", centred, centred).max(initial=0.0))
        if not SAFE_SQUARES[0] < largest < SAFE_SQUARES[1]:
            centred = points.astype(np.float64) - points.mean(axis=0, dtype=np.float64)
        gram += centred @ centred.T
        for number, (one, other) in enumerate(self.pairs):
            distances[number] += _squared_norm(values[one], values[other])


_IN_CACHE: Final = 2 << 20
"""Bytes of the weights that are worked on at a time."""
_NARROWEST: Final = 512
"""Weights: below, adding up products costs as much as making them."""


def _squared_norm(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    difference = one - other
    found = float(difference @ difference)
    if not SAFE_SQUARES[0] < found < SAFE_SQUARES[1]:
        difference = one.astype(np.float64) - other
        found = float(difference @ difference)
    return found
