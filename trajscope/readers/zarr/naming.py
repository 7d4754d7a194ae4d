"""How tensors are called in a zarr store, where names are paths of folders."""

from collections.abc import Iterable
from typing import Final
from urllib.parse import quote, unquote

from trajscope.errors import CheckpointError, printable
from trajscope.readers.zarr.coordinates import GROUP

_LONGEST: Final = 10_000
"""Characters of a path that is looked at as a quoted name."""


def array_paths(names: Iterable[str], axis: str) -> list[str]:
    """A path for the array of each tensor; different names stay different.

    Signs that cannot be part of a path become ``%`` and their code.

    Parameters
    ----------
    axis :
        Name of the array that numbers the steps, which no tensor may have.

    Raises
    ------
    CheckpointError
        A name is too long for a folder.
    """
    paths = [_path(name, axis) for name in names]
    if any(other.startswith(f"{path}/") for path in paths for other in paths if "/" in other):
        return [path.replace("/", "%2F") for path in paths]  # an array cannot hold arrays
    return paths


def tensor_name(path: str, axis: str) -> str:
    """The tensor whose array `array_paths` calls so, or the path, if it is no such name.

    Examples
    --------
    >>> tensor_name("kernel%3A0", "step"), tensor_name("100%", "step")
    ('kernel:0', '100%')
    """
    name = unquote(path)
    if name == path or len(path) > _LONGEST:
        return path
    try:
        made = _path(name, axis)
    except CheckpointError:
        return path
    return name if path in (made, made.replace("/", "%2F")) else path


def _path(name: str, axis: str) -> str:
    levels = [
        quote(level.encode("utf-8", "backslashreplace"), safe="") for level in name.split("/")
    ]
    if any(not level or set(level) == {"."} or level.startswith((".", "__")) for level in levels):
        levels = ["".join(f"%{byte:02X}" for byte in name.encode("utf-8", "backslashreplace"))]
    if levels[0].lower() in (axis, "c", "zarr.json", GROUP):
        levels[0] = f"%{ord(levels[0][0]):02X}{levels[0][1:]}"
    if any(len(level) > 200 for level in levels):
        raise CheckpointError(
            f"The tensor {printable(name, limit=80)!r} has a name that is invalid for a folder. "
            "Leave it out with --exclude."
        )
    return "/".join(levels)
