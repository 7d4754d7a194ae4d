"""What changes on the way in the files of one run, in words."""

from collections.abc import Sequence
from itertools import pairwise

from trajscope.checkpoints.base import Candidate, Checkpoint
from trajscope.checkpoints.copies import without_format
from trajscope.errors import printable

_LISTED = 3


def changes(checkpoints: Sequence[Checkpoint], candidates: Sequence[Candidate]) -> list[str]:
    """A sentence for each step from which the names or formats of the files are others."""
    patterns = {each.relative: each.name.pattern for each in candidates}
    bare = {pattern: without_format(pattern) for pattern in set(patterns.values())}

    formats = [
        each.parts[0].reader.name
        if len(each.parts) == 1
        else ", ".join(dict.fromkeys(part.reader.name for part in each.parts))
        for each in checkpoints
    ]
    told = _changes(checkpoints, formats, "the files are in another format")
    # Without numbers every name is another one.
    if all(each.name.texts for each in candidates):
        own = [bare[patterns[each.relative]] for each in checkpoints]
        told.extend(_changes(checkpoints, own, "the files have other names"))
    return told


def _changes(checkpoints: Sequence[Checkpoint], kinds: Sequence[str], what: str) -> list[str]:
    if len(set(kinds)) < 2:
        return []
    found = [
        (checkpoint.step, before, after)
        for checkpoint, (before, after) in zip(checkpoints[1:], pairwise(kinds), strict=True)
        if before != after
    ]
    told = [
        f"From step {step} on {what}: {printable(new)} instead of {printable(old)}."
        for step, old, new in found[:_LISTED]
    ]
    if len(found) > _LISTED:
        more = len(found) - _LISTED
        told.append(f"{more} more change{'' if more == 1 else 's'} of this kind.")
    return told
