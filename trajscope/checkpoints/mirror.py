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
from collections.abc import Iterator, Sequence
from pathlib import Path
from uuid import uuid4

from trajscope.checkpoints.addresses import Listing, Place, RemoteFile, full_address, listing
from trajscope.checkpoints.base import Skipped
from trajscope.errors import CheckpointError, TrajectoryError, TrajscopeError, printable
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
        told = mirror.told(error)
        if isinstance(error, TrajectoryError) and mirror.skipped:
            path, reason = mirror.skipped[0].path, mirror.skipped[0].reason
            told += f"\n  {len(mirror.skipped)} passed over; the first is {path}: {reason}"
        raise type(error)(told) from None


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
        headed = [file for name, file in made.items() if name.endswith(_HEADED)]
        present, refused = self._write_headers(place, headed)
        blocks = Blocks(
            {inside: made[name].size for inside, name in names.items()},
            lambda spans: place.fetch([(names[name], low, high) for name, low, high in spans]),
            {own[name]: error for name, error in refused.items()},
            {inside: made[name].content for inside, name in names.items()},
        )
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
                    _make_hollow(path, file)
                    first[content] = path
            except (OSError, OverflowError) as error:
                self._skip(file, f"no file here can stand for it: {printable(error)}")
                continue
            yield file.relative, file

    def _write_headers(
        self, place: Place, files: Sequence[RemoteFile]
    ) -> tuple[dict[str, int], dict[str, CheckpointError]]:
        """Put length and header into each safetensors file.

        Returns how many bytes each then has, and why some cannot be had.
        """
        equal: dict[object, list[RemoteFile]] = defaultdict(list)
        for file in files:
            equal[(file.content, file.size) if file.content else file.relative].append(file)
        starts = {group[0].relative: group for group in equal.values()}
        present: dict[str, int] = {}
        refused: dict[str, CheckpointError] = {}

        def take(spans: Sequence[tuple[str, int, int]]) -> list[tuple[str, int, int]]:
            longer = []
            for (name, _, last), piece in zip(spans, place.fetch(spans), strict=True):
                if not isinstance(piece, bytes):
                    refused.update(dict.fromkeys((file.relative for file in starts[name]), piece))
                    continue
                claimed = 8 + int.from_bytes(piece[:8], "little")
                end = min(claimed, starts[name][0].size, _MAX_HEADER)
                if end > last:
                    longer.append((name, 0, end))
                else:
                    present.update(self._write(starts[name], piece))
            return longer

        spans = [(name, 0, min(group[0].size, _FIRST_BYTES)) for name, group in starts.items()]
        longer = [
            each
            for at in range(0, len(spans), _AT_ONCE)
            for each in take(spans[at : at + _AT_ONCE])
        ]
        for span in longer:
            take([span])
        return present, refused

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


def _make_hollow(path: Path, file: RemoteFile) -> None:
    with path.open("xb") as hollow:
        try:
            hollow.truncate(file.size)
        except (OSError, OverflowError):
            path.unlink()
            raise
    os.utime(path, ns=(file.mtime_ns, file.mtime_ns))


def _remove(folder: Path, maker: int) -> None:
    """Remove the folder of this process; one that was forked from it has no part in it."""
    if os.getpid() == maker:
        stand_no_longer(str(folder))
        shutil.rmtree(folder, ignore_errors=True)


def _safe(level: str) -> str:
    """`level` if a file can be called so, else ``""``."""
    fits = level not in ("", ".", "..") and "\0" not in level
    return level if fits and len(os.fsencode(level)) <= _LONGEST_NAME else ""
