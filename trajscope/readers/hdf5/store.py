"""HDF5 files that hold a whole trajectory: a group for each step, or arrays along a step axis."""

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trajscope.errors import CheckpointError, printable
from trajscope.readers.base import StoreHeader, StoreReader, StoreTensor, Values, widened
from trajscope.readers.files import state_of
from trajscope.readers.hdf5.objects import Array, list_arrays, read_flat
from trajscope.readers.hdf5.opening import damaged, opened, status_of
from trajscope.readers.ranges import paired_tensor
from trajscope.readers.zarr.axis import STEP_UNITS
from trajscope.readers.zarr.tree import STEP_GROUP

_ENDINGS = (".h5", ".hdf5")


class _Layout(NamedTuple):
    """Where the checkpoints lie: one in each of `groups`, or along the axis of `coordinate`."""

    groups: tuple[str, ...]
    coordinate: str
    n_steps: int
    tensors: dict[str, StoreTensor]
    left_out: dict[str, str]


def recognises(path: Path) -> bool:
    """Whether the path is an HDF5 file of several steps."""
    if not path.name.lower().endswith(_ENDINGS) or not path.is_file():
        return False
    try:
        return _layout(path) is not None
    except CheckpointError:
        return False


def read_header(path: Path) -> StoreHeader:
    """The steps, and the arrays that are there at each of them.

    Raises
    ------
    CheckpointError
        The file is damaged, or an array is not stored in the file itself.
    """
    status = status_of(path)
    found = _layout(path)
    if found is None:
        raise CheckpointError(
            f"{printable(path)} is an HDF5 file without a step axis; expected a group for each "
            "step, or arrays together with an array named 'step'. For one file per step, give "
            "their folder."
        )
    unit, steps, source = "step", found.groups, "the names of the file's groups"
    if found.coordinate:
        unit, source = (
            STEP_UNITS[found.coordinate.lower()],
            f"the file's array '{found.coordinate}'",
        )
        steps = ()
    numbers = tuple(float("".join(c for c in name if c.isdecimal())) for name in steps)
    numbers = numbers or _steps(path, found)
    return StoreHeader(
        n_steps=len(numbers),
        steps=numbers,
        step_unit=unit,
        step_source=printable(source),
        tensors=found.tensors,
        left_out=found.left_out,
        digest=f"{status.st_size} {status.st_mtime_ns}",
        states=np.full(len(numbers), state_of(status), np.uint64),
    )


def read_block(
    path: Path, name: str, tensor: StoreTensor, rows: NDArray[np.intp], start: int, stop: int
) -> Values:
    """Elements ``start:stop`` of the flattened tensor at the steps `rows`, as (step, weight).

    Raises
    ------
    CheckpointError
        The data is damaged, or the file has changed.
    """
    found = _layout(path)
    if found is None or found.tensors.get(name) != tensor:
        raise CheckpointError(
            f"{printable(path)}: array '{printable(name)}' was written again after the trajectory "
            "was opened. Open the trajectory again after training has finished."
        )
    kind = widened(np.empty(0, tensor.original or tensor.dtype)).dtype
    block = np.empty((len(rows), max(stop - start, 0)), kind)
    try:
        with opened(path) as file:
            for row, out in zip(rows.tolist(), block, strict=True):
                if found.groups:
                    out[:] = read_flat(file[f"{found.groups[row]}/{name}"], start, stop)
                else:
                    out[:] = read_flat(file[name], start, stop, (row,))
    except Exception as error:  # the library raises whatever it likes on damaged data
        raise damaged(path, error) from error
    return block


def read_states(path: Path, header: StoreHeader) -> NDArray[np.uint64]:
    """The state of the file, at every step."""
    return np.full(header.n_steps, state_of(status_of(path)), np.uint64)


READER = StoreReader(
    "HDF5 file with several steps", recognises, read_header, read_block, read_states, _ENDINGS
)


def _layout(path: Path) -> _Layout | None:
    status = status_of(path)
    return _laid_out(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=64)
def _laid_out(path: Path, size: int, mtime_ns: int) -> _Layout | None:
    """How the steps are laid out; `None` if the file holds one step."""
    del size, mtime_ns
    arrays = list_arrays(path)
    tops = list(dict.fromkeys(name.partition("/")[0] for name in arrays if "/" in name))
    if tops and all("/" in name for name in arrays) and all(map(STEP_GROUP.fullmatch, tops)):
        return _grouped(tops, arrays)
    named = [name for name in arrays if name.lower() in STEP_UNITS and len(arrays[name].shape) == 1]
    if not named or arrays[named[0]].shape[0] < 2:
        return None
    return _along(named[0], arrays)


def _grouped(groups: list[str], arrays: dict[str, Array]) -> _Layout:
    """A group for each step; arrays that are not the same in each are left out."""
    below: dict[str, dict[str, Array]] = {group: {} for group in groups}
    for name, array in arrays.items():
        group, _, rest = name.partition("/")
        below[group][rest] = array
    tensors, left_out = {}, {}
    for name in dict.fromkeys(rest for own in below.values() for rest in own):
        found = [own[name] for own in below.values() if name in own]
        kinds = {(array.shape, array.dtype) for array in found}
        first = found[0]
        problem = next((array.problem for array in found if array.problem), "")
        if len(kinds) > 1 or len(found) < len(groups):
            left_out[name] = "it is missing in some groups, or its shape or dtype differs"
        elif problem or not first.dtype:
            left_out[name] = problem
        else:
            tensors[name] = paired_tensor(first.shape, first.dtype)
    return _Layout(tuple(groups), "", len(groups), tensors, left_out)


def _along(coordinate: str, arrays: dict[str, Array]) -> _Layout | None:
    """Arrays whose first axis is as long as the list of steps."""
    n_steps = arrays[coordinate].shape[0]
    along = {n: a for n, a in arrays.items() if n != coordinate and a.shape[:1] == (n_steps,)}
    if not along:
        return None
    tensors = {n: paired_tensor(a.shape[1:], a.dtype) for n, a in along.items() if not a.problem}
    left_out = {n: a.problem for n, a in along.items() if a.problem}
    left_out |= {n: "it lacks a step axis" for n in arrays if n not in along and n != coordinate}
    numbers = {name for name, tensor in tensors.items() if not tensor.shape}
    if len(numbers) < len(tensors):
        left_out |= dict.fromkeys(numbers, "one number per checkpoint, not a weight")
        tensors = {name: tensor for name, tensor in tensors.items() if name not in numbers}
    return _Layout((), coordinate, n_steps, tensors, left_out)


def _steps(path: Path, found: _Layout) -> tuple[float, ...]:
    """Their numbers, without zeros at the end, which are not written yet."""
    try:
        with opened(path) as file:
            values = np.asarray(file[found.coordinate][:]).astype(np.float64)
    except Exception as error:
        raise damaged(path, error) from error
    if not np.isfinite(values).all():
        raise CheckpointError(
            f"{printable(path)}: its steps, array '{printable(found.coordinate)}', are not all "
            "finite numbers. It may be unfinished; wait, or write the file again."
        )
    return tuple(values[: max(np.flatnonzero(values), default=0) + 1].tolist())
