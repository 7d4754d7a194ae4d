"""Many small checkpoints into one zarr store, in which the history of a weight lies together."""

import json
import math
import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr

from trajscope.checkpoints.lazy import check_unchanged
from trajscope.errors import CheckpointError, OptionError, printable
from trajscope.files import replaced
from trajscope.readers.zarr.coordinates import GROUP as COORDINATES
from trajscope.readers.zarr.coordinates import LABEL
from trajscope.readers.zarr.metadata import ORIGINAL_DTYPE
from trajscope.readers.zarr.naming import array_paths
from trajscope.schema import STEP, TENSOR, counted_along
from trajscope.trajectory import open_trajectory

if TYPE_CHECKING:
    import zarr

_CHUNK_BYTES = 2**24
_SLAB_BYTES = 2**28
_PROGRESS = "trajscope-pack.json"
# How the axis is called so that it is read as what it counts.
_AXES = {"step": "step", "epoch": "epoch", "index": "checkpoint"}


class _Piece(NamedTuple):
    """One chunk: which tensor, which box of it, and which weights these are."""

    tensor: int
    box: tuple[slice, ...]
    start: int
    stop: int


def pack(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    progress: Callable[[int, int], None] = lambda *_: None,
    **selection: Any,  # the options of open_trajectory, which checks them
) -> Path:
    """Copy the trajectory in a folder of checkpoints into one zarr store, and verify it.

    The store has one array ``(step, ...)`` for each tensor, a scalar as one value along an axis of
    its own, in chunks that hold all steps of some weights, each with a checksum (CRC-32C) that is
    verified whenever it is read. What else is counted at each step (tokens, the stage) lies in a
    group ``coordinates``. Every chunk is read back and compared with what was written.
    Values are stored as they are read: float32, or float64 if any tensor is; an attribute keeps the
    dtype they had before. Signs that cannot be part of a path are ``%`` and their code in
    the names of folders; the tensors keep their names.

    While it grows the store is called ``<out>.tmp``; a call that was interrupted is taken up where
    it ended, if the checkpoints are still the same.

    Parameters
    ----------
    source :
        What `trajscope.open_trajectory` opens.
    out :
        Folder to write, which must not exist.
    progress :
        Called with the number of weights that are done, and of all.
    selection :
        Options of `trajscope.open_trajectory`: which run, steps, tensors.

    Returns
    -------
    Path
        The store, which is read like any folder of checkpoints.

    Raises
    ------
    OptionError
        `out` exists already.
    CheckpointError
        What is at ``<out>.tmp`` is no part of the same store, a chunk was not stored rightly, or a
        checkpoint changed meanwhile.
    TrajscopeError
        As `trajscope.open_trajectory`.

    Examples
    --------
    >>> import numpy as np, trajscope
    >>> for step in (0, 100):
    ...     weights = {"fc.weight": np.full((2, 3), step, "float32")}
    ...     path = trajscope.save_checkpoint("runs/packed", weights, step=step)
    >>> trajscope.pack("runs/packed", "packed.zarr").name
    'packed.zarr'
    >>> trajscope.open_trajectory("packed.zarr").sizes["step"]
    2
    """
    target = Path(out)
    _refuse_existing(target)
    trajectory = open_trajectory(source, **selection)
    unfinished = target.with_name(f"{target.name}.tmp")
    pieces = list(_pieces(trajectory))
    done = _taken_up(unfinished, str(trajectory.attrs["fingerprint"]))
    with _writing(unfinished):
        arrays = _arrays(unfinished, trajectory)
    weights, total = trajectory["weights"].variable, trajectory.sizes["weight"]
    while done < len(pieces):
        slab = _slab(pieces[done:], trajectory.sizes[STEP] * weights.dtype.itemsize)
        block = weights[:, slab[0].start : slab[-1].stop].to_numpy()
        for piece in slab:
            values = block[:, piece.start - slab[0].start : piece.stop - slab[0].start]
            with _writing(unfinished):
                _store(unfinished, arrays[piece.tensor], piece, values)
        done += len(slab)
        _remember(unfinished, {"fingerprint": trajectory.attrs["fingerprint"], "chunks": done})
        progress(slab[-1].stop, total)
    check_unchanged(weights)
    for left in unfinished.rglob("*.partial"):
        if not left.is_dir():  # a tensor may be called so
            left.unlink()  # by a process that was killed while it wrote a chunk
    _refuse_existing(target)  # which may have appeared meanwhile
    (unfinished / _PROGRESS).unlink(missing_ok=True)
    unfinished.replace(target)
    return target


def _refuse_existing(target: Path) -> None:
    if os.path.lexists(target):
        raise OptionError(f"{printable(target)} exists already; a new name was expected.")


