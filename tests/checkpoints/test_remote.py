"""Folders behind an address: the same trajectory as from the disk, and few bytes of it."""

import base64
import contextlib
import io
import logging
import shutil
import socket
import subprocess
import sys
import threading
import traceback
import urllib.request

import fsspec
import numpy as np
import pytest
from fsspec.registry import _registry as registered
from safetensors.numpy import save_file

from tests.checkpoints.conftest import model
from tests.checkpoints.servers import Ranges, serving_folder
from trajscope.analysis.run import analyze
from trajscope.cli import main
from trajscope.errors import (
    CheckpointError,
    OptionError,
    TrajectoryError,
    TrajscopeError,
    printable,
    redacted,
)
from trajscope.trajectory import open_trajectory, tensor
from trajscope.trajectory.opening import with_buffers


@pytest.fixture
def memory():
    system = fsspec.filesystem("memory")
    yield system
    system.store.clear()
    system.pseudo_dirs[1:] = []


def write_run(folder, steps=(10, 20, 30)):
    for step in steps:
        path = folder / f"checkpoint-{step}"
        path.mkdir(parents=True)
        save_file(model(step), path / "model.safetensors", {"format": "pt"})
        (path / "trainer_state.json").write_text(f'{{"epoch": 1.0, "global_step": {step}}}')
    return folder


def assert_same(opened, local):
    for name in ("weights", "step", "tensor", "row_size", "group", "shape", "stored_dtype"):
        np.testing.assert_array_equal(opened[name], local[name])
    assert opened.attrs["step_source"] == local.attrs["step_source"] == "trainer_state.json"
    assert opened.attrs["format"] == "safetensors"


def test_what_is_read_is_what_lies_there(memory, tmp_path):
    write_run(tmp_path / "run")
    memory.put(str(tmp_path / "run"), "/run", recursive=True)
    opened = open_trajectory("memory://run")
    assert_same(opened, open_trajectory(tmp_path / "run"))
    assert opened.attrs["source"] == "memory://run"
    assert opened["path"].values[0] == "memory://run/checkpoint-10/model.safetensors"
    part = opened["weights"][[2, 0], 3:11]
    np.testing.assert_array_equal(part, open_trajectory(tmp_path / "run")["weights"][[2, 0], 3:11])


def test_weights_that_are_codes_times_scale_are_multiplied(memory, tmp_path):
    for step in (10, 20):
        rng = np.random.default_rng(step)
        codes = rng.integers(-128, 128, (6, 4), np.int8)
        tensors = {"w": codes, "w_scale": rng.random((6, 1), "f4"), "b": rng.random(3, "f4")}
        (tmp_path / "run").mkdir(exist_ok=True)
        save_file(tensors, tmp_path / "run" / f"step_{step}.safetensors")
    memory.put(str(tmp_path / "run"), "/run", recursive=True)
    opened, local = open_trajectory("memory://run"), open_trajectory(tmp_path / "run")
    np.testing.assert_array_equal(opened["weights"][:, 3:22], local["weights"][:, 3:22])
    assert "codes times scale" in str(opened.attrs["decisions"])


def test_the_command_takes_an_address(memory, tmp_path, capsys):
    write_run(tmp_path / "run")
    memory.put(str(tmp_path / "run"), "/run", recursive=True)
    main(["inspect", "memory://run"], standalone_mode=False)
    assert "memory://run" in capsys.readouterr().out


def test_one_tensor_at_two_steps_takes_two_short_reads(memory, tmp_path, monkeypatch):
    write_run(tmp_path / "run")
    memory.put(str(tmp_path / "run"), "/run", recursive=True)
    opened = open_trajectory("memory://run")
    asked = []
    read = memory.cat_file

    def counted(path, start=None, end=None, **options):
        asked.append(end - start)
        return read(path, start, end, **options)

    monkeypatch.setattr(type(memory), "cat_file", staticmethod(counted))
    values = tensor(opened, "fc2.weight")[[0, 2]].values
    np.testing.assert_array_equal(values[1], model(30)["fc2.weight"])
    assert asked == [32, 32]


def test_shards_and_their_index_are_one_checkpoint(memory, tmp_path):
    for step in (10, 20):
        folder = tmp_path / f"step-{step}"
        folder.mkdir()
        names = list(model())
        for number, name in enumerate(names, 1):
            save_file(
                {name: model(step)[name]}, folder / f"model-0000{number}-of-00003.safetensors"
            )
        shards = {name: f"model-0000{i}-of-00003.safetensors" for i, name in enumerate(names, 1)}
        text = str({"weight_map": shards}).replace("'", '"')
        (folder / "model.safetensors.index.json").write_text(text)
    memory.put(str(tmp_path), "/sharded", recursive=True)
    opened = open_trajectory("memory://sharded")
    np.testing.assert_array_equal(opened["weights"], open_trajectory(tmp_path)["weights"])


