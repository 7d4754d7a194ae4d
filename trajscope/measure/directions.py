"""The trajectory along given directions: one more sum over weights of the one pass."""

import hashlib
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trajscope.errors import OptionError
from trajscope.kernels.gram import Floats

PROJECTION: Final = "projection"


@dataclass(frozen=True)
class Directions:
    """Directions in weight space.

    Attributes
    ----------
    vectors : (direction, weight)
        Of any length; all weights of the trajectory, or those from number `start` on.
    """

    vectors: NDArray[np.floating]
    start: int = 0

    def check(self, n_weights: int) -> None:
        """Refuse directions that are not of these weights.

        Raises
        ------
        OptionError
        """
        shape = np.shape(self.vectors)
        if len(shape) != 2 or shape[1] != n_weights or not np.isfinite(self.vectors).all():
            raise OptionError(
                f"directions has shape {shape}; (direction, {n_weights}), of finite numbers, was "
                "expected, since the trajectory has so many weights."
            )

    def digest(self) -> str:
        """The same for the same directions only."""
        vectors = np.ascontiguousarray(self.vectors)
        told = f"{vectors.dtype.str} {vectors.shape}".encode()
        return hashlib.sha256(told + vectors.tobytes()).hexdigest()

    def part(self, start: int, stop: int) -> "Directions":
        """What a task needs that reads weights ``start:stop`` of the trajectory."""
        columns = slice(start - self.start, stop - self.start)
        return Directions(self.vectors[:, columns], start)

    def sums(self, values: NDArray[np.floating], first: int) -> dict[str, Floats]:
        """``<v, x_t - x_0>`` over the weights of one block; those of disjoint weights add up.

        Parameters
        ----------
        values : (step, weight)
            From weight number `first` on. Subtracted in their own dtype, multiplied in float64.

        Returns
        -------
        dict
            ``projection`` (step, direction), weight units for directions of length 1.
        """
        n_steps, n_weights = values.shape
        vectors = self.part(first, first + n_weights).vectors.astype(np.float64)
        found = np.empty((n_steps, len(vectors)))
        rows = max(_IN_CACHE // max(8 * n_weights, 1), 1)
        for start in range(0, n_steps, rows):
            moved = values[start : start + rows] - values[0]
            found[start : start + rows] = moved.astype(np.float64) @ vectors.T
        return {PROJECTION: found}


_IN_CACHE: Final = 4 << 20
"""Bytes of the displacements that are multiplied at a time."""
