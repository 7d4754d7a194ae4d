"""What tells one state of a run's files from another, without reading their weights."""

import hashlib

from trajscope.checkpoints.base import Checkpoint, Series
from trajscope.checkpoints.weights import Weights


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
    files = [checkpoint_fingerprint(each) for each in weights.checkpoints]
    return _digest(series.run, digest, files, steps, names)


def checkpoint_fingerprint(checkpoint: Checkpoint) -> str:
    """A digest of the step and the files of one checkpoint: name, size, time of the last change.

    While it stays, the weights read from the checkpoint stay. One step of a store has none of its
    own and gives ``""``.
    """
    if not checkpoint.parts:
        return ""
    files = [
        (part.file.relative, part.file.size, part.file.mtime_ns, part.header.digest)
        for part in checkpoint.parts
    ]
    return _digest(checkpoint.step, files)


def _digest(*content: object) -> str:
    return hashlib.sha256(repr(content).encode("utf-8", "backslashreplace")).hexdigest()
