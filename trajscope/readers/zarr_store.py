"""Zarr stores that hold a whole trajectory: arrays whose first dimension is the step.

The metadata (zarr formats 2 and 3, https://zarr-specs.readthedocs.io) is read and judged here,
before the zarr library sees the store; the library then only decodes chunks.
"""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trajscope.errors import CheckpointError, printable
from trajscope.readers.base import StoreHeader, StoreReader, StoreTensor, Values, widened
from trajscope.readers.zarr_metadata import ArrayMetadata, is_array, is_store, list_arrays

if TYPE_CHECKING:
    import zarr

_STEP_UNITS = {
    "step": "step",
    "steps": "step",
    "global_step": "step",
    "iteration": "step",
    "iter": "step",
    "epoch": "epoch",
    "epochs": "epoch",
    "time": "step",
    "checkpoint": "index",
}
"""Names of the step axis, and what a coordinate of that name counts."""

_MOST_STEPS = 10_000_000


def recognises(path: Path) -> bool:
    """Whether the folder is a zarr group or array."""
    return is_store(path)


def read_header(path: Path) -> StoreHeader:
    """The steps, and the arrays that have one value or more at each of them.

    An array belongs to the trajectory if its first dimension is named like a step
    (``dimension_names``, or xarray's ``_ARRAY_DIMENSIONS``) or, where no array names its
    dimensions, if all of them have the same length along the first. Arrays with one number per
    checkpoint (a loss, a coordinate) are no weights and left aside if there are larger ones.

    Raises
    ------
    CheckpointError
        The metadata is damaged or unsafe, or no array has a step axis.
    """
    arrays = {name: each for name, each in list_arrays(path).items() if each.dtype}
    axis, along = _along_steps(path, arrays)
    n_steps = next(iter(along.values())).shape[0]
    if n_steps > _MOST_STEPS:
        raise CheckpointError(
            f"{printable(path)} claims {n_steps} checkpoints; at most {_MOST_STEPS} are read. "
            "Write the store again with fewer."
        )
    coordinate = _coordinate(axis, along)
    flat = {name for name, each in along.items() if len(each.shape) == 1}
    weights = {name: each for name, each in along.items() if name not in flat}
    weights = weights or {name: each for name, each in along.items() if name != coordinate}
    if not weights:
        raise CheckpointError(
            f"{printable(path)} has only steps and no array of weights along them. Point at the "
            "folder of checkpoints instead."
        )
    for name, each in weights.items():
        if each.problem:
            raise CheckpointError(
                f"{printable(path)}: array '{printable(name)}' is not read, since {each.problem}. "
                "Write the store again with the usual settings."
            )
    steps = (
        _steps(path, coordinate, n_steps) if coordinate and not along[coordinate].problem else None
    )
    return StoreHeader(
        n_steps=n_steps,
        steps=steps,
        step_unit=_STEP_UNITS[_base(coordinate)] if steps and coordinate else "index",
        step_source=f"the store's array '{printable(coordinate)}'"
        if steps
        else "the position along the store's first axis",
        tensors={name: StoreTensor(each.shape[1:], each.dtype) for name, each in weights.items()},
    )


def read_block(path: Path, name: str, rows: NDArray[np.intp], start: int, stop: int) -> Values:
    """Elements ``start:stop`` of the flattened tensor at the steps `rows`, as (step, weight).

    Raises
    ------
    CheckpointError
        A chunk is damaged, or the store has changed.
    """
    array = _opened(path, name)
    if start >= stop:
        return widened(np.empty((len(rows), 0), array.dtype))
    wanted, order = np.unique(rows, return_inverse=True)
    selected = _as_slice(wanted)
    pieces = []
    try:
        for box in _boxes(array.shape[1:], start, stop):
            piece = np.asarray(array.oindex[(selected, *box)])
            pieces.append(piece.reshape(len(wanted), -1))
    # Codecs and stores raise whatever they like on damaged chunks.
    except Exception as error:
        raise CheckpointError(
            f"{printable(path)}: array '{printable(name)}' cannot be read: {printable(error)}. "
            "Write the store again, or leave it out with --exclude."
        ) from error
    block = pieces[0] if len(pieces) == 1 else np.concatenate(pieces, axis=1)
    if not np.array_equal(order, np.arange(len(wanted))):
        block = block[order]
    return widened(block)