def test_a_header_longer_than_the_first_read_is_fetched(memory, tmp_path):
    for step in (1, 2):
        many = {f"layer.{i}.weight": np.full(2, i + step, "f4") for i in range(400)}
        save_file(many, tmp_path / f"step-{step}.safetensors")
    memory.put(str(tmp_path), "/long", recursive=True)
    opened = open_trajectory("memory://long")
    np.testing.assert_array_equal(opened["weights"], open_trajectory(tmp_path)["weights"])


def test_what_was_cut_short_is_skipped_with_its_address(memory, tmp_path):
    write_run(tmp_path / "run")
    memory.put(str(tmp_path / "run"), "/run", recursive=True)
    path = "/run/checkpoint-30/model.safetensors"
    memory.pipe(path, memory.cat(path)[:-4])
    with pytest.warns(match=r"memory://run/checkpoint-30/model\.safetensors does not have the"):
        opened = open_trajectory("memory://run")
    assert opened.sizes["step"] == 2


def test_a_header_that_lies_costs_nothing(memory):
    memory.pipe("/lies/step-1.safetensors", (2**62).to_bytes(8, "little") + b'{"' + b" " * 90)
    with pytest.raises(TrajectoryError, match="memory://lies: checkpoints were expected"):
        open_trajectory("memory://lies")


def test_files_of_one_step_that_differ_in_their_weights_are_no_copies(memory, tmp_path):
    for name, seed in (("a-step-1", 1), ("b-step-1", 2), ("a-step-2", 3), ("b-step-2", 4)):
        save_file(model(seed), tmp_path / f"{name}.safetensors")
    memory.put(str(tmp_path), "/two", recursive=True)
    with pytest.raises(TrajectoryError, match="memory://two holds 2 runs"):
        open_trajectory("memory://two")


@pytest.mark.parametrize("name", ["../../evil.safetensors", "a//b.safetensors", "x" * 300])
def test_hostile_names_make_no_file_here(name, memory, tmp_path, monkeypatch):
    write_run(tmp_path / "run")
    memory.put(str(tmp_path / "run"), "/run", recursive=True)
    name = name if name.endswith("tensors") else f"{name}.safetensors"
    content = memory.cat("/run/checkpoint-10/model.safetensors")
    found = {**memory.find("/run", detail=True), f"/run/{name}": {"size": len(content)}}
    monkeypatch.setattr(type(memory), "find", lambda *_, **__: found)
    opened = open_trajectory("memory://run")
    assert opened.sizes["step"] == 3
    assert opened.attrs["skipped"][0]["reason"] == "an invalid file name"


def test_what_went_away_is_said(memory, tmp_path):
    write_run(tmp_path / "run")
    memory.put(str(tmp_path / "run"), "/run", recursive=True)
    opened = open_trajectory("memory://run")
    memory.rm("/run/checkpoint-20/model.safetensors")
    with pytest.raises(CheckpointError, match=r"cannot be read: .* Was a file deleted\?"):
        opened["weights"].load()


@pytest.mark.parametrize(
    ("address", "error", "words"),
    [
        ("nonsense://bucket/run", OptionError, r"pip install 'trajscope\[remote\]'"),
        ("memory://nothing", TrajectoryError, "memory://nothing: .* none were found"),
    ],
)
def test_an_address_that_leads_nowhere_is_refused(address, error, words, memory):
    with pytest.raises(error, match=words):
        open_trajectory(address)


def test_a_package_that_is_missing_is_asked_for_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(registered, "s3", raising=False)
    with pytest.raises(OptionError, match=r"s3://.*pip install 'trajscope\[remote\]'"):
        open_trajectory("s3://bucket/missing")


@pytest.mark.filterwarnings("ignore")  # the packages' own
def test_a_folder_on_a_web_server_is_read(tmp_path):
    pytest.importorskip("aiohttp")
    write_run(tmp_path / "run")

    with serving_folder(tmp_path) as address:
        opened = open_trajectory(f"{address}/run").load()
    assert_same(opened, open_trajectory(tmp_path / "run"))


