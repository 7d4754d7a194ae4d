"""Repositories of the Hub by their revisions, through its own client library, and few bytes."""

import contextlib
import io
import logging
import os
import subprocess
import sys
import threading
import time
import traceback

import numpy as np
import pytest
import torch
from safetensors.numpy import save

from tests.checkpoints.conftest import model
from tests.checkpoints.hub import SIGNATURE, Repository, commit_of, hub_of
from trajscope.checkpoints import addresses
from trajscope.errors import CheckpointError, OptionError, TrajectoryError
from trajscope.trajectory import open_trajectory

huggingface_hub = pytest.importorskip("huggingface_hub")
hub = pytest.importorskip("trajscope.checkpoints.hub")

# Of sockets in threads that are given up.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

TOKEN = "hf_" + "aB3dE5gH7jK9mN1pQ2sT4vW6"


@pytest.fixture
def repository(monkeypatch):
    own = Repository()
    with hub_of(own) as endpoint:
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", endpoint)
        template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HF_TOKEN_PATH", "/nowhere")
        monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", "/nowhere")
        monkeypatch.setattr(hub, "_PATIENCE", 2.0)
        monkeypatch.setattr(hub, "_WAITS", (0.1, 0.2))
        addresses.file_system.cache_clear()
        yield own
        own.whims.clear()
        for thread in threading.enumerate():
            if thread.name == "trajscope-hub":
                thread.join(10)  # the client it shares with the next test is closed by its errors


def weights(step, width=3):
    return {"embed.weight": model(step, width)["fc1.weight"], **model(step, width)}


def one_file(step, width=3):
    return {"model.safetensors": save(weights(step, width)), "config.json": b"{}"}


def two_shards(step, width=3):
    first, second = {}, {}
    for number, (name, values) in enumerate(weights(step, width).items()):
        (second if number > 1 else first)[name] = values
    names = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    shards = {name: names[name in second] for name in (*first, *second)}
    index = str({"metadata": {}, "weight_map": shards}).replace("'", '"')
    return {
        names[0]: save(first),
        names[1]: save(second),
        "model.safetensors.index.json": index.encode(),
        "README.md": b"#",
    }


def expected(steps, width=3):
    order = ("embed.weight", "fc1.bias", "fc1.weight", "fc2.weight")
    rows = [np.concatenate([weights(s, width)[n].ravel() for n in order]) for s in steps]
    return np.stack(rows)


@pytest.mark.parametrize("write", [one_file, two_shards])
def test_branches_and_tags_are_the_steps(write, repository):
    repository.branches = {f"step{step}": write(step) for step in (30, 10)}
    repository.tags = {"step20": write(20)}
    opened = open_trajectory("hf://org/model")
    assert opened["step"].values.tolist() == [10, 20, 30]
    np.testing.assert_array_equal(opened["weights"], expected((10, 20, 30)))
    assert opened.attrs["source"] == "hf://org/model"
    assert opened["path"].values[0].startswith("hf://org/model/step10")


def test_a_revision_may_contain_slashes(repository):
    repository.branches = {f"run/a/step-{step}": one_file(step) for step in (1, 2)}
    opened = open_trajectory("hf://org/model")
    np.testing.assert_array_equal(opened["weights"], expected((1, 2)))
    repository.branches["run/a/step-2"] |= {
        f"more/step_{step}.safetensors": save(weights(step)) for step in (7, 8)
    }
    for revision in ("run/a/step-2", "run%2Fa%2Fstep-2"):
        opened = open_trajectory(f"hf://org/model@{revision}/more")
        np.testing.assert_array_equal(opened["weights"], expected((7, 8)))


def test_files_of_torch_are_read_by_ranges_too(repository):
    def file(step):
        written = io.BytesIO()
        torch.save({n: torch.from_numpy(w) for n, w in weights(step, 90_000).items()}, written)
        return written.getvalue()

    repository.branches = {f"step{s}": {"pytorch_model.bin": file(s)} for s in (1, 2, 3)}
    opened = open_trajectory("hf://org/model")
    assert repository.sent < 200_000
    repository.sent = 0
    part = opened["weights"][:, 5:9].to_numpy()
    assert repository.sent == 3 * 16
    np.testing.assert_array_equal(part, expected((1, 2, 3), 90_000)[:, 5:9])


