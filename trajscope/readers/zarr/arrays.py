"""Arrays of a zarr store as the zarr library sees them, once their metadata was judged here."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from trajscope.errors import CheckpointError, printable
from trajscope.readers.base import stored_dtype
from trajscope.readers.zarr.metadata import array_metadata

if TYPE_CHECKING:
    import zarr


def array_folder(path: Path, name: str) -> Path:
    """Where an array of a store lies; a store that is one array is its own."""
    return path if array_metadata(path) is not None else path / name


@dataclass(frozen=True)
class Opened:
    """An array whose values are read as `dtype`; what zarr calls it may be another of its size."""

    array: "zarr.Array[Any]"
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]

    def read(self, *box: Any) -> NDArray[np.generic]:
        """The values in a box: slices or, along the first axis, positions."""
        plain = all(isinstance(each, slice) for each in box)
        values = np.asarray(self.array[box] if plain else self.array.oindex[box])
        return values.view(self.dtype) if values.dtype.kind == "u" else values


def opened(path: Path, name: str) -> Opened:
    """The array as the zarr library sees it; opened again only when its metadata has changed."""
    folder = array_folder(path, name)
    for zarr_format, metadata in ((3, folder / "zarr.json"), (2, folder / ".zarray")):
        if metadata.is_file():
            return _open(folder, zarr_format, metadata.stat().st_mtime_ns)
    raise CheckpointError(
        f"{printable(path)}: array '{printable(name)}' no longer exists. Is the folder accessible "
        "to every worker?"
    )


@lru_cache(maxsize=256)
def _open(folder: Path, zarr_format: Literal[2, 3], changed: int) -> Opened:
    del changed
    import zarr

    # Judged once more, since it may have changed since the header was read.
    metadata = array_metadata(folder)
    problem = "it is no longer an array" if metadata is None else metadata.problem
    if metadata is None or problem:
        raise CheckpointError(
            f"{printable(folder)} is not opened, since {problem}. Write the store again with the "
            "usual settings, or leave it out with --exclude."
        )
    from trajscope.readers.zarr.bounded import BOUNDED, bounded_store

    try:
        with zarr.config.set(BOUNDED):
            store = bounded_store(folder, metadata)
            array = zarr.open_array(store, mode="r", zarr_format=zarr_format)
    except Exception as error:
        raise CheckpointError(
            f"{printable(folder)} cannot be opened as a zarr array: {printable(error)}. "
            "Write the store again, or leave it out with --exclude."
        ) from error
    dtype = stored_dtype(metadata.dtype) if metadata.stand_in else None
    return Opened(array, array.shape, array.dtype if dtype is None else dtype)
