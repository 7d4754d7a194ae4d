"""An imitation of the Hub's interface on this machine: what its client library asks for."""

import json
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha1, sha256
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, quote, unquote, urlsplit

from tests.checkpoints.servers import serving

SIGNATURE = "c0ffee5ecre7"


@dataclass
class Repository:
    """Contents of files by revision; what lies in `lfs` is sent on to another host, as large ones.

    `asked` counts requests by kind, `sent` bytes of files; `handed` are the authorizations that
    the other host was shown.
    """

    name: str = "org/model"
    branches: dict = field(default_factory=dict)
    tags: dict = field(default_factory=dict)
    token: str = ""
    page: int = 1000
    whims: dict = field(default_factory=dict)
    asked: Counter = field(default_factory=Counter)
    sent: int = 0
    handed: list = field(default_factory=list)

    def commits(self):
        """Files by commit."""
        revisions = {**self.tags, **self.branches}
        return {commit_of(files): files for files in revisions.values()}


def commit_of(files):
    """What a revision with these files is called."""
    listed = sorted((name, sha1(content).hexdigest()) for name, content in files.items())
    return sha1(repr(listed).encode()).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    repository = Repository()

    def do_GET(self):  # noqa: PLR0911
        own, url = self.repository, urlsplit(self.path)
        levels = [unquote(each) for each in url.path.strip("/").split("/")]
        kind = "cdn" if levels[0] == "cdn" else levels[4] if levels[0] == "api" else levels[2]
        own.asked[kind] += 1
        whim = own.whims.get(kind)
        if whim and whim(self):
            return None
        if kind == "cdn":
            own.handed.append(self.headers.get("Authorization"))
            return self.content(own.commits()[levels[1]]["/".join(levels[2:])])
        if own.token and self.headers.get("Authorization") != f"Bearer {own.token}":
            return self.refuse(401, "RepoNotFound")
        if "/".join(levels[2:4] if levels[0] == "api" else levels[:2]) != own.name:
            return self.refuse(404, "RepoNotFound")
        if kind == "refs":
            return self.answer(self.refs())
        if kind == "tree":
            return self.tree(levels[5], "/".join(levels[6:]), parse_qs(url.query))
        files = own.commits().get(levels[3])
        name = "/".join(levels[4:])
        if files is None or name not in files:
            return self.refuse(404, "EntryNotFound" if files else "RevisionNotFound")
        if len(files[name]) < 1000:
            return self.content(files[name], levels[3])
        port = self.server.server_port
        self.send_response(302)
        place = f"/cdn/{levels[3]}/{quote(name)}?X-Amz-Signature={SIGNATURE}"
        self.send_header("Location", f"http://localhost:{port}{place}")
        self.send_header("X-Repo-Commit", levels[3])
        self.send_header("X-Linked-Size", str(len(files[name])))
        self.send_header("X-Linked-Etag", f'"{sha256(files[name]).hexdigest()}"')
        self.send_header("Content-Length", "0")
        return self.end_headers()

    def refs(self):
        def listed(revisions, kind):
            return [
                {"name": name, "ref": f"refs/{kind}/{name}", "targetCommit": commit_of(files)}
                for name, files in revisions.items()
            ]

        own = self.repository
        return {
            "branches": listed(own.branches, "heads"),
            "tags": listed(own.tags, "tags"),
            "converts": listed({"parquet": {"x": b""}}, "convert"),
            "pullRequests": [],
        }

    def tree(self, revision, below, query):
        files = self.repository.commits().get(revision)
        if files is None:
            return self.refuse(404, "RevisionNotFound")
        entries = [
            self.entry(name, content)
            for name, content in sorted(files.items())
            if not below or name.startswith(f"{below}/")
        ]
        entries.insert(0, {"type": "directory", "path": "sub", "oid": "0" * 40, "size": 0})
        at = int(query.get("cursor", ["0"])[0])
        more = {}
        if at + self.repository.page < len(entries):
            place = urlsplit(self.path).path
            cursor = f"recursive=true&cursor={at + self.repository.page}"
            address = f"http://127.0.0.1:{self.server.server_port}{place}?{cursor}"
            more["Link"] = f'<{address}>; rel="next"'
        return self.answer(entries[at : at + self.repository.page], **more)

    def entry(self, name, content):
        oid, size = sha1(content).hexdigest(), len(content)
        entry = {"type": "file", "path": name, "oid": oid, "size": size}
        if size >= 1000:
            entry["lfs"] = {"oid": sha256(content).hexdigest(), "size": size, "pointerSize": 134}
        return entry | self.repository.whims.get("entry", lambda _: {})(name)

    def content(self, content, commit=""):
        first, last = 0, len(content) - 1
        if wanted := self.headers.get("Range"):
            first, last = map(int, wanted.removeprefix("bytes=").split("-"))
        if first >= len(content):
            return self.refuse(416, "")
        part = content[first : last + 1]
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Range", f"bytes {first}-{first + len(part) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(part)))
        self.send_header("ETag", f'"{sha1(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", commit)
        self.end_headers()
        self.repository.sent += len(part)
        self.wfile.write(part)
        return None

    def answer(self, value, **headers):
        text = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        for name, each in headers.items():
            self.send_header(name, each)
        self.end_headers()
        self.wfile.write(text)

    def refuse(self, status, code, **headers):
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        for name, each in headers.items():
            self.send_header(name.replace("_", "-"), each)
        self.end_headers()
        return True

    def sleep(self, seconds):
        time.sleep(seconds)
        self.close_connection = True
        return True

    def log_message(self, *_):
        pass


@contextmanager
def hub_of(repository):
    """The endpoint of a Hub with this repository in it."""
    handler = type("Handler", (_Handler,), {"repository": repository})
    with serving(handler) as endpoint:
        yield endpoint