def test_one_revision_holds_a_run_as_any_folder_does(repository):
    files = {f"ckpt/step_{step}.safetensors": save(weights(step)) for step in (1, 2, 3)}
    repository.branches = {"main": files, "other": one_file(3)}
    repository.page = 2
    for address in (
        "hf://org/model@main",
        "hf://org/model@main/ckpt",
        "hf://models/org/model@main",
    ):
        opened = open_trajectory(address)
        np.testing.assert_array_equal(opened["weights"], expected((1, 2, 3)))
    opened = open_trajectory(f"hf://org/model@{commit_of(files)}")
    assert opened["step"].values.tolist() == [1, 2, 3]


@pytest.mark.slow
def test_chosen_tensors_of_154_revisions_are_not_154_downloads(repository):
    steps = range(1000, 155_000, 1000)
    repository.branches = {f"step{step}": two_shards(step, 500) for step in steps}
    whole = sum(len(each) for files in repository.branches.values() for each in files.values())
    opened = open_trajectory("hf://org/model", include="embed*")
    # All indexes are equal, so one is read; large files are on another host, one more request each.
    n = 154
    assert dict(repository.asked) == {"refs": 1, "tree": n, "resolve": 2 * n + 1, "cdn": 2 * n}
    heads = repository.sent
    assert heads < 154 * 2 * 2**14 + 154 * 600
    repository.sent = 0
    repository.asked.clear()
    values = opened["weights"].to_numpy()
    assert repository.sent == values.nbytes == 154 * 4 * 500 * 4 < whole / 2
    assert dict(repository.asked) == {"resolve": 154, "cdn": 154}
    np.testing.assert_array_equal(values[7], weights(8000, 500)["embed.weight"].ravel())


def test_equal_files_are_fetched_once_and_are_the_same_file(repository):
    shared = two_shards(1, 500)
    repository.branches = {f"step{step}": {**two_shards(step, 500)} for step in (1, 2, 3)}
    name = "model-00001-of-00002.safetensors"
    repository.branches["step2"][name] = shared[name]
    found = hub.list_repository("hf://org/model")
    contents = {file.relative: file.content for file in found.files}
    assert contents[f"step1/{name}"] == contents[f"step2/{name}"] != contents[f"step3/{name}"]
    repository.asked.clear()
    opened = open_trajectory("hf://org/model")
    assert repository.asked["cdn"] == 5
    assert opened.attrs["equal_files"] == [{"steps": [1, 2], "files": [name], "whole": False}]
    np.testing.assert_array_equal(
        opened["weights"][1, : 4 * 500], weights(1, 500)["embed.weight"].ravel()
    )


def test_what_is_opened_stays_at_its_commits(repository):
    repository.branches = {f"step{step}": one_file(step) for step in (1, 2)}
    opened = open_trajectory("hf://org/model")
    kept = dict(repository.branches)
    repository.branches["step2"] = one_file(9)
    repository.tags = {"old": kept["step2"]}
    np.testing.assert_array_equal(opened["weights"], expected((1, 2)))


# --- servers that refuse, lie or fall silent


def refusing(status, code, **headers):
    return lambda server: server.refuse(status, code, **headers)


@pytest.mark.parametrize(
    ("kind", "whim", "words"),
    [
        ("refs", refusing(401, "RepoNotFound"), "no such repository, or it is private.*HF_TOKEN"),
        ("refs", refusing(404, "RepoNotFound"), "no such repository"),
        ("refs", refusing(403, "GatedRepo"), "give access on request.*HF_TOKEN"),
        ("tree", refusing(403, "GatedRepo"), "give access on request"),
        ("refs", refusing(429, "", Retry_After="100000"), "limits the number of requests"),
        ("tree", refusing(429, "", Retry_After="5"), "no answer within 2 s"),
        ("tree", refusing(503, ""), "no answer within 2 s"),
        ("refs", lambda server: server.answer([1]) or True, "not that of a Hub"),
        ("refs", lambda server: server.answer({"branches": [{}]}) or True, "not that of a Hub"),
        ("tree", lambda server: server.answer({"a": [1]}) or True, "not that of a Hub"),
        ("tree", lambda server: server.sleep(3), "no answer within 2 s"),
        ("refs", lambda server: server.sleep(3), "no answer within 2 s"),
    ],
)
def test_a_hub_that_refuses_is_quoted_in_time(kind, whim, words, repository):
    repository.branches = {f"step{step}": one_file(step) for step in (1, 2)}
    repository.whims[kind] = whim
    start = time.monotonic()
    with pytest.raises(TrajectoryError, match=f"^hf://org/model cannot be .*{words}"):
        open_trajectory("hf://org/model")
    assert time.monotonic() - start < 15


