"""Repositories of the Hugging Face Hub: revisions as folders, and ranges of their files."""

import contextlib
import queue
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from urllib.parse import unquote

from huggingface_hub import HfApi, hf_hub_url
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

from trajscope.checkpoints.addresses import (
    Listing,
    Place,
    RemoteFile,
    in_words,
    too_many,
    unreachable,
)
from trajscope.checkpoints.base import Skipped
from trajscope.checkpoints.scan import MAX_ENTRIES
from trajscope.checkpoints.web import start_of_answer
from trajscope.errors import CheckpointError, TrajectoryError, printable

_KINDS: Final = {"models": "model", "datasets": "dataset", "spaces": "space"}
_AT_ONCE: Final = 32
_PATIENCE: Final = 300.0
"""Seconds without any answer until it is given up; the Hub counts requests in that time."""
_TIMEOUT: Final = 30.0
_WAITS: Final = (0.1, 2.0, 10.0)
"""Seconds before a request is made again."""
_BUSY: Final = (408, 429, 500, 502, 503, 504)
_LARGEST: Final = 2**62


@dataclass(frozen=True)
class _Repository:
    """What an address names; `rest` is a folder, behind a revision where there is an ``@``."""

    kind: str
    name: str
    pinned: bool
    rest: str

    def address(self, commit: str, below: str) -> str:
        """A folder at one commit."""
        kind = next(kind for kind, each in _KINDS.items() if each == self.kind)
        prefix = "" if self.kind == "model" else f"{kind}/"
        return f"hf://{prefix}{self.name}@{commit}" + (f"/{below}" if below else "")


def list_repository(url: str) -> Listing:
    """The files of every branch and tag as ``REVISION/file``, or those of the one in the address.

    Two requests and one for each revision.

    Raises
    ------
    TrajectoryError
        There is no such repository or revision, or it may not be read.
    """
    repository = _named(url)
    api = HfApi(library_name="trajscope")
    (refs,) = _together([partial(_refs, api, repository)])
    if isinstance(refs, BaseException):
        raise _refused(url, refs)
    commits, below, skipped = _revisions(repository, refs)
    calls = [partial(_files, api, repository, commit, below) for commit in commits.values()]
    files: list[RemoteFile] = []
    for revision, found in zip(commits, _together(calls), strict=True):
        if isinstance(found, BaseException):
            if repository.pinned or not isinstance(found, RevisionNotFoundError):
                raise _refused(url, found)
            skipped.append(Skipped(printable(revision), "it is no longer there"))
            continue
        for file in found:
            relative = file.path.removeprefix(f"{below}/") if below else file.path
            relative = f"{revision}/{relative}" if revision else relative
            if not isinstance(file.size, int) or not 0 <= file.size < _LARGEST:
                what = f"the server says that it has {printable(file.size)} bytes"
                skipped.append(Skipped(printable(relative), what))
                continue
            content = file.lfs.sha256 if file.lfs else file.blob_id
            files.append(RemoteFile(relative, file.size, 0, printable(content)))
        if len(files) > MAX_ENTRIES:
            raise too_many(url)
    roots = {name: repository.address(commit, below) for name, commit in commits.items()}
    files.sort(key=lambda file: file.relative)
    return Listing(Place(url, roots), tuple(files), tuple(skipped))


class HubFiles:
    """The files of repositories at one commit each, by ``hf://ORG/NAME@COMMIT/file``."""

    def cat_ranges(
        self, paths: Sequence[str], starts: Sequence[int], ends: Sequence[int], **_: object
    ) -> list[bytes | BaseException]:
        """The bytes of each range, or what went wrong."""
        headers = {**build_hf_headers(library_name="trajscope"), "Accept-Encoding": "identity"}
        spans = zip(paths, starts, ends, strict=True)
        return _together([partial(_range, span, headers) for span in spans])


def _named(url: str) -> _Repository:
    path, at, rest = url.removeprefix("hf://").strip("/").partition("@")
    levels = path.split("/")
    kind = _KINDS[levels.pop(0)] if levels[0] in _KINDS else "model"
    name, below = "/".join(levels[:2]), "/".join(levels[2:])
    if not all(re.fullmatch(r"[\w][\w.-]*", level) for level in levels[:2]) or (at and below):
        raise TrajectoryError(
            f"{printable(url)} is no address of a repository: hf://ORG/NAME or "
            "hf://ORG/NAME@REVISION is expected."
        )
    return _Repository(kind, name, bool(at), rest if at else below)


def _refs(api: HfApi, repository: _Repository) -> list[tuple[str, str]]:
    """Names and commits of branches, and of tags behind them."""
    found = api.list_repo_refs(repository.name, repo_type=repository.kind)
    return [(str(ref.name), str(ref.target_commit)) for ref in (*found.branches, *found.tags)]