@pytest.mark.filterwarnings("ignore")  # the packages' own
def test_a_bucket_is_read_over_the_real_protocol(tmp_path, monkeypatch):
    pytest.importorskip("s3fs")
    pytest.importorskip("moto.server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    write_run(tmp_path / "run", range(10, 90, 10))
    command = [shutil.which("moto_server", path=str(sys.prefix) + "/bin"), "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            until_it_answers(port)
            system = fsspec.filesystem("s3", use_listings_cache=False)
            system.mkdir("bucket")
            system.put(str(tmp_path / "run"), "bucket/run", recursive=True)
            opened = open_trajectory("s3://bucket/run")
            assert_same(opened, open_trajectory(tmp_path / "run"))
            local = analyze(open_trajectory(tmp_path / "run"))["observables"]
            assert analyze("s3://bucket/run")["observables"].identical(local)
        finally:
            server.terminate()


def until_it_answers(port):
    for _ in range(2000):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).close()
        except urllib.error.HTTPError:
            return
        except OSError:
            threading.Event().wait(0.02)
        else:
            return
    pytest.fail("the server did not start")


SECRETS = ("s3cr3t-pw", "c0ffee5ecre7", "aB3dE5gH7jK9mN1pQ2sT4vW6")


@pytest.mark.parametrize(
    "text",
    [
        "https://user:s3cr3t-pw@host/run",
        "https://s3cr3t-pw@host/run",
        "cannot open 's3://key:s3cr3t-pw@host:9000/run', tried twice",
        "https://user:s3cr3t-pw/with?odd#signs@host/run",
        "https://user:p@s3cr3t-pw@host",
        "https://host/run?X-Amz-Signature=c0ffee5ecre7&X-Amz-Expires=1",
        "https://host/run?sig=c0ffee5ecre7",
        "Max retries exceeded with url: /run?a=1&X-Amz-Signature=c0ffee5ecre7 (Caused by)",
        "Authorization: Basic aB3dE5gH7jK9mN1pQ2sT4vW6",
        "{'authorization': 'Bearer aB3dE5gH7jK9mN1pQ2sT4vW6'}",
        "Illegal header value b'Bearer aB3dE5gH7jK9mN1pQ2sT4vW6'",
        "the token hf_aB3dE5gH7jK9mN1pQ2sT4vW6 was refused",
        "https://user:%s@host/run" % ("s3cr3t-pw" * 40),
    ],
)
def test_addresses_are_shown_without_their_secrets(text):
    for shown in (redacted(text), printable(redacted(text))):
        assert not any(secret in shown for secret in SECRETS)
        assert "***" in shown
    if text.startswith(("https://", "s3://")):
        assert not any(secret in printable(text) for secret in SECRETS)
        assert "host" in printable(text)


@pytest.mark.parametrize(
    "text",
    [
        "hf://org/model@step1000/a.safetensors", "hf://gpt2@main", "http://127.0.0.1:8000/run/a@b",
        "https://host/run/layer@2.bin", "s3://bucket/run", "why?.pt", "a = b", "hf_embed.weight",
        "bearer of news",
    ],
)  # fmt: skip
def test_what_is_no_secret_is_shown_as_it_is(text):
    assert redacted(text) == printable(text) == text


def test_secrets_that_are_set_here_are_not_shown(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cr3t-pw")
    assert redacted("signed with s3cr3t-pw today") == "signed with *** today"


@pytest.mark.filterwarnings("ignore")  # the packages' own
@pytest.mark.parametrize(
    "address",
    [
        "http://user:s3cr3t-pw@127.0.0.1:9/run",
        "http://127.0.0.1:9/run?X-Amz-Signature=c0ffee5ecre7",
        "ftp://user:s3cr3t-pw@127.0.0.1:9/run",
        "nonsense://user:s3cr3t-pw@host/run",
        "s3://user:s3cr3t-pw@bucket/run?sig=c0ffee5ecre7",
    ],
)
def test_errors_of_libraries_are_quoted_without_secrets(address, monkeypatch, caplog, capsys):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    caplog.set_level(logging.DEBUG)
    with pytest.raises(TrajscopeError) as caught:
        open_trajectory(address)
    with pytest.raises(SystemExit, match="2"):
        main(["inspect", address])
    told = "".join(traceback.format_exception(caught.value)) + "".join(capsys.readouterr())
    for secret in SECRETS:
        assert secret not in told + caplog.text


@pytest.mark.filterwarnings("ignore")  # the packages' own
def test_a_password_opens_a_folder_and_is_told_nowhere(tmp_path, caplog):
    pytest.importorskip("aiohttp")
    caplog.set_level(logging.DEBUG)
    write_run(tmp_path / "run")
    for step in (10, 20, 30):
        path = tmp_path / f"run/checkpoint-{step}/model.safetensors"
        buffers = {"bn.running_mean": np.ones(3, "f4")}
        save_file(model(step) | buffers, path, {"format": "pt"})
    wanted = "Basic " + base64.b64encode(b"user:s3cr3t-pw").decode()

    class Guarded(Ranges):
        def send_head(self):
            refused = self.headers.get("Authorization") != wanted
            return self.send_error(401) if refused else super().send_head()

        def do_GET(self):  # noqa: N802
            refused = self.headers.get("Authorization") != wanted
            return self.send_error(401) if refused else super().do_GET()

    with serving_folder(tmp_path, Guarded) as address:
        secret = address.replace("//", "//user:s3cr3t-pw@") + "/run"
        opened = open_trajectory(secret)
        local = open_trajectory(tmp_path / "run")
        np.testing.assert_array_equal(opened["weights"], local["weights"])
        assert opened.attrs["source"] == address.replace("//", "//***@") + "/run"
        everything = with_buffers(opened)  # which opens what it was opened from
        assert everything.sizes["tensor"] == opened.sizes["tensor"] + 1
        result = analyze(secret)
        told = [repr(opened), repr(opened.attrs), repr(opened["path"].values), caplog.text]
        told += [repr(part) + repr(part.attrs) for part in result.subtree]
        with pytest.raises(TrajectoryError) as caught:
            open_trajectory(secret + "-wrong")
        told += traceback.format_exception(caught.value)
        (tmp_path / "run/checkpoint-20/model.safetensors").unlink()
        with pytest.raises(CheckpointError) as caught:
            opened["weights"].load()
        told += traceback.format_exception(caught.value)
    assert not any("s3cr3t-pw" in each for each in told)


# --- web servers that do something else


class Whole(Ranges):
    """Has never heard of ranges."""

    def do_GET(self):  # noqa: N802
        del self.headers["Range"]
        return super().do_GET()


class Other(Ranges):
    """Sends the bytes behind those."""

    def send_header(self, keyword, value):
        super().send_header(keyword, value.replace("bytes 0-", "bytes 8-"))


class Short(Ranges):
    """Sends half of what it says."""

    def do_GET(self):  # noqa: N802
        whole, self.wfile = self.wfile, io.BytesIO()
        super().do_GET()
        sent = self.wfile.getvalue()
        listing = "Range" not in self.headers
        self.wfile = whole
        self.wfile.write(sent if listing else sent[: -len(sent) // 4])
        self.close_connection = True


@pytest.mark.filterwarnings("ignore")  # the packages' own
@pytest.mark.parametrize(
    ("handler", "words"),
    [
        (Whole, "the server sends the whole file"),
        (Other, "the server sends another range"),
        (Short, "cannot be read"),
    ],
)
def test_a_web_server_without_ranges_is_refused(handler, words, tmp_path):
    pytest.importorskip("aiohttp")
    (tmp_path / "run").mkdir()
    for step in (1, 2):
        save_file(model(step, 100_000), tmp_path / f"run/step-{step}.safetensors")
    with (
        serving_folder(tmp_path, handler) as address,
        pytest.raises(TrajectoryError, match=words),
    ):
        open_trajectory(f"{address}/run")


@pytest.mark.filterwarnings("ignore")  # the packages' own
def test_small_files_may_come_whole(tmp_path):
    pytest.importorskip("aiohttp")
    write_run(tmp_path / "run")
    with serving_folder(tmp_path, Whole) as address:
        assert_same(open_trajectory(f"{address}/run"), open_trajectory(tmp_path / "run"))


@pytest.mark.parametrize("size", [-5, 2.5, None, 2**63, 10**9, 7])
def test_sizes_that_lie_cost_one_file(size, memory, tmp_path, monkeypatch):
    write_run(tmp_path / "run")
    memory.put(str(tmp_path / "run"), "/run", recursive=True)
    found = memory.find("/run", detail=True)
    found["/run/checkpoint-20/model.safetensors"]["size"] = size
    monkeypatch.setattr(type(memory), "find", lambda *_, **__: found)
    monkeypatch.setattr(type(memory), "info", lambda *_, **__: {"size": size})
    told = pytest.warns(match="1 of 3 checkpoints cannot be read")
    with told if size in (7, 10**9) else contextlib.nullcontext():
        opened = open_trajectory("memory://run")
    assert opened["step"].values.tolist() == [10, 30]
    assert len(opened.attrs["skipped"]) == 1


def test_a_file_called_like_a_folder_costs_one(memory, tmp_path):
    write_run(tmp_path / "run")
    memory.put(str(tmp_path / "run"), "/run", recursive=True)
    memory.pipe("/run/checkpoint-1", b"x")
    memory.store["/run/checkpoint-1/x.safetensors"] = memory.store["/run/checkpoint-1"]
    opened = open_trajectory("memory://run")
    assert opened.sizes["step"] == 3
    assert "no file here can stand for it" in opened.attrs["skipped"][0]["reason"]
