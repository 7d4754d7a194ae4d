"""Which files under a folder may be weights: by their names and kinds, before any is opened."""

import os
import stat
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from trajscope.checkpoints.base import FoundFile, Skipped
from trajscope.checkpoints.cache import cache_around, is_cache, of_other_kind, read_cache
from trajscope.checkpoints.file_kinds import (
    ANCHOR,
    INDEX,
    NOTHING,
    SIDECAR,
    STORE,
    is_unfinished,
    taken_as,
)
from trajscope.errors import CheckpointError, TrajectoryError, printable
from trajscope.readers import FOLDER_READERS, STORE_READERS
from trajscope.readers.base import StoreReader
from trajscope.readers.files import beginning, state_of
from trajscope.readers.zarr.tree import has_step_groups

MAX_DEPTH = 8
MAX_ENTRIES = 1_000_000
# Attributes come first in the metadata of a group, before the copies of its members' metadata.
_ATTRIBUTES_BYTES = 64 << 10


@dataclass
class Scan:
    """What one walk over a folder found.

    `matched` collects the globs of `exclude` that left something out. `caches` are the caches of
    the Hub among the folders, and the number of revisions in each: files in them are listed as
    ``REVISION/FILE``, and links stay inside them. `others` are the endings of files that no reader
    knows, with how many there are. `sidecars` is whether files are taken too that are called like
    a trainer's own state.
    """

    root: Path
    exclude: tuple[str, ...] = ()
    files: list[FoundFile] = field(default_factory=list)
    indexes: list[FoundFile] = field(default_factory=list)
    stores: list[tuple[Path, str, StoreReader]] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    matched: set[str] = field(default_factory=set)
    caches: dict[Path, int] = field(default_factory=dict)
    others: Counter[str] = field(default_factory=Counter)
    sidecars: bool = False

    def skip(self, relative: str, reason: str) -> None:
        """Remember that a file or folder was left, and why."""
        self.skipped.append(Skipped(printable(relative), reason))

    @property
    def count(self) -> int:
        """How many files and folders were taken or left with a reason."""
        return len(self.files) + len(self.indexes) + len(self.stores) + len(self.skipped)


def scan(root: Path, exclude: tuple[str, ...] = (), *, sidecars: bool = False) -> Scan:
    """Every file under `root` whose ending a reader knows, in the order of their names.

    Links to folders are not followed, links to files only inside `root`, or inside the cache of the
    Hub that they are in; sidecars, unfinished files, pipes and devices are left with a reason;
    whatever has nothing to do with checkpoints is passed over without one. Folders are entered to
    `MAX_DEPTH`.

    Raises
    ------
    TrajectoryError
        More than `MAX_ENTRIES` files and folders.
    """
    found = Scan(root, exclude, sidecars=sidecars)
    around = cache_around(root)
    if around is not None:
        found.caches[around] = 0
    start = around if around is not None and root.parent == around else root
    for count, (entry, relative) in enumerate(_walk(found, start, "", 0)):
        if count >= MAX_ENTRIES:
            raise TrajectoryError(
                f"{printable(root)} holds more than {MAX_ENTRIES:,} files, too many for one run. "
                "Give the folder of one run."
            )
        _take(found, entry, relative)
    return found


def store_reader(path: Path) -> StoreReader | None:
    """The reader of a store at `path`; `None` for a group of stores, or where one may not look."""
    try:
        reader = next((reader for reader in STORE_READERS if reader.recognises(path)), None)
        grouped = reader is not None and path.is_dir() and has_step_groups(path)
    except (OSError, CheckpointError):
        return None
    return None if grouped else reader


def is_result(folder: Path) -> bool:
    """Whether a store is what trajscope itself wrote, which lies beside checkpoints easily."""
    for name in ("zarr.json", ".zattrs"):
        with suppress(CheckpointError):
            if b'"trajscope"' in beginning(folder / name, _ATTRIBUTES_BYTES):
                return True
    return False


def _walk(
    found: Scan, folder: Path, relative: str, depth: int
) -> Iterator[tuple["os.DirEntry[str]", str]]:
    try:
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    except OSError as error:
        found.skip(relative or ".", f"the folder cannot be listed: {error.strerror}")
        return
    names = frozenset(entry.name for entry in entries)
    if is_cache(folder, names):
        yield from _walk_cache(found, folder, relative, depth)
        return
    anchors = {each.anchor(names) for each in FOLDER_READERS} - {""}
    if anchors:
        for entry in entries:
            if entry.name in anchors:
                yield entry, f"{relative}/{entry.name}" if relative else entry.name
        return
    for entry in entries:
        below = f"{relative}/{entry.name}" if relative else entry.name
        if not entry.is_dir(follow_symlinks=False):
            yield entry, below
        elif _enters(found, Path(entry.path), below, depth + 1):
            yield from _walk(found, Path(entry.path), below, depth + 1)