def _revisions(
    repository: _Repository, refs: Sequence[tuple[str, str]]
) -> tuple[dict[str, str], str, list[Skipped]]:
    """Commits by revision, the folder that is asked for in each, and what is passed over."""
    commits: dict[str, str] = {}
    skipped = []
    for name, commit in refs:
        if not re.fullmatch(r"[0-9a-f]{4,64}", commit):
            skipped.append(Skipped(printable(name), "the server names no commit for it"))
        elif commits.setdefault(name, commit) != commit:
            skipped.append(Skipped(printable(name), "a tag; a branch of that name was taken"))
    if not repository.pinned:
        for name in [n for n in commits if any(each.startswith(f"{n}/") for each in commits)]:
            del commits[name]
            what = f"other revisions are called {printable(name)}/...; open it by @REVISION"
            skipped.append(Skipped(printable(name), what))
        return commits, repository.rest, skipped
    # A revision may contain slashes, as they are or written as %2F.
    first, _, below = repository.rest.partition("/")
    names = [
        name
        for name in commits
        if repository.rest == name or repository.rest.startswith(f"{name}/")
    ]
    if names and unquote(first) not in commits:
        name = max(names, key=len)
        return {"": commits[name]}, repository.rest[len(name) :].strip("/"), []
    return {"": commits.get(unquote(first), unquote(first))}, below.strip("/"), []


def _files(api: HfApi, repository: _Repository, commit: str, below: str) -> list[RepoFile]:
    found = []
    for entry in api.list_repo_tree(
        repository.name, below or None, recursive=True, revision=commit, repo_type=repository.kind
    ):
        if isinstance(entry, RepoFile):
            found.append(entry)
        if len(found) > MAX_ENTRIES:
            break
    return found


def _range(span: tuple[str, int, int], headers: Mapping[str, str]) -> bytes:
    """Bytes of one file: those that were asked for and no more, whatever the server sends."""
    path, first, last = span
    repository = _named(path)
    commit, _, file = repository.rest.partition("/")
    url = hf_hub_url(repository.name, file, repo_type=repository.kind, revision=unquote(commit))
    asked = {**headers, "Range": f"bytes={first}-{last - 1}"}
    options = {"headers": asked, "timeout": _TIMEOUT, "follow_redirects": True}
    with get_session().stream("GET", url, **options) as response:
        if response.status_code >= 400:
            hf_raise_for_status(response)
        start = start_of_answer(path, response.status_code, response.headers, first)
        found = bytearray()
        for piece in response.iter_raw():
            found += piece
            if len(found) >= last - start:
                break
    return bytes(found[first - start : last - start])


def _retried(call: Callable[[], Any]) -> Any:
    """What a call returns, tried again where the server is busy or the connection broke.

    The client that all threads share is closed by the library as soon as one of them cannot
    connect, so any of them may fail for no reason of its own.
    """
    for wait in _WAITS:
        try:
            return call()
        except HfHubHTTPError as error:
            if error.response.status_code not in _BUSY:
                raise
            after = re.search(r"(?<![\d.])\d+", error.response.headers.get("Retry-After", ""))
            time.sleep(min(max(wait, int(after[0]) if after else 0), _PATIENCE / 10))
        except (CheckpointError, AttributeError, KeyError, TypeError, ValueError):
            raise
        except Exception:  # of the library below, which is not always the same one
            time.sleep(wait)
    return call()


def _together(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """What each call returns or raises; given up where none of them ends for a long time.

    The client's listings wait for ever on a server that is silent, and on a connection that
    another thread has closed, so they run beside this thread: half of the time is for a second
    try, on connections of its own, and those that stay silent are left alone.
    """
    answers: list[Any] = [TimeoutError(f"no answer within {_PATIENCE:.0f} s")] * len(calls)
    missing = set(range(len(calls)))
    waiting: deque[int] = deque()
    done: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()

    def work() -> None:
        while True:
            try:
                number = waiting.popleft()
            except IndexError:
                return
            try:
                done.put((number, _retried(calls[number])))
            except Exception as error:
                done.put((number, error))

    for _ in range(2):
        waiting.extend(sorted(missing))
        for _ in range(min(_AT_ONCE, len(missing))):
            threading.Thread(target=work, daemon=True, name="trajscope-hub").start()
        with contextlib.suppress(queue.Empty):
            while missing:
                number, answers[number] = done.get(timeout=_PATIENCE / 2)
                missing.discard(number)
        waiting.clear()
    return answers


def _refused(url: str, error: BaseException) -> TrajectoryError:
    """The error for a repository that cannot be listed, in words of our own where there are."""
    if isinstance(error, GatedRepoError):
        what = (
            "its authors give access on request. Ask for it on its page, and log in with "
            "'hf auth login' or the environment variable HF_TOKEN"
        )
    elif isinstance(error, RepositoryNotFoundError):
        what = (
            "there is no such repository, or it is private. Check the spelling, or log in with "
            "'hf auth login' or the environment variable HF_TOKEN"
        )
    elif isinstance(error, RevisionNotFoundError):
        what = "there is no such revision. Without '@...' all are listed"
    elif isinstance(error, HfHubHTTPError) and error.response.status_code == 429:
        what = "the server limits the number of requests. Wait, or log in for a higher limit"
    elif isinstance(error, UnicodeError):
        what = "the token that is set cannot be one. Set HF_TOKEN again, or log in"
    elif isinstance(error, (AttributeError, KeyError, TypeError, ValueError)):
        what = f"the server's answer is not that of a Hub ({in_words(error)}). Check HF_ENDPOINT"
    else:
        return unreachable(url, error)
    return TrajectoryError(f"{printable(url)} cannot be read: {what}.")
