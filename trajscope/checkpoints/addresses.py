"""Folders behind an address (s3://, http://, hf://): what lies there, and ranges of bytes."""

import contextlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any, TypeGuard

from trajscope.checkpoints.as_opened import changed
from trajscope.checkpoints.base import Skipped
from trajscope.checkpoints.scan import MAX_ENTRIES
from trajscope.checkpoints.secrets import keep_out_of_logs
from trajscope.errors import (
    CheckpointError,
    OptionError,
    TrajectoryError,
    keep_secret,
    printable,
    redacted,
)

_ASKED_AT_ONCE = 32
_LARGEST = 2**62
_LONGEST_ADDRESS = 4096

_secret: dict[str, str] = {}
"""Addresses that contain a password or token, by what is shown of them."""


@dataclass(frozen=True)
class RemoteFile:
    """A file behind an address.

    Attributes
    ----------
    relative :
        Path below the folder that is opened, ``""`` where it is that file itself.
    mtime_ns :
        Nanoseconds since 1970 at which it was last changed; 0 where that is not told.
    content :
        Equal for files that are equal byte by byte; ``""`` where that is not told.
    """

    relative: str
    size: int
    mtime_ns: int = 0
    content: str = ""


@dataclass(frozen=True)
class Place:
    """Where the files of a folder are: `roots` are the addresses of folders in it, by their path.

    Addresses may contain passwords, so they are not part of what is printed.
    """

    url: str = field(repr=False)
    roots: Mapping[str, str] = field(repr=False)

    def address(self, relative: str) -> str:
        """That of one file."""
        below = relative
        while below and below not in self.roots:
            below = below.rpartition("/")[0]
        rest = relative[len(below) :].lstrip("/")
        return f"{self.roots[below]}/{rest}" if rest else self.roots[below]

    def fetch(self, spans: Sequence[tuple[str, int, int]]) -> list[bytes | CheckpointError]:
        """Bytes ``first:last`` of each file, or why they cannot be had."""
        wanted = [(self.address(name), first, last) for name, first, last in spans]
        return _ranges(self.url, wanted)


@dataclass(frozen=True)
class Listing:
    """What lies behind an address."""

    place: Place
    files: tuple[RemoteFile, ...]
    skipped: tuple[Skipped, ...]


def is_remote(path: object) -> TypeGuard[str]:
    """Whether this is an address such as "s3://bucket/run" and no path."""
    return isinstance(path, str) and "://" in path


def full_address(url: str) -> str:
    """`url`, or the one that was opened before and is shown like this, without its password."""
    url = url.rstrip("/")
    shown = printable(url, limit=_LONGEST_ADDRESS)
    if shown != url:
        _secret[shown] = url
        keep_secret(url)
    return _secret.get(url, url)


def listing(url: str) -> Listing:
    """All files of the folder at `url`, or the file there.

    Raises
    ------
    OptionError
        No package is installed that reads such addresses.
    TrajectoryError
        The address cannot be reached, or holds too many files.
    """
    if url.startswith("hf://"):
        file_system(url)
        of_repository: Listing = _hub(url).list_repository(url)
        return of_repository
    found = _find(url)
    files, skipped = [], []
    for name, info in sorted(found.items()):
        if isinstance(info, str):
            skipped.append(Skipped(printable(name), info))
        elif not _known_size(info):
            what = f"the server says that it has {printable(info.get('size'))} bytes"
            skipped.append(Skipped(printable(name), what))
        else:
            content = "" if url.startswith("http") else _content(info)
            files.append(RemoteFile(name, info["size"], _time(info), content))
    return Listing(Place(url, {"": url}), tuple(files), tuple(skipped))


@lru_cache(maxsize=16)
def file_system(url: str) -> Any:  # fsspec has no types
    """What an address is read with."""
    keep_out_of_logs()
    if url.startswith("hf://"):
        return _hub(url).HubFiles()
    try:
        if url.startswith(("http://", "https://")):
            from trajscope.checkpoints.web import WebFiles

            return WebFiles()
        import fsspec

        return fsspec.core.url_to_fs(url)[0]
    except (ImportError, ValueError) as error:
        raise _not_installed(url, "remote", error) from None
    except Exception as error:
        raise unreachable(url, error) from None


