"""Short pieces of files behind an address, fetched many at once and kept for a while."""

import re
import threading
from bisect import bisect_left
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise

from trajscope.errors import CheckpointError

Span = tuple[str, int, int]
"""A file by its name, the first byte, and the one behind the last."""

Fetch = Callable[[Sequence[Span]], Sequence[bytes | CheckpointError]]
"""The bytes of each span, all of them, or why they cannot be had."""

_BLOCK = 2**12
_KEPT = 2**14
"""Blocks that are kept, 64 MiB."""

_AHEAD, _FARTHEST = 2**15, 2**22
"""Bytes that are fetched where fewer are asked for; doubled as long as one follows the other."""

_END = 2**14
"""Bytes of the beginning and of the end of a file that hold the headers of most."""

_TOGETHER = 256
"""Files whose beginnings or ends are fetched at once."""

_PIECE = 2**24
"""Bytes of one request at most."""


class Blocks:
    """Files behind an address, read in blocks: small reads are cheap, large ones are not kept.

    Headers are read file after file. So whoever reads the beginning or the end of one gets those of
    its next siblings fetched in the same round trip.

    Parameters
    ----------
    sizes :
        Bytes of each file, by name.
    fetch :
        Asks for them.
    refused :
        Why some of them cannot be had, which is known already.
    contents :
        For files of which it is known: what is equal where two files are equal byte by byte.
    """

    def __init__(
        self,
        sizes: Mapping[str, int],
        fetch: Fetch,
        refused: Mapping[str, CheckpointError],
        contents: Mapping[str, str],
    ) -> None:
        self._sizes, self._fetch, self._refused = sizes, fetch, refused
        first: dict[str, str] = {}
        # The files that each is read from: one of those that are equal.
        self._own = {
            name: first.setdefault(content, name) for name, content in contents.items() if content
        }
        self._kept: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._ahead: dict[str, tuple[int, int]] = {}
        self._begun: set[tuple[str, bool]] = set()
        self._siblings: dict[str, list[str]] = defaultdict(list)
        for name in sorted(sizes):
            self._siblings[_kind(name)].append(name)
        self._lock = threading.Lock()

    def read(self, name: str, first: int, count: int) -> bytes:
        """`count` bytes from byte `first` on, or as many as there are; raises `CheckpointError`."""
        if name in self._refused:
            raise CheckpointError(str(self._refused[name]))
        name = self._own.get(name, name)
        last = min(first + count, self._sizes.get(name, 0))
        if not 0 <= first < last:
            return b""
        if last - first > _FARTHEST // 4:
            cuts = [*range(first, last, _PIECE), last]
            spans = [(name, low, high) for low, high in pairwise(cuts)]
            return b"".join(map(_sound, self._fetch(spans)))
        numbers = range(first // _BLOCK, -(-last // _BLOCK))
        found = self._found(name, numbers)
        if missing := [number for number in numbers if number not in found]:
            found |= self._fetched(self._around(name, missing), name)
        whole = b"".join(found[number] for number in numbers)
        return whole[first - numbers[0] * _BLOCK : last - numbers[0] * _BLOCK]

    def expect(self, name: str, spans: Iterable[tuple[int, int]]) -> None:
        """Fetch short spans that are read next, in one round trip."""
        name = self._own.get(name, name)
        size = self._sizes.get(name, 0)
        wanted = {
            number
            for first, count in spans
            if count > 0
            for number in range(max(first, 0) // _BLOCK, -(-min(first + count, size) // _BLOCK))
        }
        numbers = sorted(wanted)[: _KEPT // 4]
        found = self._found(name, numbers)
        runs: list[Span] = []
        for number in numbers:
            if number in found:
                continue
            if runs and runs[-1][2] == number:
                runs[-1] = (name, runs[-1][1], number + 1)
            else:
                runs.append((name, number, number + 1))
        self._fetched(runs, name)

    def are_equal(self, first: str, second: str) -> bool:
        """Whether two files are known to be equal byte by byte."""
        return first in self._own and self._own[first] == self._own.get(second)

    def _found(self, name: str, numbers: Iterable[int]) -> dict[int, bytes]:
        with self._lock:
            found = {n: self._kept[name, n] for n in numbers if (name, n) in self._kept}
            for number in found:
                self._kept.move_to_end((name, number))
        return found

    def _around(self, name: str, missing: Sequence[int]) -> list[Span]:
        """The blocks to fetch where some of a file are missing, as spans of their numbers."""
        n_blocks = -(-self._sizes[name] // _BLOCK)
        start, stop = missing[0], missing[-1] + 1
        if stop * _BLOCK <= _END:
            return [(name, 0, min(_END // _BLOCK, n_blocks)), *self._next(name, at_end=False)]
        if start >= n_blocks - _END // _BLOCK:
            low = max(n_blocks - _END // _BLOCK, 0)
            return [(name, low, n_blocks), *self._next(name, at_end=True)]
        with self._lock:
            expected, width = self._ahead.get(name, (-1, 0))
            width = min(2 * width, _FARTHEST) if expected == start else _AHEAD
            stop = min(max(stop, start + width // _BLOCK), n_blocks)
            self._ahead[name] = stop, width
        return [(name, start, stop)]

    def _next(self, name: str, *, at_end: bool) -> list[Span]:
        """The beginnings, or ends, of the files that are called like this one and come next."""
        siblings = self._siblings[_kind(name)]
        at = bisect_left(siblings, name)
        spans = []
        with self._lock:
            self._begun.add((name, at_end))
            for each in siblings[at + 1 : at + _TOGETHER]:
                n_blocks = -(-self._sizes[each] // _BLOCK)
                each = self._own.get(each, each)  # noqa: PLW2901
                if n_blocks and (each, at_end) not in self._begun:
                    self._begun.add((each, at_end))
                    low = max(n_blocks - _END // _BLOCK, 0) if at_end else 0
                    spans.append((each, low, min(low + _END // _BLOCK, n_blocks)))
        return spans

    def _fetched(self, blocks: Sequence[Span], name: str) -> dict[int, bytes]:
        """Fetch spans of blocks and keep them; those of one file.

        Others that cannot be had are nobody's concern yet.
        """
        own: dict[int, bytes] = {}
        if not blocks:
            return own
        pieces = self._fetch(
            [
                (each, low * _BLOCK, min(high * _BLOCK, self._sizes[each]))
                for each, low, high in blocks
            ]
        )
        with self._lock:
            for (each, low, high), piece in zip(blocks, pieces, strict=True):
                if isinstance(piece, CheckpointError):
                    if each == name:
                        raise piece
                    continue
                for number in range(low, high):
                    at = (number - low) * _BLOCK
                    self._kept[each, number] = block = piece[at : at + _BLOCK]
                    if each == name:
                        own[number] = block
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return own


def _sound(piece: bytes | CheckpointError) -> bytes:
    if isinstance(piece, CheckpointError):
        raise piece
    return piece


def _kind(name: str) -> str:
    """What files that hold the same at different steps have in common."""
    return re.sub(r"\d+", "#", name.rpartition("/")[2])
