"""Which files under a folder may be weights: by their names and kinds, before any is opened."""

import os
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path

from trajscope.checkpoints.base import FoundFile, Skipped
from trajscope.checkpoints.cache import cache_around, is_cache, of_other_kind, read_cache
from trajscope.errors import CheckpointError, TrajectoryError, printable
from trajscope.readers import FOLDER_READERS, READERS, STORE_READERS
from trajscope.readers.base import StoreReader
from trajscope.readers.files import beginning, state_of
from trajscope.readers.torch.distributed_plan import SHARD_SUFFIX
from trajscope.readers.zarr.tree import has_step_groups

MAX_DEPTH = 8
MAX_ENTRIES = 1_000_000
INDEX_SUFFIX = ".index.json"
KERAS_INDEX = ".weights.json"

# What trainers write beside the weights; opening it would only cost time and trust.
_SIDECARS = re.compile(
    r"(optimizer|optim|scheduler|lr_scheduler|rng|rng_state|random_states|scaler|sampler"
    r"|dl_state_dict|training_args)([-_.\d]|$)|.*optim_states\."
)
_UNFINISHED = re.compile(
    r"\.?tmp[-_.].*|\.tmp.*|.*[-_.]tmp(-\d+)?|.*\.orbax-checkpoint-tmp.*|.*\.part"
)
_OTHER_FORMATS = (".msgpack", SHARD_SUFFIX, ".gguf", ".pkl", ".pickle")
_ANCHORS = frozenset(name for each in FOLDER_READERS for name in each.reader.suffixes)
_STORE_FILES = tuple(suffix for reader in STORE_READERS for suffix in reader.suffixes)
# Endings by their last part, the longest first: 20,000 names are compared with few each.
_BY_LAST_PART = {
    suffix[suffix.rfind(".") :]: sorted(
        (
            s
            for reader in READERS
            for s in reader.suffixes
            if s.endswith(suffix[suffix.rfind(".") :])
        ),
        key=len,
        reverse=True,
    )
    for reader in READERS
    for suffix in reader.suffixes
}
# Attributes come first in the metadata of a group, before the copies of its members' metadata.
_ATTRIBUTES_BYTES = 64 << 10


@dataclass
class Scan:
    """What one walk over a folder found.

    `matched` collects the globs of `exclude` that left something out. `caches` are the caches of
    the Hub among the folders, and the number of revisions in each: files in them are listed as
    ``REVISION/FILE``, and links stay inside them.
    """

    root: Path
    exclude: tuple[str, ...] = ()
    files: list[FoundFile] = field(default_factory=list)
    indexes: list[FoundFile] = field(default_factory=list)
    stores: list[tuple[Path, str, StoreReader]] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    matched: set[str] = field(default_factory=set)
    caches: dict[Path, int] = field(default_factory=dict)

    def skip(self, relative: str, reason: str) -> None:
        """Remember that a file or folder was left, and why."""
        self.skipped.append(Skipped(printable(relative), reason))

    @property
    def count(self) -> int:
        """How many files and folders were taken or left with a reason."""
        return len(self.files) + len(self.indexes) + len(self.stores) + len(self.skipped)


def scan(root: Path, exclude: tuple[str, ...] = ()) -> Scan:
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
    found = Scan(root, exclude)
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


def known_suffix(name: str) -> str:
    """The longest file ending of `name` that some reader knows, or ``""``."""
    lower = name.lower()
    endings = _BY_LAST_PART.get(lower[lower.rfind(".") :], ())
    return next((suffix for suffix in endings if lower.endswith(suffix)), "")


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
    if _UNFINISHED.fullmatch(name.lower()):
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
    # What a name says does not depend on which digits are in its stem: 20,000 names are few kinds.
    stem, dot, ending = entry.name.rpartition(".")
    taken_as, reason = _by_name(stem.translate(_DIGITS_ALIKE) + dot, ending)
    if taken_as is _NOTHING:
        if entry.is_symlink() and Path(entry.path).is_dir():
            found.skip(relative, "a link to a folder (links are not followed)")
        return
    if taken_as is not _ANCHOR and reason:
        found.skip(relative, reason)
        return
    if taken_as is not _ANCHOR and _excluded(found, relative):
        return
    file = regular_file(found, entry.path, relative, is_link=entry.is_symlink())
    if file is None:
        return
    reader = store_reader(file.path) if taken_as is _STORE else None
    if reader is not None:
        found.stores.append((file.path, relative, reader))
    else:
        (found.indexes if taken_as is _INDEX else found.files).append(file)


_NOTHING, _ANCHOR, _INDEX, _STORE, _FILE = "nothing", "anchor", "index", "store", "file"
_DIGITS_ALIKE = {ord(digit): "0" for digit in "123456789"}


@lru_cache(maxsize=4096)
def _by_name(stem: str, ending: str) -> tuple[str, str]:
    """What a file of this name is taken for, and why it is left out, by its name alone."""
    name = stem + ending
    if name in _ANCHORS:
        return _ANCHOR, ""
    lower = name.lower()
    is_index = lower.endswith((INDEX_SUFFIX, KERAS_INDEX))
    if not (is_index or known_suffix(_finished(lower)) or lower.endswith(_OTHER_FORMATS)):
        return _NOTHING, ""
    kind = _INDEX if is_index else _STORE if lower.endswith(_STORE_FILES) else _FILE
    return kind, _left_by_name(lower, is_index=is_index)


def _finished(name: str) -> str:
    """`name` as it would be once the file is written."""
    return re.sub(r"[-_.](tmp(-\d+)?|part)$", "", name) if "tmp" in name or "part" in name else name


def _left_by_name(name: str, *, is_index: bool) -> str:
    if _UNFINISHED.fullmatch(name):
        return "a temporary name: writing is unfinished or was interrupted"
    if name.startswith("."):
        return "a hidden file"
    if _SIDECARS.match(name) or name.endswith((".pkl", ".pickle")):
        return "the trainer's own state, not weights"
    if name.endswith(SHARD_SUFFIX):
        return "its folder lacks .metadata, which is written last: it may be unfinished"
    if not is_index and not known_suffix(name):
        return f"an unsupported format (*{Path(name).suffix})"
    return ""


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
