"""The files of a zarr store: whether each can be read without waiting, and how far they reach."""

import hashlib
import os
import re
import stat
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trajscope.errors import CheckpointError, printable
from trajscope.readers.files import state_of

# Chunks are called "c/3/0" and "3.0" by default, "c.3.0" and "3/0" by choice, and a scalar's "c" or
# "0"; while one is written, its name has more behind it.
_CHUNK = re.compile(r"c|(?:c[/.])?\d{1,12}(?:[/.]\d{1,12})*", re.ASCII)
_FIRST = re.compile(r"(?:c[/.])?(\d{1,12})", re.ASCII)
_FIRST_INDEX = re.compile(r"(?:c\.)?(\d{1,12})(?:\.\d{1,12})*$", re.ASCII)


@dataclass(frozen=True)
class Survey:
    """The files of a store: a digest of all, the path of each in it, and the state of each."""

    digest: str
    files: tuple[str, ...]
    file_states: tuple[int, ...]

    def states(self, arrays: Mapping[str, int], n_steps: int) -> NDArray[np.uint64]:
        """(step,): a number that changes when a chunk that holds the step does, or is another.

        Parameters
        ----------
        arrays :
            Paths of arrays along the steps, and how many steps a chunk of each holds.
        """
        total = np.zeros(n_steps, np.uint64)
        for file, state in zip(self.files, self.file_states, strict=True):
            name, chunk = _split(file, arrays)
            if name is not None and (match := _FIRST.match(chunk)):
                first = int(match[1]) * arrays[name]
                total[first : first + arrays[name]] += np.uint64(state)  # modulo 2^64
        return total

    def chunks(self, arrays: Collection[str]) -> dict[str, frozenset[str]]:
        """The chunks that are there, by array; the path ``""`` is a store that is one array."""
        found: dict[str, set[str]] = {name: set() for name in arrays}
        for file in self.files:
            name, chunk = _split(file, found)
            if name is not None:
                found[name].add(chunk)
        return {name: frozenset(chunks) for name, chunks in found.items()}


def _split(file: str, arrays: Collection[str]) -> tuple[str | None, str]:
    """The array that a file is a chunk of, and what the chunk is called; `None` of other files."""
    ends = (match.start() for match in re.finditer("/", file))
    name = next((file[:end] for end in ends if file[:end] in arrays), "")
    chunk = file[len(name) :].lstrip("/")
    return (name if name in arrays and _CHUNK.fullmatch(chunk) else None), chunk


def survey(path: Path) -> Survey:
    """All files of a store, with a digest of their names, sizes and times of the last change.

    The zarr library opens whatever lies where a chunk should be: a pipe would make it wait for
    ever, and a link to nowhere counts as a chunk that was never written, which is read as zeros.

    Raises
    ------
    CheckpointError
        One of the files is neither a regular file nor a link to one, or a folder cannot be listed.
    """
    digest = hashlib.sha256()
    files, states = [], []
    waiting = [(path, "")]
    while waiting:
        folder, prefix = waiting.pop()
        for entry in listed(folder):
            name = f"{prefix}{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                waiting.append((Path(entry.path), f"{name}/"))
            elif (status := _status(path, entry, name)) is not None:
                described = (name, status.st_size, status.st_mtime_ns)
                digest.update(repr(described).encode("utf-8", "backslashreplace"))
                files.append(name)
                states.append(state_of(status))
    return Survey(digest.hexdigest(), tuple(files), tuple(states))


def listed(folder: Path) -> list["os.DirEntry[str]"]:
    """The entries of a folder in the order of their names.

    Raises
    ------
    CheckpointError
        It cannot be listed.
    """
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise CheckpointError(
            f"{printable(folder)} cannot be listed: {error.strerror}. Check the permissions."
        ) from error


def written_length(folder: Path, length: int, chunk: int) -> int:
    """Entries of an array's first axis up to the last of which anything was written.

    Whoever appends makes the array longer first and writes the new chunks then; what is not
    written yet is read as zeros. A chunk of zeros is not written either, so gaps say nothing; an
    array of nothing but zeros has none, and 0 here.
    """
    chunks = folder / "c"
    names = [entry.name for entry in listed(chunks if chunks.is_dir() else folder)]
    found = [int(match[1]) for name in names if (match := _FIRST_INDEX.match(name))]
    return min(length, (max(found) + 1) * chunk) if found else 0


def _status(path: Path, entry: "os.DirEntry[str]", name: str) -> os.stat_result | None:
    """What the file is; `None` if it is a link to a folder, or went away since it was listed."""
    try:
        status = entry.stat()
    except OSError as error:
        if not entry.is_symlink():
            return None
        raise CheckpointError(
            f"{printable(path)}: '{printable(name)}' is a broken link ({error.strerror}), so its "
            "values would be read as zeros. Fetch the missing files, or leave the store out with "
            "--exclude."
        ) from error
    if stat.S_ISREG(status.st_mode):
        return status
    if stat.S_ISDIR(status.st_mode):
        return None
    raise CheckpointError(
        f"{printable(path)}: '{printable(name)}' is not a regular file, so the store is not read. "
        "Remove it, or leave the store out with --exclude."
    )
