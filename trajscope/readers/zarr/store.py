"""Zarr stores that hold a whole trajectory: arrays whose first dimension is the step.

The metadata (zarr formats 2 and 3, https://zarr-specs.readthedocs.io) is read and judged here,
before the zarr library sees the store; the library then only decodes chunks.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trajscope.errors import CheckpointError, printable
from trajscope.readers.base import (
    StoreHeader,
    StoreReader,
    StoreTensor,
    Values,
    widened,
    widened_dtype,
)
from trajscope.readers.boxes import boxes_of
from trajscope.readers.ranges import paired_tensor, read_pairs
from trajscope.readers.zarr.arrays import array_folder, opened
from trajscope.readers.zarr.axis import StepArrays, along_steps, unit_of
from trajscope.readers.zarr.coordinates import apart, read_coordinates
from trajscope.readers.zarr.files import survey, written_length
from trajscope.readers.zarr.metadata import ArrayMetadata
from trajscope.readers.zarr.naming import tensor_name
from trajscope.readers.zarr.tree import is_store, list_arrays

_MOST_STEPS = 10_000_000


def recognises(path: Path) -> bool:
    """Whether the folder is a zarr group or array."""
    return is_store(path)


def read_header(path: Path) -> StoreHeader:
    """The steps, and the arrays that have one value or more at each of them.

    An array belongs to the trajectory if its first dimension is named like a step
    (``dimension_names``, or xarray's ``_ARRAY_DIMENSIONS``) or, where no array names its
    dimensions, if all of them have the same length along the first. Arrays with one number per
    checkpoint (a loss, a coordinate) are no weights and left aside if there are larger ones. Steps
    at the end for which nothing was written yet do not count.

    Raises
    ------
    CheckpointError
        The metadata is damaged or unsafe, no array has a step axis, or a file of the store is none.
    """
    surveyed = survey(path)
    arrays, coordinates = apart(list_arrays(path))
    found = along_steps(path, arrays)
    numbered = [found.coordinate] if found.coordinate else []
    for name in (*found.weights, *numbered):
        if arrays[name].problem:
            raise CheckpointError(
                f"{printable(path)}: array '{printable(name)}' is not read, since "
                f"{arrays[name].problem}. Write the store again with the usual settings."
            )
    claimed = max(each.shape[0] for each in found.weights.values())
    if claimed > _MOST_STEPS:
        raise CheckpointError(
            f"{printable(path)} claims {claimed} checkpoints; the limit is {_MOST_STEPS}. Write "
            "the store again with fewer."
        )
    n_steps = _written_steps(path, arrays, found, claimed)
    steps = None
    if found.coordinate:
        steps = _steps(path, found.coordinate, min(n_steps, arrays[found.coordinate].shape[0]))
        n_steps = len(steps)
    return StoreHeader(
        n_steps=n_steps,
        steps=steps,
        step_unit=unit_of(found.coordinate) if numbered else "index",
        step_source=f"the store's array '{printable(found.coordinate)}'"
        if numbered
        else "the position along the store's first axis",
        tensors={
            name: replace(
                paired_tensor(each.shape[1:], each.dtype, each.original),
                name=tensor_name(name, found.coordinate),
            )
            for name, each in found.weights.items()
        },
        left_out=found.left_out,
        unwritten=claimed - n_steps,
        digest=surveyed.digest,
        states=surveyed.states(_along(path, arrays, found.weights), n_steps),
        coordinates=read_coordinates(path, coordinates, n_steps),
    )


def read_block(
    path: Path, name: str, tensor: StoreTensor, rows: NDArray[np.intp], start: int, stop: int
) -> Values:
    """Elements ``start:stop`` of the flattened tensor at the steps `rows`, as (step, weight).

    Raises
    ------
    CheckpointError
        A chunk is damaged, or the store has changed.
    """
    array = opened(path, name)
    found = paired_tensor(array.shape[1:], array.dtype.name, tensor.original)
    if found != tensor or (len(rows) and rows.max() >= array.shape[0]):
        raise CheckpointError(
            f"{printable(path)}: array '{printable(name)}' was written again after the trajectory "
            f"was opened: {tensor.dtype} values of shape {tensor.shape} at each step are "
            f"expected, {found.dtype} of shape {found.shape} at {array.shape[0]} steps were "
            "found. Open the trajectory again after training has finished."
        )
    if start >= stop:
        return np.empty((len(rows), 0), widened_dtype(tensor.one_dtype))
    wanted, order = np.unique(rows, return_inverse=True)
    selected = _as_slice(wanted)

    def read(first: int, last: int) -> NDArray[np.generic]:
        boxes = boxes_of(array.shape[1:], first, last)
        pieces = [array.read(selected, *box).reshape(len(wanted), -1) for box in boxes]
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces, axis=1)

    try:
        block = read_pairs(read, start, stop) if array.dtype.kind == "c" else read(start, stop)
    # Codecs and stores raise whatever they like on damaged chunks.
    except Exception as error:
        raise CheckpointError(
            f"{printable(path)}: array '{printable(name)}' cannot be read: {printable(error)}. "
            "Write the store again, or leave it out with --exclude."
        ) from error
    if not np.array_equal(order, np.arange(len(wanted))):
        block = block[order]
    return widened(block)


def read_states(path: Path, header: StoreHeader) -> NDArray[np.uint64]:
    """A number for every step, of the chunks that hold its weights.

    Raises
    ------
    CheckpointError
        The metadata is damaged, or a file of the store is none.
    """
    return survey(path).states(_along(path, list_arrays(path), header.tensors), header.n_steps)


READER = StoreReader("zarr store", recognises, read_header, read_block, read_states)


def _along(path: Path, arrays: Mapping[str, ArrayMetadata], names: Iterable[str]) -> dict[str, int]:
    """Paths in the store of the arrays of these names, and how many steps their chunks hold."""
    return {
        "" if array_folder(path, name) == path else name: arrays[name].chunks[0]
        for name in names
        if name in arrays
    }


def _written_steps(
    path: Path, arrays: Mapping[str, ArrayMetadata], found: StepArrays, claimed: int
) -> int:
    """Steps up to the last at which the weights and, where there is one, its number are there.

    An array that lacks the last chunk of others, but not the one before, is still being written;
    one that lacks more holds zeros.
    """

    def written(name: str) -> int:
        return written_length(array_folder(path, name), claimed, arrays[name].chunks[0])

    lengths = {name: written(name) for name in found.weights}
    last = max(lengths.values()) or claimed
    of_weights = min(
        (each for name, each in lengths.items() if 0 < last - each <= arrays[name].chunks[0]),
        default=last,
    )
    of_weights = of_weights or last
    numbered = written(found.coordinate) if found.coordinate else 0
    return min(of_weights, numbered or claimed)


def _steps(path: Path, name: str, n_steps: int) -> tuple[float, ...]:
    """The numbers of the steps, without zeros at the end, which are not written yet."""
    array = opened(path, name)
    try:
        values = array.read(slice(0, n_steps)).astype(np.float64)
    except Exception as error:
        raise CheckpointError(
            f"{printable(path)}: its steps, array '{printable(name)}', cannot be read: "
            f"{printable(error)}. Write the store again."
        ) from error
    if values.shape != (n_steps,) or not np.isfinite(values).all():
        raise CheckpointError(
            f"{printable(path)}: its steps, array '{printable(name)}', are not all finite "
            "numbers. It may be unfinished; wait, or write the store again."
        )
    return tuple(values[: max(np.flatnonzero(values), default=0) + 1].tolist())


def _as_slice(rows: NDArray[np.intp]) -> slice | NDArray[np.intp]:
    """Sorted rows as a slice where they are evenly spaced, which zarr reads faster."""
    if len(rows) and rows[-1] - rows[0] == len(rows) - 1:
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return rows
