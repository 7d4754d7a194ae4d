"""Several runs along directions that are made of their own increments, in a second reading.

Directions follow from what the one pass found, so that positions along them cannot be summed in it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from trajscope.kernels.gram import Floats
from trajscope.measure.blas import one_blas_thread
from trajscope.measure.groups import Groups
from trajscope.measure.plan import Rows
from trajscope.measure.stack import Stack

_DEPENDENT: Final = 1e-9
"""Of the largest eigenvalue of the inner products of directions: below, one follows from others."""


@dataclass(frozen=True)
class Along:
    """Positions of all runs along the directions of one group.

    Attributes
    ----------
    positions : (row, direction)
        ``<v, x_t - x_0>`` with x_0 the first checkpoint of the run; rows of all runs.
    products : (direction, direction)
        ``<v_i, v_j>``.
    """

    positions: Floats
    products: Floats

    def orthonormal(self, columns: slice) -> Floats:
        """Positions in an orthonormal basis of the span of some directions, (row, direction)."""
        values, vectors = np.linalg.eigh(self.products[columns, columns])
        kept = values > _DEPENDENT * values[-1]
        return np.asarray(self.positions[:, columns] @ (vectors[:, kept] / np.sqrt(values[kept])))


def principal(factor: NDArray[np.floating], intervals: slice, count: int) -> Floats:
    """Leading principal directions of some increments, as sums of checkpoints.

    ``v = sum_t w_t x_t``, of length 1 as far as `factor` holds the increments; these are taken
    about their mean, since a drift is no fluctuation.

    Parameters
    ----------
    factor : (interval, component)
        Coordinates of all increments of a run.

    Returns
    -------
    (step, direction)
        The weights w.
    """
    chosen = factor[intervals].astype(np.float64)
    chosen = chosen - chosen.mean(axis=0)
    left, sizes, _ = scipy.linalg.svd(chosen, full_matrices=False)
    kept = min(count, int((sizes > 1e-6 * max(sizes[0], 1e-300)).sum()))
    of_increments = np.zeros((len(factor), kept))
    of_increments[intervals] = left[:, :kept] / np.maximum(sizes[:kept], 1e-300)
    weights = np.zeros((len(factor) + 1, kept))
    weights[1:] += of_increments
    weights[:-1] -= of_increments
    return weights


def alongside(
    stack: Stack,
    groups: Groups,
    runs: list[Rows],
    directions: Mapping[int, Floats],
    memory: int,
) -> dict[int, Along]:
    """Every run along the directions of each group.

    Parameters
    ----------
    directions :
        By group, 0 that of all weights: (row, direction), the weights of `principal` in the rows of
        their run.
    memory :
        Bytes that may be held.
    """
    n_rows = stack.shape[0]
    sums = {
        group: (np.zeros((n_rows, weights.shape[1])), np.zeros(2 * weights.shape[1:]))
        for group, weights in directions.items()
    }
    widest = max(weights.shape[1] for weights in directions.values())
    width = max(memory // (2 * 8 * (2 * n_rows + widest)), 1)
    with one_blas_thread():
        for group, start, stop in _blocks(groups, min(width, max(_IN_CACHE // (8 * n_rows), 64))):
            block = stack[:, start:stop].to_numpy().astype(np.float64)
            for first, last in runs:
                block[first:last] -= block[first].copy()
            for key in {0, group + 1} & sums.keys():
                vectors = block.T @ directions[key]
                positions, products = sums[key]
                positions += block @ vectors
                products += vectors.T @ vectors
    return {group: Along(*found) for group, found in sums.items()}


_IN_CACHE: Final = 32 << 20
"""Bytes of a block."""


def _blocks(groups: Groups, width: int) -> Iterator[tuple[int, int, int]]:
    """Number of a group, and where some of its weights start and end."""
    for segment in groups.segments:
        for start in range(segment.start, segment.stop, width):
            yield segment.group, start, min(start + width, segment.stop)
