"""Arrays of a zarr store as the zarr library sees them, once their metadata was judged here."""

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from trajscope.errors import CheckpointError, printable
from trajscope.readers.zarr.metadata import array_metadata

if TYPE_CHECKING:
    import zarr


def array_folder(path: Path, name: str) -> Path:
    """Where an array of a store lies; a store that is one array is its own."""
    return path if array_metadata(path) is not None else path / name


def opened(path: Path, name: str) -> "zarr.Array[Any]":
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
def _open(folder: Path, zarr_format: Literal[2, 3], changed: int) -> "zarr.Array[Any]":
    del changed
    import zarr

    # RunDecision once more, since it may have changed since the header was read.
    metadata = array_metadata(folder)
    problem = "it is no longer an array" if metadata is None else metadata.problem
    if problem:
        raise CheckpointError(
            f"{printable(folder)} is not opened, since {problem}. Write the store again with the "
            "usual settings, or leave it out with --exclude."
        )
    from trajscope.readers.zarr.bounded import BOUNDED, FolderStore, bounded_store

    try:
        if metadata is not None and zarr_format == 2:
            return zarr.open_array(bounded_store(folder, metadata), mode="r", zarr_format=2)
        with zarr.config.set(BOUNDED):
            store = FolderStore(folder, read_only=True)
            return zarr.open_array(store, mode="r", zarr_format=zarr_format)
    except Exception as error:
        raise CheckpointError(
            f"{printable(folder)} cannot be opened as a zarr array: {printable(error)}. "
            "Write the store again, or leave it out with --exclude."
        ) from error
