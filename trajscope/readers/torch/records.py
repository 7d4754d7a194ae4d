"""What a pickle leaves when it is read as data, and the errors of one that leaves nothing."""

from dataclasses import dataclass, field

from trajscope.errors import CheckpointError


class DamagedPickleError(CheckpointError):
    """The bytes are no pickle, or one beyond the limits above."""


class UnfinishedPickleError(DamagedPickleError):
    """The bytes end before the pickle does."""


@dataclass(frozen=True, slots=True)
class Global:
    """The name of a class or function, nothing more."""

    module: str
    name: str


@dataclass(eq=False, slots=True)
class Record:
    """What a pickle asked to be made, and was not.

    Attributes
    ----------
    origin :
        What would have been called: a `Global`, or whatever the pickle put in its place.
    arguments :
        What it would have been called with.
    state :
        What the instance would have been restored from.
    items, pairs :
        What would have been appended to it, and set in it by key.
    """

    origin: object
    arguments: object = ()
    state: object = None
    items: list[object] = field(default_factory=list)
    pairs: list[tuple[object, object]] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class Dictionary:
    """The pairs of a dictionary in the order they were set; a later key replaces an earlier one."""

    pairs: list[tuple[object, object]] = field(default_factory=list)


@dataclass(frozen=True, eq=False, slots=True)
class Persistent:
    """A reference to something kept outside the pickle."""

    identity: object
