"""A local folder of hollow files that stands for one behind an address.

What a folder means is decided from names, sizes and headers. So there is a folder here of hollow
files, each as long as the one it stands for, which is read like any other; what is read from them
is fetched from where it is. It is made where it is needed, on other machines too.
"""

import contextlib
import os
import shutil
import tempfile
import threading
import weakref
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from uuid import uuid4

from trajscope.checkpoints.addresses import Listing, Place, RemoteFile, full_address, listing
from trajscope.checkpoints.base import Skipped
from trajscope.errors import TrajscopeError, printable
from trajscope.readers.blocks import Blocks
from trajscope.readers.files import stand_for, stand_no_longer

_HEADED = ".safetensors"
_FIRST_BYTES = 2**14
_MAX_HEADER = 100_000_000
_LONGEST_NAME = 255
_AT_ONCE = 256
"""Files whose beginnings are asked for at once."""


class Mirror:
    """The files behind an address as files here.

    Parameters
    ----------
    key :
        Equal for copies in other processes, which make a folder once each.
    """

    def __init__(self, found: Listing, key: str = "") -> None:
        self.found, self.key = found, key or uuid4().hex
        self._hollow: _Hollow | None = None

    def __reduce__(self) -> tuple[object, ...]:
        return Mirror, (self.found, self.key)

    @property
    def folder(self) -> Path:
        """The hollow folder, or file where the address is that of one."""
        return self._made().target

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """The files that are not in it, and why."""
        return *self.found.skipped, *self._made().skipped

    def told(self, text: object) -> str:
        """`text` with the address in the place of the folder."""
        target, url = self.folder, self.found.place.url
        told = str(text).replace(str(target), printable(url))
        return told.replace(str(target.parent), printable(url.rpartition("/")[0]))

    def _made(self) -> "_Hollow":
        if self._hollow is None:
            with _making:
                made = _existing.get(self.key) or _Hollow(self.found.place, self.found.files)
                _existing[self.key] = made
                _recent.append(made)
                self._hollow = made
        return self._hollow


@contextlib.contextmanager
def mirrored(url: str) -> Iterator[Mirror]:
    """The folder at `url`, as one here.

    Raises
    ------
    OptionError
        No package is installed that reads such addresses.
    TrajectoryError
        The address cannot be reached, or holds too many files.
    """
    mirror = Mirror(listing(full_address(url)))
    try:
        yield mirror
    except TrajscopeError as error:
        raise type(error)(mirror.told(error)) from None


class _Hollow:
    """The hollow files themselves, for as long as anybody needs them."""

    def __init__(self, place: Place, files: Sequence[RemoteFile]) -> None:
        above = Path(tempfile.mkdtemp(prefix="trajscope-")).resolve()
        weakref.finalize(self, _remove, above, os.getpid())
        root = place.url.rpartition("/")[2].partition("?")[0]
        self.target = above / (_safe(root) or "run")
        self.skipped: list[Skipped] = []
        if not (len(files) == 1 and not files[0].relative):
            self.target.mkdir()
        made = dict(self._files(files))
        own = {name: (self.target / name).relative_to(above).as_posix() for name in made}
        names = {inside: name for name, inside in own.items()}
        blocks = Blocks(
            {inside: made[name].size for inside, name in names.items()},
            lambda spans: place.fetch([(names[name], low, high) for name, low, high in spans]),
            {inside: made[name].content for inside, name in names.items()},
        )
        present = self._write_headers(place, [f for n, f in made.items() if n.endswith(_HEADED)])
        stand_for(str(above), blocks, {own[name]: count for name, count in present.items()})

    def _files(self, files: Sequence[RemoteFile]) -> Iterator[tuple[str, RemoteFile]]:
        """Make a file for each, one for all that are equal, and say which there are."""
        first: dict[tuple[str, int], Path] = {}
        folders: set[Path] = set()
        for file in files:
            path = self.target / file.relative
            if file.relative and not all(map(_safe, file.relative.split("/"))):
                self._skip(file, "an invalid file name")
                continue
            try:
                if path.parent not in folders:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    folders.add(path.parent)
                content = (file.content, file.size)
                if file.mtime_ns == 0 and file.content and content in first:
                    path.hardlink_to(first[content])
                else:
                    with path.open("xb") as hollow:
                        hollow.truncate(file.size)
                    os.utime(path, ns=(file.mtime_ns, file.mtime_ns))
                    first[content] = path
            except (OSError, OverflowError) as error:
                self._skip(file, f"no file here can stand for it: {printable(error)}")
                continue
            yield file.relative, file

    def _write_headers(self, place: Place, files: Sequence[RemoteFile]) -> dict[str, int]:
        """Put length and header into each safetensors file, and say how many bytes it then has."""
        equal: dict[object, list[RemoteFile]] = defaultdict(list)
        for file in files:
            equal[(file.content, file.size) if file.content else file.relative].append(file)
        starts = {group[0].relative: group for group in equal.values()}
        spans = [(name, 0, min(g[0].size, _FIRST_BYTES)) for name, g in starts.items()]
        present: dict[str, int] = {}
        longer = []
        for at in range(0, len(spans), _AT_ONCE):
            for name, start in self._fetched(place, spans[at : at + _AT_ONCE], starts):
                claimed = 8 + int.from_bytes(start[:8], "little")
                end = min(claimed, starts[name][0].size, _MAX_HEADER)
                if end > len(start):
                    longer.append((name, 0, end))
                else:
                    present |= self._write(starts[name], start)
        for span in longer:
            for name, start in self._fetched(place, [span], starts):
                present |= self._write(starts[name], start)
        return present

    def _fetched(
        self,
        place: Place,
        spans: Sequence[tuple[str, int, int]],
        groups: Mapping[str, Sequence[RemoteFile]],
    ) -> Iterator[tuple[str, bytes]]:
        for (name, _, _), piece in zip(spans, place.fetch(spans), strict=True):
            if isinstance(piece, bytes):
                yield name, piece
                continue
            for file in groups[name]:
                self._skip(file, str(piece))
                (self.target / file.relative).unlink()

    def _write(self, files: Sequence[RemoteFile], content: bytes) -> dict[str, int]:
        for file in files:
            path = self.target / file.relative
            with path.open("r+b") as hollow:
                hollow.write(content)
            os.utime(path, ns=(file.mtime_ns, file.mtime_ns))
        return {file.relative: len(content) for file in files}

    def _skip(self, file: RemoteFile, reason: str) -> None:
        self.skipped.append(Skipped(printable(file.relative), reason))


_existing: "weakref.WeakValueDictionary[str, _Hollow]" = weakref.WeakValueDictionary()
_recent: deque[_Hollow] = deque(maxlen=4)
"""Kept alive, since a worker unpacks a manifest anew for each of its tasks."""
_making = threading.Lock()


def _remove(folder: Path, maker: int) -> None:
    """Remove the folder of this process; one that was forked from it has no part in it."""
    if os.getpid() == maker:
        stand_no_longer(str(folder))
        shutil.rmtree(folder, ignore_errors=True)


def _safe(level: str) -> str:
    """`level` if a file can be called so, else ``""``."""
    fits = level not in ("", ".", "..") and "\0" not in level
    return level if fits and len(os.fsencode(level)) <= _LONGEST_NAME else ""
