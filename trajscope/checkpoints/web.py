"""Folders on web servers, of which ranges of bytes are asked for and nothing more is taken."""

import re
from collections.abc import Mapping
from typing import Any

from fsspec.implementations.http import HTTPFileSystem

from trajscope.errors import CheckpointError, printable

_SMALL = 2**20
"""Bytes of a file that may come whole where a range of it was asked for."""


class WebFiles(HTTPFileSystem):  # type: ignore[misc]  # fsspec has no types
    """What fsspec reads web servers with, but never more bytes than were asked for."""

    async def _cat_file(
        self, url: str, start: int | None = None, end: int | None = None, **kwargs: Any
    ) -> bytes:
        if start is None or end is None:
            whole: bytes = await super()._cat_file(url, start, end, **kwargs)
            return whole
        session = await self.set_session()
        headers = {"Range": f"bytes={start}-{end - 1}", "Accept-Encoding": "identity"}
        async with session.get(self.encode_url(url), headers=headers) as response:
            self._raise_not_found_for_status(response, url)
            first = start_of_answer(url, response.status, response.headers, start)
            found = bytearray()
            while len(found) < end - first and (piece := await response.content.read(_SMALL)):
                found += piece
            return bytes(found[start - first : end - first])


def start_of_answer(url: str, status: int, headers: Mapping[str, str], first: int) -> int:
    """The byte of its file that an answer begins with; 0 where a small file comes whole.

    Raises
    ------
    CheckpointError
        It is not the range from byte `first` on.
    """
    if status == 206:
        if not re.match(rf"bytes {first}-", headers.get("Content-Range", "")):
            raise not_a_range(url, "another range")
        return first
    length = headers.get("Content-Length", "")
    if status != 200 or not length.isdecimal() or int(length) > _SMALL:
        raise not_a_range(url, f"the whole file, or nothing (status {status})")
    return 0


def not_a_range(url: str, what: str) -> CheckpointError:
    """The error for a server that sends something else."""
    return CheckpointError(
        f"{printable(url)}: a range of its bytes was asked for, but the server sends {what}. Use "
        "a server that supports range requests, or copy the folder here."
    )
