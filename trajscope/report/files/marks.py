"""Which result a summary and a page belong to: each has the mark of the store that it was made of.

The three files are renamed one after another. Marks that differ say that this was interrupted.
"""

import json
import re
from pathlib import Path
from typing import Final

PAGE: Final = "report.html"
SUMMARY: Final = "summary.json"
KEY: Final = "result"
"""In a summary, its last key."""

_META = '<meta name="trajscope-result" content="{}">'
_OF_PAGE = re.compile(_META.format("([0-9a-f]{16})").encode())
_OF_SUMMARY = re.compile(rb'"%s": "([0-9a-f]{16})"\s*\}\s*$' % KEY.encode())
_LOOKED_AT: Final = 4096
"""Bytes: a page has its mark near its beginning, a summary near its end."""


def marked_page(page: str, mark: str) -> str:
    """A page with the mark of its result in its head."""
    return page.replace("<head>", f"<head>\n{_META.format(mark)}", 1)


def marked_summary(told: dict[str, object], mark: str) -> str:
    """A summary as JSON, with the mark of its result at its end."""
    return json.dumps({**told, KEY: mark}, indent=2, allow_nan=False) + "\n"


def of_another_result(folder: Path, mark: str) -> list[str]:
    """Names of the summary and the page in `folder`, of those that have another mark."""
    found = []
    for name, pattern, whence in ((SUMMARY, _OF_SUMMARY, 2), (PAGE, _OF_PAGE, 0)):
        match = pattern.search(_looked_at(folder / name, whence))
        if match is not None and match[1].decode() != mark:
            found.append(name)
    return found


def _looked_at(path: Path, whence: int) -> bytes:
    """Bytes from the beginning (0) or the end (2) of a regular file; none of anything else."""
    try:
        if not path.is_file():  # a pipe would be waited for
            return b""
        with path.open("rb") as file:
            if whence:
                file.seek(max(path.stat().st_size - _LOOKED_AT, 0))
            return file.read(_LOOKED_AT)
    except OSError:
        return b""
