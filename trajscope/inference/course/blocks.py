"""A window in blocks of equal noise time."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trajscope.kernels.gram import Floats


@dataclass(frozen=True)
class Blocks:
    """Intervals of equal noise time.

    Attributes
    ----------
    rows : (block, component)
        Displacements over their standard deviation.
    walked : (block + 1, component)
        Where each ends, the start first.
    lengths : (block,)
        Standard deviations of the displacements.
    scale : (block + 1,)
        Root of the noise's standard deviation at the ends.
    ends : (block + 1,)
        Intervals before each of these places.
    times : tuple of (block,)
        Times from 0 to 1: of the noise, and of the checkpoints where these differ.
    size :
        Ticks of the noise's clock in a block.
    """

    rows: Floats
    walked: Floats
    lengths: Floats
    scale: Floats
    ends: NDArray[np.int64]
    times: tuple[Floats, ...]
    size: int

    @classmethod
    def of(cls, increments: Floats, scale: Floats, ends: NDArray[np.int64], size: int) -> "Blocks":
        """Blocks of `size` ticks that end after so many intervals each, (block,)."""
        n = len(increments)
        starts = np.concatenate([[0], ends[:-1]])
        walked = np.concatenate([np.zeros((1, increments.shape[1])), increments.cumsum(axis=0)])
        # Not differences of running sums: late noise may be a billionth of the first.
        lengths = np.sqrt(np.add.reduceat(scale[: ends[-1]] ** 2, starts))
        moved = walked[ends] - walked[starts]
        own = (np.arange(len(ends)) + 0.5) / len(ends)
        middle = (starts + ends) / (2 * n)
        return cls(
            moved / lengths[:, np.newaxis],
            walked[np.concatenate([[0], ends])],
            lengths,
            np.sqrt(scale[np.concatenate([[0], ends - 1])]),
            np.concatenate([[0], ends]),
            (own,) if np.ptp(np.diff(ends)) == 0 else (own, middle),
            size,
        )
