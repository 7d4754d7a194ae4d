"""What changes on the way in the files of one run, in words."""

from collections.abc import Callable, Sequence
from itertools import pairwise

from trajscope.checkpoints.base import Candidate, Checkpoint
from trajscope.checkpoints.copies import without_format
from trajscope.errors import printable

_LISTED = 3


def changes(checkpoints: Sequence[Checkpoint], candidates: Sequence[Candidate]) -> list[str]:
    """A sentence for each step from which the names or formats of the files are others."""
    patterns = {each.relative: each.name.pattern for each in candidates}
    bare = {pattern: without_format(pattern) for pattern in set(patterns.values())}

    def format_of(checkpoint: Checkpoint) -> str:
        return ", ".join(dict.fromkeys(part.reader.name for part in checkpoint.parts))

    def pattern_of(checkpoint: Checkpoint) -> str:
        return bare[patterns[checkpoint.relative]]

    return [
        *_changes(checkpoints, format_of, "the files are in another format"),
        *_changes(checkpoints, pattern_of, "the files have other names"),
    ]


def _changes(
    checkpoints: Sequence[Checkpoint], kind: Callable[[Checkpoint], str], what: str
) -> list[str]:
    found = [
        (after.step, kind(before), kind(after))
        for before, after in pairwise(checkpoints)
        if kind(before) != kind(after)
    ]
    told = [
        f"From step {step} on {what}: {printable(new)} instead of {printable(old)}."
        for step, old, new in found[:_LISTED]
    ]
    if len(found) > _LISTED:
        told.append(f"The same changes {len(found) - _LISTED} more times.")
    return told