READER = StoreReader("zarr store", recognises, read_header, read_block)


def _along_steps(
    path: Path, arrays: dict[str, ArrayMetadata]
) -> tuple[str, dict[str, ArrayMetadata]]:
    """Name of the step axis ("" if it has none), and the arrays that begin with it."""
    named = {n: each for n, each in arrays.items() if each.dimensions and each.shape}
    along = {n: each for n, each in named.items() if each.dimensions[0].lower() in _STEP_UNITS}
    if not named:
        along = {n: each for n, each in arrays.items() if each.shape}
    axes = {each.dimensions[0] if each.dimensions else "" for each in along.values()}
    lengths = sorted({each.shape[0] for each in along.values()})
    if not along or len(axes) > 1 or len(lengths) > 1:
        found = f"first dimensions of {len(lengths)} lengths" if along else "none"
        raise CheckpointError(
            f"{printable(path)} is a zarr store, in which arrays along one axis called 'step' are "
            f"expected; found: {found}. Name the first dimension of the weights 'step'."
        )
    return axes.pop(), along


def _coordinate(axis: str, along: dict[str, ArrayMetadata]) -> str:
    """The array that numbers the checkpoints; "" if there is none."""
    flat = [name for name, each in along.items() if len(each.shape) == 1]
    candidates = [name for name in flat if _base(name) in _STEP_UNITS]
    order = [axis.lower(), *_STEP_UNITS]
    return min(candidates, key=lambda name: order.index(_base(name)), default="")


def _base(name: str) -> str:
    return name.rpartition("/")[2].lower()


def _steps(path: Path, name: str, n_steps: int) -> tuple[float, ...]:
    array = _opened(path, name)
    try:
        values = np.asarray(array[:]).astype(np.float64)
    except Exception as error:
        raise CheckpointError(
            f"{printable(path)}: its steps, array '{printable(name)}', cannot be read: "
            f"{printable(error)}. Write the store again."
        ) from error
    if values.shape != (n_steps,) or not np.isfinite(values).all():
        raise CheckpointError(
            f"{printable(path)}: its steps, array '{printable(name)}', are not all finite numbers. "
            "It may still be being written; wait, or write the store again."
        )
    return tuple(values.tolist())


def _opened(path: Path, name: str) -> "zarr.Array[Any]":
    """The array as the zarr library sees it; opened again only when its metadata has changed."""
    folder = path if is_array(path) else path / name
    for metadata in (folder / "zarr.json", folder / ".zarray"):
        if metadata.is_file():
            return _open(str(folder), metadata.stat().st_mtime_ns)
    raise CheckpointError(
        f"{printable(path)}: array '{printable(name)}' is gone. Is the folder there for every "
        "worker?"
    )


@lru_cache(maxsize=256)
def _open(folder: str, changed: int) -> "zarr.Array[Any]":
    del changed
    import zarr

    try:
        return zarr.open_array(folder, mode="r")
    except Exception as error:
        raise CheckpointError(
            f"{printable(folder)} cannot be opened as a zarr array: {printable(error)}. "
            "Write the store again, or leave it out with --exclude."
        ) from error


def _as_slice(rows: NDArray[np.intp]) -> slice | NDArray[np.intp]:
    """Sorted rows as a slice where they are evenly spaced, which zarr reads faster."""
    if len(rows) and rows[-1] - rows[0] == len(rows) - 1:
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return rows


def _boxes(shape: tuple[int, ...], start: int, stop: int) -> Iterator[tuple[slice, ...]]:
    """Boxes that together are exactly the flat elements ``start:stop``, in their order.

    At most two per dimension: the rest of the row it starts in, whole rows, the beginning of the
    last.
    """
    if not shape:
        yield ()
        return
    row = int(np.prod(shape[1:], dtype=np.int64))
    first, last = start // row, stop // row
    if row == 1:
        yield (slice(start, stop), *(slice(0, 1) for _ in shape[1:]))
        return
    if start % row or first == last:
        end = min(stop, (first + 1) * row)
        for box in _boxes(shape[1:], start - first * row, end - first * row):
            yield (slice(first, first + 1), *box)
        first += 1
    if first < last:
        yield (slice(first, last), *(slice(0, length) for length in shape[1:]))
    if last >= first and stop % row:
        for box in _boxes(shape[1:], 0, stop - last * row):
            yield (slice(last, last + 1), *box)
