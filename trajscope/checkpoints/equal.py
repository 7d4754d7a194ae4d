"""Which checkpoints of different steps are one file on disk, known without reading any."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from trajscope.checkpoints.base import Checkpoint

Identity = tuple[int, int]


def equal_files(checkpoints: Sequence[Checkpoint]) -> list[dict[str, Any]]:
    """Files that are the same at several steps, as links and blobs of a cache are.

    Returns
    -------
    list
        ``{"steps": [...], "files": [...], "whole": bool}``, by the first step: at these steps the
        files of these names are the same; ``whole`` where they are all files of the checkpoints.
        Whole checkpoints come first, and their files are not listed again for fewer steps.
    """
    found = [part.file.identity for each in checkpoints for part in each.parts]
    if len(set(found)) == len(found):  # as nearly always, for 20,000 of them too
        return []
    wholes = [frozenset(part.file.identity for part in each.parts) for each in checkpoints]
    owners: dict[Identity, list[int]] = defaultdict(list)
    for position, files in enumerate(wholes):
        for file in files:
            owners[file].append(position)
    repeated = {file: own for file, own in owners.items() if len(own) > 1}
    alike: dict[frozenset[Identity], list[int]] = defaultdict(list)
    for position in sorted({position for own in repeated.values() for position in own}):
        alike[wholes[position]].append(position)
    groups = [(own, files, True) for files, own in alike.items() if len(own) > 1]
    together: dict[tuple[int, ...], set[Identity]] = defaultdict(set)
    for file, own in repeated.items():
        if len({wholes[position] for position in own}) > 1:
            together[tuple(own)].add(file)
    groups += [(list(own), frozenset(files), False) for own, files in together.items()]
    return [
        {
            "steps": [checkpoints[position].step for position in own],
            "files": _names(checkpoints[own[0]], files),
            "whole": whole,
        }
        for own, files, whole in sorted(groups, key=lambda group: (not group[2], group[0]))
    ]


def _names(checkpoint: Checkpoint, files: frozenset[Identity]) -> list[str]:
    """The names of some of a checkpoint's files."""
    parts = (part.file for part in checkpoint.parts if part.file.identity in files)
    return sorted({file.relative.rpartition("/")[2] for file in parts})