def unreachable(url: str, error: BaseException) -> TrajectoryError:
    """The error for an address that does not answer."""
    return TrajectoryError(
        f"{printable(url)} cannot be reached: {in_words(error)}. Check the address, the network "
        "and your credentials."
    )


def too_many(url: str) -> TrajectoryError:
    """The error for a folder that is larger than any run."""
    return TrajectoryError(
        f"{printable(url)} holds more than {MAX_ENTRIES:,} files, too many for one run. Give the "
        "folder of one run."
    )


def in_words(error: BaseException) -> str:
    """What a library says went wrong, without the secrets that it may quote."""
    return printable(" ".join(redacted(error).split())) or type(error).__name__


def _hub(url: str) -> Any:  # a module, imported where it is needed
    try:
        from trajscope.checkpoints import hub
    except ImportError as error:
        raise _not_installed(url, "hub", error) from None
    return hub


def _not_installed(url: str, extra: str, error: Exception) -> OptionError:
    kind = url.partition("://")[0]
    return OptionError(
        f"{printable(url)} cannot be opened: {in_words(error)}. {printable(kind, limit=20)}:// "
        f"addresses need an additional package: pip install 'trajscope[{extra}]'."
    )


def _ranges(url: str, spans: Sequence[tuple[str, int, int]]) -> list[bytes | CheckpointError]:
    """The bytes ``first:last`` of each address, or why they cannot be had."""
    wanted = [span for span in spans if span[1] < span[2]]
    found: list[Any] = []
    if wanted:
        paths, firsts, lasts = map(list, zip(*wanted, strict=True))
        try:
            found = file_system(url).cat_ranges(paths, firsts, lasts, on_error="return")
        except Exception as error:  # each kind of address has errors of its own
            found = [error] * len(wanted)
    pieces = iter(found)
    return [_checked(span, next(pieces) if span[1] < span[2] else b"") for span in spans]


def _checked(span: tuple[str, int, int], piece: Any) -> bytes | CheckpointError:
    path, first, last = span
    if isinstance(piece, CheckpointError):
        return piece
    if isinstance(piece, BaseException):
        return CheckpointError(
            f"{printable(path)} cannot be read: {in_words(piece)}. Was a file deleted? Try again, "
            "or copy the folder here."
        )
    if len(piece) != last - first:
        return changed(path, f"{last - first} bytes expected from byte {first}, {len(piece)} found")
    return bytes(piece)


def _find(url: str) -> dict[str, Mapping[str, Any] | str]:
    """What the file system says of each file, by its path below the address, or why nothing."""
    system = file_system(url)

    def ask(path: str) -> Mapping[str, Any] | str:
        try:
            info = system.info(path)
        except Exception as error:  # each kind of address has errors of its own
            return f"it cannot be reached: {in_words(error)}"
        return info if isinstance(info, dict) else {}

    try:
        system.invalidate_cache()
        system.dircache.clear()  # of a run that goes on more is there now than before
        inside = system._strip_protocol(url)
        found = dict(system.find(inside, detail=True))
    except Exception as error:  # each kind of address has errors of its own
        raise unreachable(url, error) from None
    if len(found) > MAX_ENTRIES:
        raise too_many(url)
    unknown = [path for path, info in found.items() if not _known_size(info)]
    with ThreadPoolExecutor(_ASKED_AT_ONCE) as pool:  # a list of links has no sizes
        found |= zip(unknown, pool.map(ask, unknown), strict=True)
    return {path.removeprefix(inside).lstrip("/"): info for path, info in found.items()}


def _known_size(info: Mapping[str, Any]) -> bool:
    size = info.get("size")
    return isinstance(size, int) and not isinstance(size, bool) and 0 <= size < _LARGEST


def _content(info: Mapping[str, Any]) -> str:
    """What a store of objects says of the content of one; web servers call a time by that name."""
    known = next((info[key] for key in ("ETag", "etag", "md5Hash") if info.get(key)), "")
    return f"{known} {info.get('size')}" if known else ""


def _time(info: Mapping[str, Any]) -> int:
    for key in ("LastModified", "mtime", "updated", "modified", "created"):
        value = info.get(key)
        if isinstance(value, str):
            with contextlib.suppress(ValueError):
                value = datetime.fromisoformat(value)
        if isinstance(value, datetime):
            value = value.timestamp()
        if isinstance(value, int | float):
            return int(value * 1e9)
    return 0
