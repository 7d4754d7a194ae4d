"""Deliberate failures, warnings, and the ways to quote a foreign name on a screen or in a file."""

import os
import re
import unicodedata
from collections.abc import Mapping


class TrajscopeError(Exception):
    """Base of every deliberate failure; the command line prints it as one message, exit code 2."""


class CheckpointError(TrajscopeError):
    """One file cannot be read as a checkpoint: damaged, unfinished, unsafe, or another format."""


class ChangedError(CheckpointError):
    """A checkpoint is not as it was when the trajectory was opened: gone, or written again.

    Parameters
    ----------
    reason :
        The same without the name of the file and without advice, for a list of what was left out.
    unseen :
        Whether reading does not see it: a file beside the one that stands for the checkpoint.
    rows :
        Where several checkpoints were looked at: the reason for each that changed, by its place
        among them.
    """

    def __init__(
        self,
        message: str,
        reason: str = "",
        unseen: bool = False,
        rows: Mapping[int, str] | None = None,
    ) -> None:
        super().__init__(message, reason, unseen, rows)
        self.reason, self.unseen, self.rows = reason, unseen, dict(rows or {})

    def __str__(self) -> str:
        return str(self.args[0])


class TrajectoryError(TrajscopeError):
    """The files found do not make one trajectory that can be analysed."""


class OptionError(TrajscopeError):
    """An option asks for something that cannot be had on this input or machine."""


class ResultsError(TrajscopeError):
    """A saved result is missing, unfinished, or was not written by trajscope."""


class TrajscopeWarning(UserWarning):
    """The result is right, but something about the input should be known."""


# Cc control, Cf format (bidirectional marks, zero width), Cs surrogate, Zl/Zp line separators.
_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def printable(text: object, *, limit: int = 200) -> str:
    r"""`text` made safe to show on a terminal or page, hostile characters as ``\uXXXX``.

    Every name that comes from a file passes through here before it enters a message: control
    characters, escape sequences, newlines and bidirectional marks are shown, never acted on.
    Text longer than `limit` characters is cut in the middle, and the cut is marked. Addresses in
    it are `redacted`.
    """
    string = str(text)
    if "://" in string:
        string = redacted(string)
    if len(string) > limit:
        half = (limit - 1) // 2
        string = f"{string[:half]}…{string[-half:]}"
    return "".join(_shown(character) for character in string)


def redacted(text: object) -> str:
    """`text` without passwords and tokens: of addresses, of headers, and those that are set here.

    What stands before the host of an address and behind its question mark is never shown.
    """
    string = str(text)
    if len(string) > 2 * _QUOTED:
        string = f"{string[:_QUOTED]}…{string[-_QUOTED:]}"
    for pattern, instead in _SECRETS:
        string = pattern.sub(instead, string)
    known = [value for name, value in os.environ.items() if _SECRET_NAMES.search(name)]
    for secret in (*_kept, *(value for value in known if len(value) >= _SHORTEST_SECRET)):
        string = string.replace(secret, "***")
    return string


def keep_secret(address: str) -> None:
    """From now on what is secret in an address is redacted wherever it stands."""
    found = re.match(r"\w+://(?:(?P<user>[^\s/]*)@)?[^?]*(?:\?(?P<query>.*))?", address)
    if found is None or address.startswith("hf:"):
        return
    user, query = found["user"] or "", found["query"] or ""
    parts = [user, user.partition(":")[2], *(each.partition("=")[2] for each in query.split("&"))]
    _kept.update(part for part in parts if len(part) >= _SHORTEST_KEPT)


_kept: set[str] = set()
_SHORTEST_KEPT = 4

_SECRETS = (
    # user:password@host, where the password may contain anything; hf://NAME@REVISION has none.
    (re.compile(r"(?<!\bhf)://[^\s'\"/:@]*:(?!\d+(?:/|$))[^\s'\"@]*@"), "://***@"),
    (re.compile(r"(?<!\bhf)://[^\s'\"/]*@"), "://***@"),
    (re.compile(r"(://[^\s'\"<>?]*)\?[^\s'\"<>]*"), r"\1?***"),
    (re.compile(r"([?&][\w.~%-]+=)[^\s&'\"<>]+"), r"\1***"),
    (re.compile(r"(?i)\b(bearer[ :]+)[^\s'\"]{8,}"), r"\1***"),
    (re.compile(r"(?i)\b(authorization['\"]?\s*[:=]\s*['\"]?\w+ )[^\s'\"]+"), r"\1***"),
    (re.compile(r"\b(hf_|api_org_)[A-Za-z0-9]{16,}"), r"\1***"),
)
_SECRET_NAMES = re.compile(r"TOKEN$|SECRET|PASSWORD|PASSWD|API_KEY")
_SHORTEST_SECRET = 8
_QUOTED = 4096
"""Characters that are looked at from either end: more is never shown."""


def encodable(text: str) -> str:
    r"""`text` with what no UTF-8 file can hold (half of a surrogate pair) shown as ``\udcff``."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _shown(character: str) -> str:
    if unicodedata.category(character) not in _UNPRINTABLE:
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
