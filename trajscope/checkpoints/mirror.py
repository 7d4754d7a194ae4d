"""A local folder of hollow files that stands for one behind an address.

What a folder means is decided from names and headers alone. So these are copied into a folder of
hollow files, each as long as the one it stands for, which is read like any other; the weights are
then read from where they are.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from trajscope.checkpoints.base import Skipped
from trajscope.checkpoints.remote import file_system, ranges, unreachable
from trajscope.checkpoints.scan import INDEX_SUFFIX, MAX_ENTRIES
from trajscope.errors import TrajectoryError, TrajscopeError, printable

_SUFFIX = ".safetensors"
_FIRST_BYTES = 2**14
_MAX_HEADER = 100_000_000
_MAX_STATE = 64 << 20
_LONGEST_NAME = 255
# Files whose beginnings are asked for at once.
_AT_ONCE = 256


@dataclass(frozen=True)
class Mirror:
    """A local folder of hollow files that stands for the one at `url`."""

    url: str
    folder: Path
    skipped: tuple[Skipped, ...]

    def told(self, text: object) -> str:
        """`text` with the address in the place of this folder."""
        return str(text).replace(str(self.folder), printable(self.url))


@contextlib.contextmanager
def mirrored(url: str) -> Iterator[Mirror]:
    """The folder at `url` with hollow safetensors files and whole indexes and trainer states.

    Raises
    ------
    OptionError
        No package is installed that reads such addresses.
    TrajectoryError
        The address cannot be reached, or holds too many files.
    """
    root = url.rstrip("/")
    with tempfile.TemporaryDirectory(prefix="trajscope-") as folder:
        target = Path(folder).resolve() / (_safe(root.rpartition("/")[2]) or "run")
        target.mkdir()
        names, skipped = _found(root)
        whole = [name for name in names if name.endswith((INDEX_SUFFIX, "/trainer_state.json"))]
        headed = {name: info for name, info in names.items() if name.endswith(_SUFFIX)}
        small = [(name, 0, min(_size(names[name]), _MAX_STATE)) for name in whole]
        for name, content in _beginnings(root, small):
            _write(target / name, content, names[name])
        for name, content in _headers(root, headed):
            _write(target / name, content, names[name])
        mirror = Mirror(root, target, tuple(skipped))
        try:
            yield mirror
        except TrajscopeError as error:
            raise type(error)(mirror.told(error)) from error


def _found(root: str) -> tuple[dict[str, Mapping[str, Any]], list[Skipped]]:
    """What the file system says of each file below the address, by relative path."""
    system = file_system(root)
    try:
        inside = system._strip_protocol(root)
        listing = system.find(inside, detail=True)
    except Exception as error:  # each kind of address has errors of its own
        raise unreachable(root, error) from error
    if len(listing) > MAX_ENTRIES:
        raise TrajectoryError(
            f"{printable(root)} holds more than {MAX_ENTRIES:,} files, too many for one run. Give "
            "the folder of one run."
        )
    names, skipped = {}, []
    for path, known in listing.items():
        name = path.removeprefix(inside).lstrip("/")
        if not name.endswith((_SUFFIX, INDEX_SUFFIX, "trainer_state.json")):
            continue
        info = known if _size(known) else _asked(root, path)  # a list of links has no sizes
        if all(_safe(level) for level in name.split("/")):
            names[name] = info
        else:
            skipped.append(Skipped(printable(name), "an invalid file name"))
    if not names:
        raise TrajectoryError(
            f"{printable(root)}: expected safetensors files, found none among {len(listing)} "
            "files. Remote folders support only this format; copy the folder to a local disk."
        )
    return names, skipped


def _asked(root: str, path: str) -> Mapping[str, Any]:
    """What the file system says of one file."""
    try:
        info = file_system(root).info(path)
    except Exception as error:  # each kind of address has errors of its own
        raise unreachable(path, error) from error
    return info if isinstance(info, dict) else {}


def _headers(root: str, names: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, bytes]]:
    """Length and header of each file, as far as the file is long enough."""
    spans = [(name, 0, min(_size(info), _FIRST_BYTES)) for name, info in names.items()]
    for name, start in _beginnings(root, spans):
        claimed = 8 + int.from_bytes(start[:8], "little")
        end = min(claimed, _size(names[name]), _MAX_HEADER)
        more = ranges(root, [(f"{root}/{name}", len(start), end)]) if end > len(start) else [b""]
        yield name, (start + more[0])[:end]


def _beginnings(root: str, spans: Sequence[tuple[str, int, int]]) -> Iterator[tuple[str, bytes]]:
    for at in range(0, len(spans), _AT_ONCE):
        part = spans[at : at + _AT_ONCE]
        found = ranges(root, [(f"{root}/{name}", first, last) for name, first, last in part])
        yield from zip((name for name, _, _ in part), found, strict=True)


def _write(path: Path, content: bytes, info: Mapping[str, Any]) -> None:
    """A file of the right length and time that holds `content`, and holes behind it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # What tells its content from that of another file of the same length; no number lies there.
    mark = sha256(repr([info.get(key) for key in ("ETag", "etag", "md5Hash")]).encode()).digest()
    with path.open("wb") as file:
        file.write(content)
        if _size(info) - len(content) >= len(mark):
            file.seek(_size(info) - len(mark))
            file.write(mark)
        file.truncate(_size(info))
    changed_at = _time(info)
    os.utime(path, ns=(changed_at, changed_at))


def _size(info: Mapping[str, Any]) -> int:
    size = info.get("size")
    return size if isinstance(size, int) else 0


def _time(info: Mapping[str, Any]) -> int:
    """Nanoseconds since 1970 at which the file was last changed; 0 where it is not told."""
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


def _safe(level: str) -> str:
    """`level` if a file can be called so, else ``""``."""
    fits = level not in ("", ".", "..") and "\0" not in level
    return level if fits and len(os.fsencode(level)) <= _LONGEST_NAME else ""