def test_a_revision_that_is_not_there_is_said(repository):
    repository.branches = {f"step{step}": one_file(step) for step in (1, 2)}
    with pytest.raises(TrajectoryError, match="there is no such revision"):
        open_trajectory("hf://org/model@" + "ab" * 20)
    with pytest.raises(TrajectoryError, match="no address of a repository: hf://ORG/NAME"):
        open_trajectory("hf://../model")


def once(whim):
    """A whim that every place is met with once."""
    met = set()

    def each(server):
        if server.path in met:
            return False
        met.add(server.path)
        return whim(server)

    return each


@pytest.mark.parametrize(
    "whim",
    [
        refusing(503, ""),
        refusing(429, "", Retry_After="1"),
        lambda server: server.sleep(0),
        lambda server: huggingface_hub.close_session(),
    ],
)
def test_what_fails_once_is_tried_again(whim, repository, monkeypatch):
    monkeypatch.setattr(hub, "_PATIENCE", 30.0)
    monkeypatch.setattr(hub, "_WAITS", (0.1, 0.5, 1.0))
    repository.branches = {f"step{step}": one_file(step, 500) for step in (1, 2, 3)}
    repository.whims = {kind: once(whim) for kind in ("refs", "tree", "cdn")}
    opened = open_trajectory("hf://org/model")
    np.testing.assert_array_equal(opened["weights"], expected((1, 2, 3), 500))


@pytest.mark.parametrize("kind", ["refs", "tree"])
def test_a_request_that_is_never_answered_is_sent_again(kind, repository):
    repository.branches = {f"step{step}": one_file(step) for step in (1, 2)}
    repository.whims[kind] = once(lambda server: server.sleep(3))
    np.testing.assert_array_equal(open_trajectory("hf://org/model")["weights"], expected((1, 2)))


def whole(server):
    content = b"x" * 5_000_000
    server.send_response(200)
    server.send_header("Content-Length", str(len(content)))
    server.end_headers()
    server.wfile.write(content)
    return True


def another_range(server):
    server.send_response(206)
    server.send_header("Content-Range", "bytes 7-10/100")
    server.send_header("Content-Length", "4")
    server.end_headers()
    server.wfile.write(b"abcd")
    return True


def cut_short(server):
    server.send_response(206)
    server.send_header("Content-Range", "bytes 0-4000/5000")
    server.send_header("Content-Length", "4001")
    server.end_headers()
    server.wfile.write(b"abcd")
    server.close_connection = True
    return True


def endless(server):
    server.send_response(206)
    server.send_header("Content-Range", "bytes 0-4000/5000")
    server.send_header("Transfer-Encoding", "chunked")
    server.end_headers()
    while True:
        server.wfile.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")


@pytest.mark.parametrize(
    ("whim", "words"),
    [
        (whole, "asked for, but the server sends the whole file"),
        (another_range, "asked for, but the server sends another range"),
        (cut_short, "cannot be read|bytes from byte"),
        (endless, "does not match its extension"),
        (refusing(404, "EntryNotFound"), "cannot be read"),
        (refusing(416, ""), "cannot be read"),
    ],
)
def test_files_that_come_otherwise_than_asked_for_are_skipped(whim, words, repository):
    repository.branches = {f"step{step}": one_file(step, 500) for step in (1, 2, 3)}
    repository.whims["cdn"] = whim
    with pytest.raises(TrajectoryError, match=words):
        open_trajectory("hf://org/model")


def test_a_weight_that_is_refused_later_is_said(repository):
    repository.branches = {f"step{step}": one_file(step, 500) for step in (1, 2, 3)}
    opened = open_trajectory("hf://org/model")
    repository.whims["cdn"] = refusing(403, "")
    with pytest.raises(CheckpointError, match=r"hf://org/model@.*cannot be read: .*403"):
        opened["weights"].load()