def _pieces(trajectory: xr.Dataset) -> Iterator[_Piece]:
    """The chunks of all tensors in the order of the weights."""
    most = max(_CHUNK_BYTES // (trajectory.sizes[STEP] * trajectory["weights"].dtype.itemsize), 1)
    sizes = trajectory["row_size"].to_numpy().tolist()
    for tensor, (start, shape) in enumerate(
        zip(accumulate(sizes, initial=0), _shapes(trajectory), strict=False)
    ):
        at = start
        for box in _boxes(shape, _chunk(shape, most)):
            size = math.prod(each.stop - each.start for each in box)
            yield _Piece(tensor, box, at, at + size)
            at += size


def _shapes(trajectory: xr.Dataset) -> list[tuple[int, ...]]:
    """Shape of each tensor; a scalar as one value."""
    return [tuple(json.loads(str(text))) or (1,) for text in trajectory["shape"].to_numpy()]


def _chunk(shape: tuple[int, ...], most: int) -> tuple[int, ...]:
    """The largest box of at most `most` values that lie behind one another in the tensor."""
    chunk = [1] * len(shape)
    for axis in range(len(shape) - 1, -1, -1):
        inner = math.prod(shape[axis + 1 :])
        chunk[axis] = max(min(shape[axis], most // inner), 1)
        if chunk[axis] < shape[axis]:
            break
    return tuple(chunk)


def _boxes(shape: tuple[int, ...], chunk: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    grid = [range(0, length, step) for length, step in zip(shape, chunk, strict=True)]
    for corner in np.ndindex(*map(len, grid)):
        starts = [grid[axis][index] for axis, index in enumerate(corner)]
        yield tuple(
            slice(start, min(start + step, length))
            for start, step, length in zip(starts, chunk, shape, strict=True)
        )


def _slab(pieces: list[_Piece], column_bytes: int) -> list[_Piece]:
    """The first of the pieces that are read at once, so that few files are opened often."""
    most = max(_SLAB_BYTES // column_bytes, 1)
    fitting = [piece for piece in pieces if piece.stop - pieces[0].start <= most]
    return fitting or pieces[:1]


def _arrays(unfinished: Path, trajectory: xr.Dataset) -> "list[zarr.Array[Any]]":
    """The arrays of the store, made where they are not there yet."""
    import zarr
    from zarr.codecs import Crc32cCodec

    axis = _AXES[str(trajectory.attrs["step_unit"])]
    group = zarr.open_group(unfinished, mode="a", zarr_format=3)
    steps = trajectory[STEP].to_numpy()
    n_steps, dtype = len(steps), trajectory["weights"].dtype
    most = max(_CHUNK_BYTES // (n_steps * dtype.itemsize), 1)
    _count(unfinished, axis, axis, steps)
    for coordinate in counted_along(trajectory):
        _count(unfinished, axis, f"{COORDINATES}/{coordinate}", trajectory[coordinate].to_numpy())
    names = array_paths(map(str, trajectory[TENSOR].to_numpy()), axis)
    arrays = []
    originals = trajectory["stored_dtype"].to_numpy().tolist()
    for name, shape, original in zip(names, _shapes(trajectory), originals, strict=True):
        if name not in group:
            group.create_array(
                name,
                shape=(n_steps, *shape),
                chunks=(n_steps, *_chunk(shape, most)),
                dtype=dtype,
                compressors=(Crc32cCodec(),),
                dimension_names=(axis, *(f"{name}.{each}" for each in range(len(shape)))),
                attributes={ORIGINAL_DTYPE: original},
                config={"write_empty_chunks": True},
            )
        found = group[name]
        assert isinstance(found, zarr.Array)  # as it was made above
        arrays.append(found)
    return arrays


def _count(unfinished: Path, axis: str, path: str, values: np.ndarray) -> None:
    """An array of what is counted at each step; texts as numbers, and what they stand for.

    It is written anew whenever a store is taken up, since a process may have been killed after its
    metadata, and read back.
    """
    attributes: dict[str, Any] = {}
    if values.dtype.kind == "U":
        texts, values = np.unique(values, return_inverse=True)
        attributes = {f"{LABEL}{code}": str(text) for code, text in enumerate(texts)}
    import zarr

    made = zarr.open_group(unfinished, mode="a", zarr_format=3).create_array(
        path, data=values, dimension_names=(axis,), attributes=attributes, overwrite=True
    )
    if np.asarray(made[...]).tobytes() != values.tobytes():
        raise _differs(unfinished, path)


def _store(unfinished: Path, array: "zarr.Array[Any]", piece: _Piece, values: np.ndarray) -> None:
    """Write one chunk, read it back, and compare."""
    block = np.ascontiguousarray(values).reshape(
        len(values), *(each.stop - each.start for each in piece.box)
    )
    key = (slice(None), *piece.box)
    array[key] = block
    found = np.ascontiguousarray(array[key])
    if zlib.crc32(found.view(np.uint8).data) != zlib.crc32(block.view(np.uint8).data):
        raise _differs(unfinished, array.path)


def _differs(unfinished: Path, name: str) -> CheckpointError:
    return CheckpointError(
        f"{printable(unfinished)}: array '{printable(name)}' differs from what was written. "
        "Check the disk."
    )


def _taken_up(unfinished: Path, fingerprint: str) -> int:
    """How many chunks an interrupted call has stored already."""
    if not os.path.lexists(unfinished):
        _remember(unfinished, {"fingerprint": fingerprint, "chunks": 0})
        return 0
    try:
        known = json.loads((unfinished / _PROGRESS).read_bytes())
        chunks = known["chunks"]
        if known["fingerprint"] != fingerprint or type(chunks) is not int or chunks < 0:
            raise ValueError
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{printable(unfinished)} exists, but was started with other checkpoints or options. "
            "Remove it, or pack under another name."
        ) from error
    return int(chunks)


def _remember(unfinished: Path, state: Mapping[str, object]) -> None:
    with _writing(unfinished), replaced(unfinished / _PROGRESS, tidy=True) as new:
        new.write(json.dumps(state).encode())


@contextmanager
def _writing(unfinished: Path) -> Iterator[None]:
    """Name the store that cannot be written."""
    try:
        yield
    except OSError as error:
        raise CheckpointError(
            f"{printable(unfinished)} cannot be written: {error.strerror}. Check the permissions "
            "and the free disk space."
        ) from error
