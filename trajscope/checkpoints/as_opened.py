"""Files that are not as they were when the trajectory was opened, and the errors that say so."""

import os
from collections.abc import Mapping

from trajscope.errors import ChangedError, CheckpointError, printable
from trajscope.readers.files import open_regular


def open_part(path: str) -> int:
    """File descriptor of a file of a checkpoint, or `ChangedError`: it could be opened before."""
    try:
        return open_regular(path)
    except CheckpointError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise gone(path) from error
        raise ChangedError(str(error), str(error)) from error


def differ(before: os.stat_result, after: os.stat_result) -> bool:
    """Whether a file was written or replaced in between."""
    return (
        after.st_mtime_ns != before.st_mtime_ns
        or after.st_ctime_ns != before.st_ctime_ns
        or after.st_size != before.st_size
        or after.st_ino != before.st_ino
    )


def status_of(path: str) -> os.stat_result:
    """What a file is now, or `ChangedError` if it is gone."""
    try:
        return os.stat(path)  # noqa: PTH116 - a Path takes longer to make
    except FileNotFoundError as error:
        raise gone(path) from error


def gone(path: str) -> ChangedError:
    """The error for a file that is no longer there."""
    what = "existed when the trajectory was opened but cannot be found"
    return ChangedError(
        f"{printable(path)} {what} on {printable(os.uname().nodename)}. Was it deleted? Workers of "
        "a cluster need access to the folder under the same path.",
        f"it {what} any more",
    )


def refuse(lost: Mapping[int, ChangedError]) -> None:
    """Raise one error for all checkpoints that changed, by their places; none for none."""
    if not lost:
        return
    first = next(iter(lost.values()))
    unseen = any(each.unseen for each in lost.values())
    raise ChangedError(
        str(first), first.reason, unseen, {place: each.reason for place, each in lost.items()}
    )


def changed(path: str, how: str, *, unseen: bool = False) -> ChangedError:
    """The error for a file that is not as it was when the trajectory was opened."""
    what = f"was written again after the trajectory was opened: {printable(how)}"
    return ChangedError(
        f"{printable(path)} {what}. Open the trajectory again after training has finished.",
        f"it {what}",
        unseen,
    )
