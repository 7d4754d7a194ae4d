"""Several trajectories as one array, behind one another along the steps, for a joint pass."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

Stretch = tuple[int, int]
"""The first of neighbouring weights of a trajectory, and the one after the last."""


@dataclass(frozen=True)
class Stack:
    """The tensors that several trajectories share, in one order.

    Attributes
    ----------
    sources :
        xarray Variables (step, weight), lazy or not.
    places :
        Where every shared tensor lies in each of the sources: (source, tensor) -> stretch. A
        tensor is as long in all of them.
    """

    sources: Sequence[Any]
    places: Sequence[Sequence[Stretch]]

    @property
    def shape(self) -> tuple[int, int]:
        """(step, weight): steps of all sources, weights of the shared tensors."""
        n_weights = sum(stop - start for start, stop in self.places[0])
        return sum(source.shape[0] for source in self.sources), n_weights

    @property
    def dtype(self) -> "np.dtype[Any]":
        """The narrowest of float32 and float64 that holds what all sources hold."""
        narrow = all(s.dtype.kind == "f" and s.dtype.itemsize <= 4 for s in self.sources)
        return np.dtype(np.float32 if narrow else np.float64)

    def __getitem__(self, key: tuple[slice, slice]) -> xr.Variable:
        """All steps of neighbouring weights: ``stack[:, start:stop]``."""
        start, stop, _ = key[1].indices(self.shape[1])
        block = np.empty((self.shape[0], max(stop - start, 0)), self.dtype)
        row = 0
        for source, places in zip(self.sources, self.places, strict=True):
            rows = block[row : row + source.shape[0]]
            for columns, first, last in _cut(places, start, stop):
                rows[:, columns] = source[:, first:last].to_numpy()
            row += source.shape[0]
        return xr.Variable(("step", "weight"), block)


def _cut(places: Sequence[Stretch], start: int, stop: int) -> Sequence[tuple[slice, int, int]]:
    """Columns of the block ``start:stop``, and where they lie in the source."""
    found: list[tuple[slice, int, int]] = []
    before = 0
    for first, last in places:
        low, high = max(start, before), min(stop, before + last - first)
        if low < high:
            begin, end = first + low - before, first + high - before
            joins = found and found[-1][2] == begin and found[-1][0].stop == low - start
            if joins:  # one read for tensors that lie side by side
                found[-1] = (slice(found[-1][0].start, high - start), found[-1][1], end)
            else:
                found.append((slice(low - start, high - start), begin, end))
        before += last - first
    return found
