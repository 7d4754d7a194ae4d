"""The arrays and groups of a zarr store, found by walking through its folders."""

import re
from pathlib import Path

from trajscope.errors import CheckpointError, printable
from trajscope.readers.zarr.files import listed
from trajscope.readers.zarr.metadata import ArrayMetadata, array_metadata

STEP_GROUP = re.compile(
    r"((global_?)?(steps?|iter(ation)?s?|epochs?|checkpoints?|ckpt)[-_=]?)?\d{1,15}", re.IGNORECASE
)
"""Name of a group that holds the weights at one step."""

_MAX_DEPTH = 16
_MAX_FOLDERS = 100_000


def is_store(path: Path) -> bool:
    """Whether the folder is a zarr group or array, by the names of the files in it."""
    return any((path / name).is_file() for name in ("zarr.json", ".zgroup", ".zarray"))


def list_arrays(path: Path) -> dict[str, ArrayMetadata]:
    """Arrays of the store, by their path in it; a store that is one array has the folder's name.

    Raises
    ------
    CheckpointError
        The metadata is damaged, or there are too many folders.
    """
    root = array_metadata(path)
    if root is not None:
        return {path.stem: root}
    arrays: dict[str, ArrayMetadata] = {}
    waiting = [(path, "", 0)]
    folders = 0
    while waiting:
        folder, prefix, depth = waiting.pop()
        # Links are not followed: they may lead out of the store, or round in circles.
        below = [entry.name for entry in listed(folder) if entry.is_dir(follow_symlinks=False)]
        for name in below:
            folders += 1
            if folders > _MAX_FOLDERS:
                raise CheckpointError(
                    f"{printable(path)} has more than {_MAX_FOLDERS} folders; a zarr store of "
                    "weights has one per array. Give the group that contains the weights."
                )
            array = array_metadata(folder / name)
            if array is not None:
                arrays[prefix + name] = array
            elif depth < _MAX_DEPTH:
                waiting.append((folder / name, f"{prefix}{name}/", depth + 1))
    return dict(sorted(arrays.items()))


def has_step_groups(path: Path) -> bool:
    """Whether a store is a group of nothing but groups that are called like steps ("step_10").

    A folder of such a name without metadata is a group that is being made.
    """
    if (path / ".zarray").is_file():
        return False
    below = [entry.name for entry in listed(path) if entry.is_dir(follow_symlinks=False)]
    made = [name for name in below if is_store(path / name)]
    return (
        bool(made)
        and all(STEP_GROUP.fullmatch(name) for name in below)
        and all(array_metadata(path / name) is None for name in made)
    )
