"""One page over HTTP, to browsers on this machine only."""

import http.server
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from trajscope.errors import OptionError, printable

_HOSTS: Final = {"127.0.0.1": socket.AF_INET, "localhost": socket.AF_INET, "[::1]": socket.AF_INET6}
_SECONDS: Final = 5
"""That a request may take to arrive."""
_AT_ONCE: Final = 16
"""Requests that are answered at the same time; more are turned away."""


class Served:
    """The page that is shown; `text` may be replaced at any time."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.text = b""


@contextmanager
def served(address: str) -> Iterator[Served]:
    """Serve one page under ``http://HOST:PORT/`` and nothing else, until the context ends.

    Nothing is read from a disk: any other path is not found. Requests that name another host, as a
    foreign page in the same browser would make them, methods other than GET and HEAD, and bodies
    are refused. Only this machine can connect.

    Parameters
    ----------
    address :
        ``"127.0.0.1:PORT"``, ``"localhost:PORT"`` or ``"[::1]:PORT"``; 0 is any free port.

    Raises
    ------
    OptionError
        It is another address, or it cannot be listened at.
    """
    match = re.fullmatch(r"(127\.0\.0\.1|localhost|\[::1\]):(\d{1,5})", address)
    if match is None or int(match[2]) > 65535:
        raise OptionError(
            f"--serve {printable(address)} is invalid: 127.0.0.1:PORT is expected, since the page "
            "is for this machine only. To see it from another one, use ssh -L."
        )
    host, port = match[1], int(match[2])
    try:
        server = _Server(host, port)
    except OSError as error:
        raise OptionError(
            f"--serve {printable(address)}: {error.strerror}. Choose another port; 0 takes any "
            "that is free."
        ) from error
    thread = threading.Thread(target=server.serve_forever, args=(0.2,), daemon=True)
    thread.start()
    try:
        yield server.page
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, host: str, port: int) -> None:
        self.address_family = _HOSTS[host]
        self.room = threading.BoundedSemaphore(_AT_ONCE)
        super().__init__((host.strip("[]"), port), _Handler)
        port = self.server_port
        self.names = {f"{name}:{port}" for name in _HOSTS}
        if port == 80:  # left out by browsers
            self.names |= set(_HOSTS)
        self.page = Served(f"http://{host}:{port}/")

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self.room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        # The time limit of a socket is that of each byte.
        over = threading.Timer(2 * _SECONDS, _cut_off, [request])
        over.daemon = True
        over.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            over.cancel()
            self.room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: connections that break off are nobody's fault here."""


def _cut_off(request: socket.socket) -> None:
    with suppress(OSError):
        request.shutdown(socket.SHUT_RDWR)


class _Handler(http.server.BaseHTTPRequestHandler):
    timeout = _SECONDS
    server: _Server
    server_version, sys_version = "trajscope", ""

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        hosts = self.headers.get_all("Host") or []
        if len(hosts) != 1 or hosts[0].lower() not in self.server.names:
            self._refuse(421)
        elif self.headers.get("Content-Length") or self.headers.get("Transfer-Encoding"):
            self._refuse(400)
        elif self.path != "/":
            self._refuse(404)
        else:
            self._send(200, self.server.page.text if with_body else b"", len(self.server.page.text))

    def _refuse(self, code: int) -> None:
        self._send(code, b"", 0)

    def send_error(self, code: int, *_: Any, **__: Any) -> None:
        """Refuse what the parser of requests refuses, without repeating any of it."""
        self._refuse(code)

    def _send(self, code: int, body: bytes, length: int) -> None:
        self.close_connection = True
        self.send_response(code)
        for name, value in (
            ("Content-Type", "text/html; charset=utf-8"),
            ("Content-Length", str(length)),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            ("X-Frame-Options", "DENY"),
            ("Referrer-Policy", "no-referrer"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
            ("Connection", "close"),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Print nothing: what was asked for comes from strangers."""
