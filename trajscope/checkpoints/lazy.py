"""A manifest as xarray sees an array: selections along both dimensions reach the files."""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from xarray.backends import BackendArray
from xarray.core import indexing

from trajscope.checkpoints.manifest import Manifest

# Gaps up to here are read through when weights are picked one by one: 16 kB of float32.
_GAP = 4096
# Weights of all steps together that are held beside the result while picking.
_PICKED = 1 << 23


def lazy_weights(manifest: Manifest) -> xr.Variable:
    """The variable (step, weight) that reads from `manifest` on demand and keeps nothing."""
    array = TrajectoryArray(manifest)
    return xr.Variable(("step", "weight"), indexing.LazilyIndexedArray(array))


def check_unchanged(weights: xr.Variable) -> None:
    """Refuse weights of files that are not as they were when they were opened; reads none of them.

    Parameters
    ----------
    weights : (step, weight)
        Lazy, or cut into blocks by dask; of arrays in memory nothing is known.

    Raises
    ------
    ChangedError
    """
    # A manifest that is asked for no weights at some steps compares their files, however the array
    # has been selected from meanwhile. Of blocks of dask, that are the arrays it was given to cut.
    if weights.chunks is None:
        weights[:, :0].to_numpy()
        return
    for node in weights.data.dask.values():
        array = getattr(node, "value", node)
        if isinstance(array, indexing.ImplicitToExplicitIndexingAdapter) and array.ndim == 2:
            np.asarray(array[:, :0])


def shaped(flat: xr.Variable, shape: tuple[int, ...]) -> xr.Variable:
    """A (step, weight) variable as (step, dim_0, dim_1, ...): lazy, or dask where it is dask."""
    dims = (flat.dims[0], *(f"dim_{i}" for i in range(len(shape))))
    if flat.chunks is not None:
        return xr.Variable(dims, flat.data.reshape((flat.shape[0], *shape)))
    return xr.Variable(dims, indexing.LazilyIndexedArray(ShapedArray(flat, shape)))


class TrajectoryArray(BackendArray):
    """A trajectory as xarray's backends see an array: any outer selection, read on demand."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.shape = manifest.shape
        self.dtype = manifest.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:  # xarray's own key and array
        return _indexed(key, self.shape, self._select)

    def _select(self, key: tuple[Any, ...]) -> Any:
        rows, columns = (_positions(k, n) for k, n in zip(key, self.shape, strict=True))
        return _reduced(_picked(self.manifest, np.asarray(rows, np.intp), columns), key)


class ShapedArray(BackendArray):
    """Consecutive columns of a (step, weight) variable as (step, *shape), still read on demand."""

    def __init__(self, flat: xr.Variable, shape: tuple[int, ...]) -> None:
        self.flat = flat
        self.shape = (flat.shape[0], *shape)
        self.dtype = flat.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:  # xarray's own key and array
        return _indexed(key, self.shape, self._select)

    def _select(self, key: tuple[Any, ...]) -> Any:
        rows, *within = (_positions(k, n) for k, n in zip(key, self.shape, strict=True))
        columns = _flattened(within, self.shape[1:])
        block = self.flat[np.asarray(rows, np.intp), columns].to_numpy()
        return _reduced(block.reshape(len(rows), *map(len, within)), key)


def _indexed(
    key: indexing.ExplicitIndexer, shape: tuple[int, ...], select: Callable[[tuple[Any, ...]], Any]
) -> Any:
    """What xarray's `key` picks; pointwise keys read all between the first and last point.

    Outer keys go straight to `select`: xarray's own adapter fails on empty slices that run
    backwards.
    """
    if not isinstance(key, indexing.VectorizedIndexer):
        return select(key.tuple)
    outer = indexing.IndexingSupport.OUTER
    return indexing.explicit_indexing_adapter(key, shape, outer, select)


def _positions(key: Any, length: int) -> range | NDArray[np.int64]:
    """The positions that one element of an outer selection picks, none of them negative."""
    if isinstance(key, slice):
        return range(*key.indices(length))
    if np.ndim(key) == 0:
        return range(int(key) % length, int(key) % length + 1)
    positions = np.asarray(key, np.int64)
    return np.where(positions < 0, positions + length, positions)


def _reduced(block: NDArray[np.floating], key: tuple[Any, ...]) -> NDArray[np.floating]:
    """Without the dimensions that a key selects with a single number; else the block itself.

    A view of it would have to be copied before it is written to.
    """
    index = tuple(slice(None) if isinstance(each, slice) or np.ndim(each) else 0 for each in key)
    return block[index] if 0 in index else block


def _flattened(
    within: Sequence[range | NDArray[np.int64]], shape: tuple[int, ...]
) -> slice | NDArray[np.int64]:
    """Columns of the flat tensor that an outer selection within its shape picks."""
    if all(
        isinstance(each, range) and each == range(length)
        for each, length in zip(within, shape, strict=True)
    ):
        return slice(None)
    columns = np.zeros((), np.int64)
    for positions, length in zip(within, shape, strict=True):
        columns = columns[..., np.newaxis] * length + np.asarray(positions, np.int64)
    return columns.ravel()


def _picked(
    manifest: Manifest, rows: NDArray[np.intp], columns: range | NDArray[np.int64]
) -> NDArray[np.floating]:
    """The outer selection (rows, columns), read in contiguous stretches of weights."""
    if isinstance(columns, range) and columns.step == 1:
        return manifest.read(rows, columns.start, columns.stop)
    wanted, back = np.unique(np.asarray(columns, np.int64), return_inverse=True)
    block = np.empty((len(rows), len(wanted)), manifest.dtype)
    for first, last in _stretches(wanted, max(_PICKED // max(len(rows), 1), 1)):
        start = int(wanted[first])
        read = manifest.read(rows, start, int(wanted[last - 1]) + 1)
        block[:, first:last] = read[:, wanted[first:last] - start]
    return block if np.array_equal(back, np.arange(len(wanted))) else block[:, back]


def _stretches(wanted: NDArray[np.int64], width: int) -> Iterator[tuple[int, int]]:
    """Parts of sorted positions, as first and last, with no large gap and at most `width` wide."""
    gaps = np.flatnonzero(np.diff(wanted) > _GAP) + 1
    for first, last in pairwise((0, *gaps.tolist(), len(wanted))):
        begin = first
        while begin < last:
            end = int(np.searchsorted(wanted[:last], wanted[begin] + width))
            yield begin, end
            begin = end
