"""The page and the screen of a run that is still written, and the page over HTTP."""

import http.client
import re
import socket

import numpy as np
import pytest
import xarray as xr

from trajscope import OptionError
from trajscope.report.files.serve import served
from trajscope.report.page.watch import render_watch
from trajscope.report.screen.watch import watch_screen


def state(n=5, **attrs):
    steps = 10.0 * np.arange(n)
    columns = {
        "increment": np.r_[np.nan, np.full(n, 2.0)][:n],
        "displacement": 2 * np.sqrt(np.arange(n)),
        "norm": np.full(n, 9.0),
        "estimated": np.zeros(n, bool),
    }
    told = {
        "source": "/runs/a", "step_unit": "step", "weights": 100, "read": n, "code": "brownian",
        "sentence": "Indistinguishable from Brownian motion.", "tested": n, "alarms": [],
        "note": "", "waiting": "",
    }  # fmt: skip
    return xr.Dataset(
        {name: ("step", each) for name, each in columns.items()}, {"step": steps}, told | attrs
    )


def test_the_page_says_what_is_known_and_reloads_itself():
    page = render_watch(state(), seconds=7)
    assert '<meta http-equiv="refresh" content="7">' in page
    assert "<h1>brownian</h1>" in page
    assert "Indistinguishable from Brownian motion." in page
    assert "the last increment is 0.20 (rms of a weight)" in page
    assert "1.0 times as far as a random walk with these increments" in page
    assert len(re.findall("<polyline", page)) == 3
    assert not re.findall(r"<script|(?:src|href)=\"(?!data:)", page)


def test_curves_are_those_of_the_state():
    page = render_watch(state(3, displacement=0), seconds=7)
    _, far, walk = re.findall(r'<polyline points="([^"]*)"', page)
    assert far == walk  # displacements as of a random walk
    points = [tuple(map(float, each.split(","))) for each in far.split()]
    x, y = np.array(points).T
    np.testing.assert_allclose(x, [8, 260, 512])
    np.testing.assert_allclose(
        (198 - y) / (198 - y[-1]), np.sqrt([0, 1, 2]) / np.sqrt(2), atol=1e-3
    )


@pytest.mark.parametrize("n", [0, 1, 2])
def test_few_checkpoints_are_told_too(n):
    few = state(n, code="", sentence="", tested="", waiting="no checkpoints yet")
    for text in (render_watch(few, seconds=7), watch_screen(few, page="p")):
        assert "no verdict yet" in text.lower()
        assert "no checkpoints yet" in text


def test_alarms_come_latest_first_and_names_from_files_are_harmless():
    alarms = [
        {"kind": "jump", "step": float(step), "text": f"<b>{step}\x1b[2J\u202e"}
        for step in range(12)
    ]
    hostile = state(alarms=alarms, source="/runs/<script>\x1b", note="</p>\x07")
    page, shown = render_watch(hostile, seconds=7), watch_screen(hostile, page="p")
    for text in (page, shown):
        assert not set("\x1b\x07\u202e") & set(text)
        assert text.index("step 11") < text.index("step 10")
    assert "<script" not in page
    assert "&lt;b&gt;11" in page
    assert "4 earlier alarms are not shown." in page
    assert len(shown.splitlines()) <= 30


@pytest.fixture
def page():
    with served("127.0.0.1:0") as it:
        it.text = b"<p>hello</p>"
        yield it


def port_of(page):
    return int(page.address.rsplit(":", 1)[1].strip("/"))


def asked(page, method="GET", path="/", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port_of(page), timeout=20)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.read(), answer


def test_the_page_is_served_as_it_is_now(page):
    status, body, answer = asked(page)
    assert (status, body) == (200, b"<p>hello</p>")
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    page.text = b"<p>later</p>"
    assert asked(page)[:2] == (200, b"<p>later</p>")
    assert asked(page, "HEAD")[:2] == (200, b"")
    assert asked(page, Host=f"localhost:{port_of(page)}")[0] == 200


@pytest.mark.parametrize(
    "path",
    ["/watch.html", "/watched/log.json", "/../../etc/passwd", "/?a", "/%2e%2e/", "*"],
)  # fmt: skip
def test_nothing_else_is_served(path, page):
    assert asked(page, path=path)[:2] == (404, b"")


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("GET", {"Host": "evil.example"}, 421),
        ("GET", {"Host": "127.0.0.1"}, 421),
        ("GET", {"Host": ""}, 421),
        ("GET", {"Content-Length": "5"}, 400),
        ("GET", {"Transfer-Encoding": "chunked"}, 400),
        ("POST", {}, 501),
        ("PUT", {}, 501),
        ("DELETE", {}, 501),
        ("OPTIONS", {}, 501),
        ("GET", {"X": "a" * 70_000}, 431),
    ],
)
def test_hostile_requests_are_refused_without_repeating_them(method, headers, status, page):
    found, body, _ = asked(page, method, **headers)
    assert (found, body) == (status, b"")
    assert asked(page)[0] == 200


@pytest.mark.parametrize(
    "raw",
    [
        b"GET /\r\n\r\n", b"\x00\xff\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\r\n",
        b"GET " + b"a" * 70_000,
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1:1\r\nHost: 127.0.0.1:1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n",
    ],
    ids=range(7),
)  # fmt: skip
def test_what_is_no_request_gets_no_page(raw, page):
    with socket.create_connection(("127.0.0.1", port_of(page)), timeout=20) as connection:
        connection.sendall(raw)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := connection.recv(1 << 16):
            answer += piece
    assert b"hello" not in answer
    assert asked(page)[0] == 200


def test_silent_connections_do_not_pile_up(page):
    silent = [socket.create_connection(("127.0.0.1", port_of(page))) for _ in range(40)]
    closed = 0
    for each in silent[16:]:  # no room for these
        each.settimeout(5)
        closed += each.recv(1) == b""
    assert closed == 24
    for each in silent:
        each.close()


@pytest.mark.parametrize(
    "address",
    ["0.0.0.0:80", "8080", "192.168.0.1:80", "127.0.0.1", "127.0.0.1:99999", "evil:1", "[::]:1",
     "127.0.0.1:1\n", ""],
)  # fmt: skip
def test_only_this_machine_can_be_served(address):
    with (
        pytest.raises(OptionError, match=r"is invalid: 127\.0\.0\.1:PORT is expected"),
        served(address),
    ):
        pass


def test_a_port_in_use_is_told(page):
    with (
        pytest.raises(OptionError, match=r"Address already in use\. Choose another port"),
        served(f"127.0.0.1:{port_of(page)}"),
    ):
        pass