@pytest.mark.parametrize("size", [-1, 2**63, 2**62 - 1, "12", None, 1.5, 10, 10**9])
def test_sizes_that_lie_cost_one_file(size, repository):
    repository.branches = {f"step{step}": one_file(step, 500) for step in (1, 2, 3)}
    lied = iter([{"size": size}])

    def lie(name):
        return next(lied, {}) if name == "model.safetensors" else {}

    repository.whims["entry"] = lie
    start = time.monotonic()
    told = pytest.warns(match="1 of 3 checkpoints cannot be read")
    with told if size in (10, 10**9) else contextlib.nullcontext():
        opened = open_trajectory("hf://org/model")
    assert len(opened.attrs["skipped"]) == 1
    assert opened.sizes["step"] == 2
    assert time.monotonic() - start < 10


@pytest.mark.parametrize(
    "name", ["../../evil.safetensors", "a//b.safetensors", "a/../../b.safetensors", "/etc/x.pt"]
)
def test_hostile_names_make_no_file_here(name, repository):
    repository.branches = {f"step{step}": {**one_file(step), name: b"x"} for step in (1, 2)}
    opened = open_trajectory("hf://org/model")
    assert opened.sizes["step"] == 2
    assert {each["reason"] for each in opened.attrs["skipped"]} == {"an invalid file name"}


def test_hostile_revisions_are_left(repository):
    repository.branches = {f"step{step}": one_file(step) for step in (1, 2)}
    repository.branches |= {"../step7": one_file(7), "step8": one_file(8)}
    repository.tags = {"step8": one_file(9), "step1/more": one_file(5)}
    opened = open_trajectory("hf://org/model")
    assert opened["step"].values.tolist() in ([2, 8], [2, 5, 8])
    reasons = [each["reason"] for each in opened.attrs["skipped"]]
    assert "a tag; a branch of that name was taken" in reasons
    assert any("other revisions are called step1/...; open it by @REVISION" in r for r in reasons)


# --- tokens


def test_a_private_repository_is_read_and_no_secret_is_told(repository, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    for name in ("httpx2", "httpcore2", "huggingface_hub", "fsspec"):
        caplog.set_level(logging.DEBUG, logger=name)
    repository.branches = {f"step{step}": one_file(step, 500) for step in (1, 2)}
    repository.token = TOKEN
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    opened = open_trajectory("hf://org/model")
    np.testing.assert_array_equal(opened["weights"].to_numpy(), expected((1, 2), 500))
    assert repository.handed
    assert set(repository.handed) == {None}
    repository.whims["cdn"] = refusing(403, "")
    with pytest.raises(CheckpointError) as caught:
        opened["weights"].load()
    told = repr(opened.attrs) + repr(opened.variables) + caplog.text
    told += "".join(traceback.format_exception(caught.value))
    assert "GET" in caplog.text
    for secret in (TOKEN, SIGNATURE):
        assert secret not in told


@pytest.mark.parametrize(
    "token", ["hf_wrongwrongwrongwrongwrong", "hidden\u00e9token-value", "a b c d e f g"]
)
def test_a_token_that_is_refused_is_not_quoted(token, repository, monkeypatch):
    repository.branches = {f"step{step}": one_file(step) for step in (1, 2)}
    repository.token = TOKEN
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(TrajectoryError, match="hf://org/model cannot be") as caught:
        open_trajectory("hf://org/model")
    assert token not in str(caught.value)
    assert ascii(token)[1:-1] not in str(caught.value)


def test_the_command_takes_a_repository_at_an_endpoint(repository, tmp_path):
    repository.branches = {f"step{step}": one_file(step) for step in (1, 2, 3)}
    repository.token = TOKEN
    environment = {
        **os.environ, "HF_ENDPOINT": huggingface_hub.constants.ENDPOINT, "HF_HOME": str(tmp_path),
        "HF_TOKEN": TOKEN, "no_proxy": "*",
    }  # fmt: skip
    command = [sys.executable, "-m", "trajscope", "inspect", "hf://org/model"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert "hf://org/model" in done.stdout
    assert TOKEN not in done.stdout + done.stderr
    environment["HF_TOKEN"] = "hf_" + "x" * 30
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 2
    assert "no such repository, or it is private" in done.stderr.replace("\n", " ")
    assert "x" * 30 not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_the_client_is_asked_for_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.delitem(sys.modules, "trajscope.checkpoints.hub", raising=False)
    monkeypatch.delattr("trajscope.checkpoints.hub", raising=False)
    addresses.file_system.cache_clear()
    with pytest.raises(OptionError, match=r"hf://.*pip install 'trajscope\[hub\]'"):
        open_trajectory("hf://org/model")
