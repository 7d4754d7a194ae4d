"""Weights that never move: counted and taken out of a block before its curves are made.

Frozen layers, rows of embeddings that no sample touches and pruned weights add nothing to what is
summed of increments, and went through every transform.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Columns = NDArray[np.intp] | slice

_FEWEST_ROWS: Final = 16
"""Below, numbers of columns would take as much memory as the columns."""
_WORTH_IT: Final = 16
"""A part of the weights: where fewer stand still, to move the others costs more than it saves."""
_ROWS_AT_ONCE: Final = 8
_COLUMNS_AT_ONCE: Final = 1 << 15


class Taken(NamedTuple):
    """Which of some neighbouring weights of a block are left in it, and where they lie now.

    Attributes
    ----------
    columns :
        Of the block, which has been pressed.
    chosen :
        Their places among the neighbouring weights.
    at_rest :
        Columns, of the block as it was, of those that were taken out.
    """

    columns: Columns
    chosen: Columns
    at_rest: Columns


class Moving:
    """The weights of a block that move, and the first of each group, so that none is empty.

    Parameters
    ----------
    is_kept : (weight,)
    """

    def __init__(self, is_kept: NDArray[np.bool_]) -> None:
        self._is_kept = is_kept
        self.numbers = np.flatnonzero(is_kept)

    def press(self, block: NDArray[np.floating]) -> NDArray[np.floating]:
        """The kept columns, moved to the left of the block: a view of it, (step, weight)."""
        for row in block:
            filled = 0
            for start in range(0, len(self.numbers), _COLUMNS_AT_ONCE):
                part = row[self.numbers[start : start + _COLUMNS_AT_ONCE]]
                row[filled : filled + len(part)] = part
                filled += len(part)
        return block[:, : len(self.numbers)]

    def of(self, columns: Columns) -> Taken:
        """What became of these columns of the block as it was."""
        if isinstance(columns, slice):
            columns = np.arange(columns.start, columns.stop)
        is_kept = self._is_kept[columns]
        places = np.searchsorted(self.numbers, columns[is_kept])
        return Taken(as_slice(places), np.flatnonzero(is_kept), columns[~is_kept])


def moving_weights(block: NDArray[np.floating], firsts: NDArray[np.intp]) -> Moving | None:
    """Which weights to keep, or `None` where so few stand still that all are kept.

    A weight that is NaN or infinite counts as one that moves: the sums have to tell of it.

    Parameters
    ----------
    block : (step, weight)
    firsts :
        Columns that are kept in any case.
    """
    n_rows, width = block.shape
    if n_rows < _FEWEST_ROWS:
        return None
    first = block[0]
    is_still = (first == block[-1]) & np.isfinite(first)
    for start in range(1, n_rows - 1, _ROWS_AT_ONCE):
        if np.count_nonzero(is_still) * _WORTH_IT < width:
            return None
        for row in block[start : start + _ROWS_AT_ONCE]:
            is_still &= row == first
    is_kept = ~is_still
    is_kept[firsts] = True
    n_kept = np.count_nonzero(is_kept)
    return Moving(is_kept) if (width - n_kept) * _WORTH_IT >= width else None


def as_slice(places: NDArray[np.intp]) -> Columns:
    """A slice, which copies nothing, where the places are neighbours."""
    first, last = int(places[0]), int(places[-1])
    return slice(first, last + 1) if last - first + 1 == len(places) else places
