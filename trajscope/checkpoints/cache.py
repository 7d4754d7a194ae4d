"""A cache of the Hugging Face Hub, ``models--ORG--NAME/{refs,snapshots,blobs}``, as its revisions.

A file below ``refs`` has the name of a revision, and holds a commit id; ``snapshots`` has a folder
for each commit, with links to the files in ``blobs``.
"""

import os
import re
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from trajscope.errors import CheckpointError, TrajectoryError, printable
from trajscope.readers.files import beginning

MAX_REVISIONS = 100_000

_REFS, _SNAPSHOTS, _BLOBS = "refs", "snapshots", "blobs"
_PARTS = (_REFS, _SNAPSHOTS, _BLOBS)
_COMMIT = re.compile(rb"\s{0,8}([0-9a-f]{40}|[0-9a-f]{64})\s{0,8}")
_LONGEST_REF = 80
_MAX_DEPTH = 8
_NO_NAMES = (
    "they name no revision, so the step of no snapshot is known. Download each revision by its "
    "name (such as step1000) and not by its commit id, or write the commit id into a file "
    "refs/step1000. Where one snapshot holds all checkpoints, give the folder of that snapshot"
)


@dataclass(frozen=True)
class Cache:
    """What a cache holds of one model.

    Attributes
    ----------
    revisions :
        The folder of each revision that may be a checkpoint, by its name.
    left :
        Why each of the others, and what else lies there, is no checkpoint.
    """

    revisions: dict[str, Path]
    left: dict[str, str]


def is_cache(folder: Path, names: Collection[str]) -> bool:
    """Whether a folder with entries of these names is the cache of one model.

    It may have been given another name, but then holds nothing else.
    """
    if _SNAPSHOTS not in names:
        return False
    others = (name for name in names if name not in _PARTS and not name.startswith("."))
    return folder.name.startswith("models--") or (_REFS in names and not any(others))


def cache_around(folder: Path) -> Path | None:
    """The cache that a folder lies in, as ``snapshots`` or below it."""
    for inner, outer in zip([folder, *folder.parents], folder.parents, strict=False):
        if inner.name == _SNAPSHOTS and is_cache(outer, _entries(outer)):
            return outer
    return None


def of_other_kind(folder: Path) -> bool:
    """Whether a folder is the cache of a data set or an app, which has no checkpoints."""
    return folder.name.startswith(("datasets--", "spaces--")) and _SNAPSHOTS in _entries(folder)


def read_cache(folder: Path) -> Cache:
    """The revisions that the refs of a cache name, and what is left with a reason.

    Of several names of one commit those without a number are aliases. Two numbers for one commit
    are kept both: that is for an audit to judge.

    Raises
    ------
    TrajectoryError
        More than `MAX_REVISIONS` names.
    """
    snapshots = _folders(folder / _SNAPSHOTS)
    names: dict[str, list[str]] = defaultdict(list)
    left: dict[str, str] = {}
    seen: set[str] = set()
    for count, (name, entry) in enumerate(_refs(folder / _REFS, "", left, 0)):
        if count >= MAX_REVISIONS:
            raise TrajectoryError(
                f"{printable(folder)} names more than {MAX_REVISIONS:,} revisions, too many for "
                f"one run. Delete those in {_REFS} that are not needed."
            )
        commit, reason = _commit(name, entry)
        seen.add(commit)
        if not reason and commit not in snapshots:
            reason = f"its snapshot {commit[:8]} is not in the cache: it was not downloaded"
        if reason:
            left[f"{_REFS}/{name}"] = reason
        else:
            names[commit].append(name)
    revisions: dict[str, Path] = {}
    for commit, own in names.items():
        kept = [name for name in own if re.search(r"\d", name)] or own[:1]
        revisions |= dict.fromkeys(kept, folder / _SNAPSHOTS / commit)
        same = f"an alias: it is the same commit as {printable(kept[0])}"
        left |= {f"{_REFS}/{name}": same for name in own if name not in kept}
    unnamed = "no ref has its commit id, so its step is unknown"
    left |= {f"{_SNAPSHOTS}/{commit}": unnamed for commit in snapshots if commit not in seen}
    if snapshots and not revisions:
        left[_REFS] = _NO_NAMES
    left |= {
        f"{_BLOBS}/{name}": "an unfinished download"
        for name in _entries(folder / _BLOBS)
        if name.endswith(".incomplete")
    }
    return Cache(revisions, left)


def _entries(folder: Path) -> list[str]:
    return [entry.name for entry in _listed(folder)]


def _folders(folder: Path) -> dict[str, None]:
    """The names of the folders in one, links not followed, in their order."""
    if folder.is_symlink():
        return {}
    return {entry.name: None for entry in _listed(folder) if entry.is_dir(follow_symlinks=False)}


def _listed(folder: Path) -> list["os.DirEntry[str]"]:
    """What lies in a folder, in the order of the names; nothing where it cannot be listed."""
    try:
        with os.scandir(folder) as listing:
            return sorted(listing, key=lambda entry: entry.name)
    except OSError:
        return []


def _refs(
    folder: Path, above: str, left: dict[str, str], depth: int
) -> Iterator[tuple[str, "os.DirEntry[str]"]]:
    """Every file below ``refs`` by its name there, which may have slashes."""
    for entry in _listed(folder):
        name = above + entry.name
        if not entry.is_dir(follow_symlinks=False):
            yield name, entry
        elif depth < _MAX_DEPTH:
            yield from _refs(Path(entry.path), f"{name}/", left, depth + 1)
        else:
            left[f"{_REFS}/{name}"] = f"more than {_MAX_DEPTH} folders deep"


def _commit(name: str, entry: "os.DirEntry[str]") -> tuple[str, str]:
    """The commit id in a ref, ``""`` if it has none, and why it is no revision of the training."""
    if name.endswith(".tmp"):
        return "", "a temporary name: writing is unfinished or was interrupted"
    if entry.is_symlink():
        return "", "a link (not followed)"
    try:
        found = _COMMIT.fullmatch(beginning(Path(entry.path), _LONGEST_REF + 1))
    except CheckpointError as error:
        return "", str(error)
    if found is None:
        return "", "its content is not a commit id"
    is_other = name.startswith("refs/")
    other = "a pull request or a conversion, not a revision of the model" if is_other else ""
    return found[1].decode(), other
