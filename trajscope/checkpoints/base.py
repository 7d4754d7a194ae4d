"""What crosses between the parts of this package: files found, checkpoints, a series of them."""

from dataclasses import dataclass
from pathlib import Path

from trajscope.checkpoints.names import Name
from trajscope.readers.base import Header, Reader, StoreHeader, StoreReader


@dataclass(frozen=True)
class Skipped:
    """A file or folder that looks like part of a run and was not taken, and why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A regular file whose ending some reader knows.

    Attributes
    ----------
    relative :
        Path below the folder that is scanned, with ``/`` between its parts.
    identity :
        Device and inode: equal for hard links, and for a link and its target.
    is_link :
        Whether the name is a symbolic link (to a file in the same folder tree).
    state :
        As `readers.files.state_of` gives it.
    """

    path: Path
    relative: str
    size: int
    mtime_ns: int
    identity: tuple[int, int]
    is_link: bool = False
    state: int = 0


@dataclass(frozen=True, slots=True)
class CheckpointPart:
    """One file of a checkpoint; the header lists only the tensors that are taken from it.

    `prefix` stands before the names of its tensors, and is the name of one that has none, where
    several files of a folder make one checkpoint. `inside` stands before them in the file, where it
    holds several checkpoints.
    """

    file: FoundFile
    reader: Reader
    header: Header
    prefix: str = ""
    inside: str = ""

    def shown(self, name: str) -> str:
        """What the tensor that the file calls `name` is called in the checkpoint."""
        return "/".join(filter(None, (self.prefix, name))) or "array"


@dataclass(frozen=True, slots=True)
class Candidate:
    """One or several files that together may be a checkpoint.

    Attributes
    ----------
    path :
        The file, or the folder of a sharded checkpoint: what the user is shown.
    name :
        Its relative path read as a pattern with numbers.
    parts :
        Empty when the files cannot be read.
    damage :
        Why they cannot be read, else ``""``.
    """

    path: Path
    relative: str
    name: Name
    parts: tuple[CheckpointPart, ...] = ()
    damage: str = ""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The model at one step.

    `parts` is empty and `row` is the position along the step axis where the whole series lies in
    one store. `counts` is what else is counted there, see `Series.coordinates`; `None` where the
    name does not say.
    """

    step: int | float
    path: Path
    relative: str
    parts: tuple[CheckpointPart, ...] = ()
    row: int = 0
    counts: tuple[int | float | str | None, ...] = ()


@dataclass(frozen=True)
class Store:
    """A store that holds every checkpoint along a step axis."""

    path: Path
    reader: StoreReader
    header: StoreHeader


@dataclass(frozen=True)
class Series:
    """The checkpoints of one run in the order of their steps, and what was left lying.

    Attributes
    ----------
    root :
        The folder that was scanned, absolute.
    run, runs :
        The run that was taken, and the names of all that were found.
    step_unit, step_source :
        One of `schema.STEP_UNITS`, and in a few words where the numbers came from.
    skipped, warnings :
        For the user, made printable.
    decisions :
        What was decided on the way, in words for the user, made printable.
    coordinates :
        What is counted at each checkpoint besides the step ("tokens", "stage").
    unmatched :
        The globs of `exclude` that no file matched; tensors may.
    averaged :
        Whether the run was chosen because its files are averages of the weights by their name.
    store :
        Set where the series is one store.
    renamed :
        Whether files are listed under other names than those on disk, as in a cache of the Hub.
    """

    root: Path
    run: str
    runs: tuple[str, ...]
    checkpoints: tuple[Checkpoint, ...]
    step_unit: str
    step_source: str
    skipped: tuple[Skipped, ...] = ()
    warnings: tuple[str, ...] = ()
    decisions: tuple[str, ...] = ()
    coordinates: tuple[str, ...] = ()
    unmatched: tuple[str, ...] = ()
    averaged: bool = False
    store: Store | None = None
    renamed: bool = False
