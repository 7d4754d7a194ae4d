"""A zarr store that grows while a small network is trained, and is read like any other run."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trajscope.errors import CheckpointError, OptionError, printable
from trajscope.readers.base import stored_dtype, widened
from trajscope.readers.zarr.metadata import ORIGINAL_DTYPE
from trajscope.readers.zarr.naming import array_paths
from trajscope.readers.zarr.tree import is_store, list_arrays
from trajscope.saving import Stored, as_stored, check_step
from trajscope.schema import STEP

if TYPE_CHECKING:
    import zarr

    from trajscope.saving import Weights

_MOST_ROWS = 1_000
_MOST_BYTES = 2**26


class CheckpointStore:
    """One zarr store for all checkpoints of a run: for small networks that are saved often.

    It has one array ``(step, ...)`` for each tensor, where `save_checkpoint` writes one file for
    each step. Up to 1,000 checkpoints or 64 MiB, at least one, wait in memory until they are
    written together; `flush`, and the end of ``with``, write them at once. The array ``step`` is
    written last, so that the run can be analysed while it goes on. Chunks have checksums
    (CRC-32C). Floats that NumPy lacks, as bfloat16, are kept as float32; a scalar is one value
    along an axis of its own.

    Parameters
    ----------
    path :
        Folder to write, which must not exist.
    after :
        The store may exist: its checkpoints up to this step are kept, later ones are dropped. -1
        keeps none.

    Raises
    ------
    OptionError
        `path` exists, and `after` is not given or it is no store with steps.
    CheckpointError
        The store cannot be read.

    Examples
    --------
    >>> import numpy as np, trajscope
    >>> with trajscope.CheckpointStore("dense.zarr") as store:
    ...     for step in range(0, 50, 10):
    ...         store.save({"fc.weight": np.full((2, 3), step, "float32")}, step=step)
    >>> trajscope.open_trajectory("dense.zarr")["step"].values.tolist()
    [0, 10, 20, 30, 40]
    """

    def __init__(self, path: str | os.PathLike[str], *, after: int | None = None) -> None:
        self.path = Path(path)
        self._paths: dict[str, str] = {}  # of the tensors' arrays, by name
        self._specs: dict[str, str] = {}  # dtype and shape of the tensors, by path
        self._arrays: dict[str, zarr.Array[Any]] = {}  # by path, that of the steps last
        self._waiting: dict[str, NDArray[Any]] = {}  # rows for each of these
        self._n_waiting = self._n_written = 0
        self._last = -1
        if os.path.lexists(self.path):
            there = list_arrays(self.path) if is_store(self.path) else {"": None}
            if after is None or (there and STEP not in there):
                raise OptionError(
                    f"{printable(self.path)} exists already; a new name was expected, or a store "
                    "with an array 'step' to go on with and the last step to keep, as after=1200."
                )
            if there:
                self._drop_behind(after)

    def save(self, model: "Weights", *, step: int) -> None:
        """Copy the weights at one step; they wait to be written with others.

        Parameters
        ----------
        model :
            As for `save_checkpoint`, with the same tensors at every step.
        step :
            Number of the optimizer step, larger than the last one.

        Raises
        ------
        OptionError
            The step is not larger, or the tensors are others than before.
        CheckpointError
            The store cannot be written.
        """
        check_step(step)
        if step <= self._last:
            raise OptionError(
                f"step={step}: {printable(self.path)} has step {self._last} already; a larger one "
                f"was expected. Open the store with after={step - 1} to replace what follows."
            )
        stored = as_stored(model)
        paths = self._paths or dict(zip(stored, array_paths(stored, STEP), strict=True))
        values = {paths.get(name, name): _values(each) for name, each in stored.items()}
        specs = {path: _spec(each.dtype, each.shape) for path, each in values.items()}
        if specs != (self._specs or specs):
            raise _differ(self.path, step, specs, self._specs)
        if not self._arrays:
            self._begin(values, {paths[name]: each.dtype for name, each in stored.items()})
            self._paths, self._specs = paths, specs
        for path, each in {**values, STEP: np.array(step)}.items():
            self._waiting[path][self._n_waiting] = each
        self._n_waiting, self._last = self._n_waiting + 1, step
        if (self._n_written + self._n_waiting) % len(self._waiting[STEP]) == 0:  # a whole chunk
            self.flush()

    def flush(self) -> None:
        """Write what waits.

        Raises
        ------
        CheckpointError
            The store cannot be written.
        """
        if not self._n_waiting:
            return
        end = self._n_written + self._n_waiting
        with _errors_of(self.path):
            for path, array in self._arrays.items():
                array.resize((end, *array.shape[1:]))
                array[self._n_written :] = self._waiting[path][: self._n_waiting]
        self._n_written, self._n_waiting = end, 0

    def __enter__(self) -> "CheckpointStore":
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()

    def _begin(self, values: Mapping[str, NDArray[Any]], originals: Mapping[str, str]) -> None:
        """Open the arrays, made anew where no step is kept, and room for what waits."""
        import zarr

        with _errors_of(self.path):
            mode: Any = "r+" if self._n_written else "w"
            group = zarr.open_group(self.path, mode=mode, zarr_format=3)
            if not self._n_written:
                _make_arrays(group, values, originals)
            self._arrays = {path: _array(group, path) for path in (*values, STEP)}
        n_rows = self._arrays[STEP].chunks[0]
        self._waiting = {
            path: np.empty((n_rows, *each.shape[1:]), each.dtype)
            for path, each in self._arrays.items()
        }

    def _drop_behind(self, last: int) -> None:
        """Forget the later steps; their weights are overwritten by what is saved next."""
        import zarr

        with _errors_of(self.path):
            steps = _array(zarr.open_group(self.path, mode="r+"), STEP)
            numbers = np.asarray(steps[:])
            self._n_written = int(np.searchsorted(numbers, last, side="right"))
            steps[self._n_written :] = 0  # what is behind the end appears again when it grows
            steps.resize((self._n_written,))
        if self._n_written:
            self._last = int(numbers[self._n_written - 1])
            self._specs = {
                path: _spec(each.dtype, each.shape[1:])
                for path, each in list_arrays(self.path).items()
                if path != STEP
            }


def _make_arrays(
    group: "zarr.Group", values: Mapping[str, NDArray[Any]], originals: Mapping[str, str]
) -> None:
    """Empty arrays for tensors like these; the steps first, by which the store is known."""
    from zarr.codecs import Crc32cCodec

    size = sum(each.nbytes for each in values.values())
    n_rows = min(max(_MOST_BYTES // max(size, 1), 1), _MOST_ROWS)
    for path, each in {STEP: np.array(0), **values}.items():
        original = originals.get(path, each.dtype.name)
        group.create_array(
            path,
            shape=(0, *each.shape),
            chunks=(n_rows, *each.shape),
            dtype=each.dtype,
            compressors=(Crc32cCodec(),),
            dimension_names=(STEP, *(f"{path}.{axis}" for axis in range(each.ndim))),
            attributes={} if original == each.dtype.name else {ORIGINAL_DTYPE: original},
            config={"write_empty_chunks": True},
        )


def _array(group: "zarr.Group", path: str) -> "zarr.Array[Any]":
    import zarr

    found = group[path]
    assert isinstance(found, zarr.Array)  # as `list_arrays` said, or as it was made
    return found


def _values(stored: Stored) -> NDArray[Any]:
    """The elements as an array of a dtype that zarr knows."""
    dtype = stored_dtype(stored.dtype)
    assert dtype is not None  # as safetensors knows it
    values = stored.raw.view(dtype).reshape(stored.shape or (1,))
    return widened(values) if dtype.kind == "V" else values


def _spec(dtype: object, shape: tuple[int, ...]) -> str:
    return f"{dtype} of shape {shape}"


def _differ(
    path: Path, step: int, now: Mapping[str, str], before: Mapping[str, str]
) -> OptionError:
    """The first tensor that is not as before, as an error."""
    name = next(name for name in {**before, **now} if before.get(name) != now.get(name))
    return OptionError(
        f"step={step}: the tensor {printable(name)!r} is {now.get(name, 'missing')}; "
        f"{before.get(name, 'no such tensor')} was expected, as in {printable(path)} before. "
        "Write other tensors to a store of their own."
    )


@contextmanager
def _errors_of(path: Path) -> Iterator[None]:
    """Errors of the disk as those of trajscope."""
    try:
        yield
    except OSError as error:
        raise CheckpointError(
            f"{printable(path)} cannot be written: {printable(error)}. Check the permissions and "
            "the free disk space."
        ) from error