def _walk_cache(
    found: Scan, folder: Path, relative: str, depth: int
) -> Iterator[tuple["os.DirEntry[str]", str]]:
    """As `_walk`, through the snapshots of a cache under the names of their revisions."""
    cache = read_cache(folder)
    found.caches[folder] = len(cache.revisions)
    above = f"{relative}/" if relative else ""
    for name, reason in cache.left.items():
        found.skip(above + name, reason)
    for name, snapshot in cache.revisions.items():
        if _excluded(found, above + name):
            continue
        before = found.count
        yield from _walk(found, snapshot, above + name, depth + 1)
        if found.count == before:
            found.skip(above + name, "its snapshot holds no weights: were they downloaded?")


def _enters(found: Scan, folder: Path, relative: str, depth: int) -> bool:
    """Whether to look inside a folder; stores are noted, others are left with a reason."""
    name = folder.name
    if is_unfinished(name):
        found.skip(relative, "a temporary name: writing is unfinished or was interrupted")
    elif _excluded(found, relative):
        pass
    elif of_other_kind(folder):
        found.skip(relative, "a cache of data or of an app, not of a model")
    elif (reader := store_reader(folder)) is not None:
        if is_result(folder):
            found.skip(relative, "a result of trajscope")
        else:
            found.stores.append((folder, relative, reader))
    elif depth > MAX_DEPTH:
        found.skip(relative, f"more than {MAX_DEPTH} folders deep")
    else:
        return not name.startswith(".")
    return False


def _take(found: Scan, entry: "os.DirEntry[str]", relative: str) -> None:
    stem, dot, ending = entry.name.rpartition(".")
    kind, reason = taken_as(stem + dot, ending)
    if kind is NOTHING:
        found.others[f".{ending.lower()}" if dot else ""] += 1
        if entry.is_symlink() and Path(entry.path).is_dir():
            found.skip(relative, "a link to a folder (links are not followed)")
        return
    if kind is not ANCHOR and reason and not (found.sidecars and reason == SIDECAR):
        found.skip(relative, reason)
        return
    if kind is not ANCHOR and _excluded(found, relative):
        return
    file = regular_file(found, entry.path, relative, is_link=entry.is_symlink())
    if file is None:
        return
    reader = store_reader(file.path) if kind is STORE else None
    if reader is not None:
        found.stores.append((file.path, relative, reader))
    else:
        (found.indexes if kind is INDEX else found.files).append(file)


def regular_file(
    found: Scan, path: str | Path, relative: str, *, is_link: bool = False
) -> FoundFile | None:
    """The file at `path`; `None`, with a reason, if it is none or lies outside the folder."""
    try:
        status = os.stat(path)  # noqa: PTH116 - a Path takes longer to make than a file to ask for
    except OSError as error:
        found.skip(relative, f"it cannot be reached: {error.strerror}")
        return None
    if is_link:
        if stat.S_ISDIR(status.st_mode):
            found.skip(relative, "a link to a folder (links are not followed)")
            return None
        own = next((each for each in found.caches if Path(path).is_relative_to(each)), found.root)
        if not Path(path).resolve().is_relative_to(own):
            found.skip(relative, "a link to a place outside the folder (not followed)")
            return None
    if not stat.S_ISREG(status.st_mode):
        found.skip(relative, "not a regular file, so it is not opened")
        return None
    identity = (status.st_dev, status.st_ino)
    size, mtime_ns, state = status.st_size, status.st_mtime_ns, state_of(status)
    return FoundFile(Path(path), relative, size, mtime_ns, identity, is_link, state)


def _excluded(found: Scan, relative: str) -> bool:
    """Whether a glob of ``exclude`` matches a file's or folder's name or relative path."""
    if not found.exclude:
        return False
    name = relative.rsplit("/", 1)[-1]
    hits = [
        glob for glob in found.exclude if fnmatchcase(relative, glob) or fnmatchcase(name, glob)
    ]
    if hits:
        found.matched.update(hits)
        found.skip(relative, f"excluded by the pattern {printable(hits[0])!r}")
    return bool(hits)
