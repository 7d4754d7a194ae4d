"""What tells one state of a run's files from another, without reading their weights."""

import hashlib
from collections.abc import Sequence

from trajscope.checkpoints.base import Checkpoint, Series
from trajscope.checkpoints.stored import Stored
from trajscope.checkpoints.weight_tensors import Weights


def format_of(series: Series) -> str:
    """The formats of the files of a series, in words."""
    if series.store is not None:
        return series.store.reader.name
    readers = {part.reader.name for each in series.checkpoints for part in each.parts}
    return ", ".join(sorted(readers))


def fingerprint(series: Series, weights: Weights) -> str:
    """A digest that changes when files are added, removed or written again, or others are chosen.

    Over the run, the steps, the tensors, and each file's relative name, size and time of the last
    change; contents are not read.
    """
    digest = series.store.header.digest if series.store is not None else ""
    steps = [each.step for each in weights.checkpoints]
    names = [(each.name, each.shape, each.stored_dtype) for each in weights.tensors]
    files = [_files(each) for each in weights.checkpoints]
    return _digest(series.run, digest, files, steps, names)


def checkpoint_fingerprints(weights: Weights, *, local: bool) -> list[str]:
    """For each checkpoint, what stays the same as long as the weights that are read from it do.

    The time of the last change of its newest file in nanoseconds, a hyphen, and a digest over its
    files (relative name, size, times, inode) and over which arrays of them are taken. ``""`` where
    nothing tells: one step of a store has no files of its own, and some servers name no time.

    Parameters
    ----------
    local :
        Whether the files are here; a copy of a remote folder's headers has new inodes every time.
    """
    taken: dict[tuple[int, ...], str] = {}
    return [
        _fingerprint(checkpoint, stored, taken, local=local)
        for checkpoint, stored in zip(weights.checkpoints, weights.stored, strict=True)
    ]


def _fingerprint(
    checkpoint: Checkpoint,
    stored: Sequence[Stored],
    taken: dict[tuple[int, ...], str],
    *,
    local: bool,
) -> str:
    times = [part.file.mtime_ns for part in checkpoint.parts]
    if min(times, default=0) <= 0:
        return ""
    # Checkpoints with one table of tensors, shared by the reader, take the same of it.
    tables = tuple(id(part.header.tensors) for part in checkpoint.parts)
    if tables not in taken:
        taken[tables] = _digest([_array(entry) for entry in stored])
    states = [part.file.state for part in checkpoint.parts] if local else []
    return f"{max(times)}-{_digest(_files(checkpoint), states, taken[tables])[:32]}"


def _array(stored: Stored) -> tuple[object, ...]:
    """Which array is taken, and what it is multiplied with."""
    factors = stored.product.factors if stored.product is not None else ()
    beside = ((each.part, each.name, each.blocks) for each in factors)
    return stored.part, stored.name, stored.spec.dtype, *beside


def _files(checkpoint: Checkpoint) -> list[tuple[str, int, int, str]]:
    return [
        (part.file.relative, part.file.size, part.file.mtime_ns, part.header.digest)
        for part in checkpoint.parts
    ]


def _digest(*content: object) -> str:
    return hashlib.sha256(repr(content).encode("utf-8", "backslashreplace")).hexdigest()
