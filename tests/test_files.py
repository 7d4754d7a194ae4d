"""Files and folders that are written whole or not at all, watched while they are written."""

import os
import signal
import stat
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest
from safetensors.numpy import save, save_file

from trajscope import files
from trajscope.files import (
    clear_left,
    locked_folder,
    obstacle,
    open_own,
    read_into,
    replaced,
    replaced_folder,
)
from trajscope.trajectory import open_trajectory


def make_file(path, text):
    path.write_text(text)


def make_folder(path, text):
    path.mkdir()
    (path / "inside").write_text(text)


@contextmanager
def new_file(target, text, **options):
    with replaced(target, **options) as file:
        file.write(text.encode())
        file.flush()
        yield Path(target.parent, hidden(target.parent)[0])


@contextmanager
def new_folder(target, text, **options):
    with replaced_folder(target, **options) as folder:
        (folder / "inside").write_text(text)
        yield folder


def hidden(folder):
    return [name for name in names_in(folder) if name.startswith(".tmp-")]


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def content(path):
    return (path / "inside" if path.is_dir() else path).read_text()


BOTH = pytest.mark.parametrize(
    ("make", "new"), [(make_file, new_file), (make_folder, new_folder)], ids=["file", "folder"]
)


@BOTH
def test_a_target_is_the_old_one_until_it_is_the_new_one(make, new, tmp_path):
    target = tmp_path / "made/for/it"
    for text in ("old", "new"):
        with new(target, text) as unfinished:
            assert unfinished.parent == target.parent
            assert target.exists() is (text == "new")
            if text == "new":
                assert content(target) == "old"
        assert content(target) == text
        assert [path.name for path in target.parent.iterdir()] == ["it"]


@BOTH
@pytest.mark.parametrize("error", [OSError("full"), KeyboardInterrupt()], ids=repr)
def test_a_failure_leaves_the_old_one_and_nothing_else(make, new, error, tmp_path):
    make(tmp_path / "it", "old")

    def fails():
        with new(tmp_path / "it", "new"):
            raise error

    with pytest.raises(type(error)):
        fails()
    assert content(tmp_path / "it") == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["it"]


def test_an_old_folder_is_put_back_where_the_new_one_cannot_be_renamed(tmp_path, monkeypatch):
    rename = Path.replace

    def fails_for_the_new_one(self, target):
        if self.name.startswith(".tmp-"):
            raise OSError("Input/output error")
        return rename(self, target)

    make_folder(tmp_path / "it", "old")
    monkeypatch.setattr(Path, "replace", fails_for_the_new_one)
    with pytest.raises(OSError, match="Input/output error"), new_folder(tmp_path / "it", "new"):
        pass
    assert content(tmp_path / "it") == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["it"]


def test_an_old_folder_that_a_process_of_the_same_number_left_is_not_in_the_way(tmp_path):
    make_folder(tmp_path / f".it.old-{os.getpid()}", "left by a process that was killed")
    make_folder(tmp_path / "it", "old")
    with new_folder(tmp_path / "it", "new", tidy=True):
        pass
    assert content(tmp_path / "it") == "new"


def test_what_is_being_written_is_never_read_as_a_checkpoint(tmp_path):
    for step in (1, 2):
        save_file({"w": np.full(2, step, "f4")}, tmp_path / f"step-{step}.safetensors")
    with replaced(tmp_path / "step-3.safetensors") as unfinished:
        unfinished.write(save({"w": np.ones(2, "f4")}))
        unfinished.flush()
        assert list(open_trajectory(tmp_path)["step"].values) == [1, 2]
    assert list(open_trajectory(tmp_path)["step"].values) == [1, 2, 3]


def test_a_file_is_on_disk_before_it_is_renamed_where_that_is_asked_for(tmp_path, monkeypatch):
    seen = []

    def look(descriptor):
        status = os.fstat(descriptor)
        kind = "folder" if stat.S_ISDIR(status.st_mode) else status.st_size
        seen.append((kind, (tmp_path / "it").exists()))

    monkeypatch.setattr(os, "fsync", look)
    for durable in (True, False):
        with new_file(tmp_path / "it", "new", durable=durable):
            pass
        assert seen == [(3, False), ("folder", True)]


@BOTH
@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_permissions_are_those_of_any_new_file(make, new, mask, tmp_path):
    former = os.umask(mask)
    try:
        with new(tmp_path / "it", "new"):
            pass
        make(tmp_path / "beside", "new")
    finally:
        os.umask(former)
    assert (tmp_path / "it").stat().st_mode == (tmp_path / "beside").stat().st_mode


def test_two_that_write_the_same_target_do_not_meet(tmp_path):
    with replaced(tmp_path / "it") as first, replaced(tmp_path / "it", tidy=True) as second:
        first.write(b"first")
        second.write(b"second")
    assert (tmp_path / "it").read_text() == "first"  # whoever ends last


KILLED = """
import os, signal, sys
from pathlib import Path
from trajscope.files import replaced, replaced_folder

target = Path(sys.argv[1])
if sys.argv[2] == "folder":
    rename = Path.replace

    def killed_between(self, to):
        if self.name.startswith(".tmp-"):  # the old one is set aside
            os.kill(os.getpid(), signal.SIGKILL)
        return rename(self, to)

    Path.replace = killed_between
    with replaced_folder(target) as folder:
        (folder / "inside").write_text("new")
with replaced(target) as file:
    file.write(b"half")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def kill(target, kind):
    done = subprocess.run([sys.executable, "-c", KILLED, target, kind], check=False)
    assert done.returncode == -signal.SIGKILL


def test_what_a_killed_process_left_is_cleared_away(tmp_path):
    make_file(tmp_path / "it", "old")
    kill(tmp_path / "it", "file")
    assert len(hidden(tmp_path)) == 1
    with replaced(tmp_path / "other", tidy=True), replaced(tmp_path / "it") as unfinished:
        unfinished.write(b"new")
    assert len(hidden(tmp_path)) == 1  # of another target, or not asked for
    clear_left(tmp_path / "it")
    assert content(tmp_path / "it") == "new"
    assert names_in(tmp_path) == ["it", "other"]


def test_a_folder_that_a_killed_process_had_set_aside_is_put_back(tmp_path):
    make_folder(tmp_path / "it", "old")
    kill(tmp_path / "it", "folder")
    assert not (tmp_path / "it").exists()
    clear_left(tmp_path / "it")
    assert content(tmp_path / "it") == "old"
    assert names_in(tmp_path) == ["it"]


def test_an_old_folder_is_cleared_away_where_there_is_a_new_one(tmp_path):
    make_folder(tmp_path / "it", "old")
    kill(tmp_path / "it", "folder")
    make_folder(tmp_path / "it", "newer")
    clear_left(tmp_path / "it")
    assert content(tmp_path / "it") == "newer"
    assert names_in(tmp_path) == ["it"]


@BOTH
def test_what_another_process_is_writing_is_not_cleared_away(make, new, tmp_path):
    with new(tmp_path / "it", "new"):
        command = (
            "import sys, pathlib, trajscope.files as f; f.clear_left(pathlib.Path(sys.argv[1]))"
        )
        subprocess.run([sys.executable, "-c", command, tmp_path / "it"], check=True)
    assert content(tmp_path / "it") == "new"


@pytest.mark.parametrize("kind", ["link", "pipe"])
@pytest.mark.parametrize("name", [".tmp-it", "it.new", f".tmp-it-{5:032x}", f".it.old-{5:032x}"])
def test_a_link_or_a_pipe_with_a_hidden_name_is_not_touched(kind, name, tmp_path):
    (tmp_path / "precious").write_text("precious")
    if kind == "link":
        (tmp_path / name).symlink_to(tmp_path / "precious")
    else:
        os.mkfifo(tmp_path / name)
    with new_file(tmp_path / "it", "new", tidy=True):
        pass
    assert content(tmp_path / "it") == "new"
    assert not (tmp_path / "it").is_symlink()
    assert (tmp_path / "precious").read_text() == "precious"
    assert names_in(tmp_path) == sorted(["it", "precious", name])


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_a_file_that_is_written_in_place_is_no_link_and_no_pipe(kind, tmp_path):
    (tmp_path / "precious").write_text("precious")
    os.close(open_own(tmp_path / "own", os.O_CREAT))
    os.close(open_own(tmp_path / "own"))
    if kind == "link":
        (tmp_path / "it").symlink_to(tmp_path / "precious")
    else:
        os.mkfifo(tmp_path / "it")
    for flags in (0, os.O_CREAT, os.O_CREAT | os.O_EXCL, os.O_APPEND):
        with pytest.raises(OSError, match=r"not a regular file|symbolic links|File exists"):
            open_own(tmp_path / "it", flags)
    assert (tmp_path / "precious").read_text() == "precious"


def test_a_name_that_is_taken_is_never_opened(tmp_path, monkeypatch):
    (tmp_path / "precious").write_text("precious")
    monkeypatch.setattr(files, "uuid4", lambda: UUID(int=5))
    (tmp_path / f".tmp-it-{5:032x}").symlink_to(tmp_path / "precious")
    with pytest.raises(FileExistsError), replaced(tmp_path / "it"):
        pass
    assert (tmp_path / "precious").read_text() == "precious"


def test_long_names_are_no_hindrance(tmp_path):
    target = tmp_path / ("ä" * 120)
    for _ in range(2):
        with new_folder(target, "new", tidy=True):
            pass
    assert names_in(tmp_path) == [target.name]


def test_a_folder_is_locked_against_other_processes(tmp_path):
    command = (
        "import sys, pathlib, trajscope.files as f\n"
        "with f.locked_folder(pathlib.Path(sys.argv[1])): pass"
    )
    for folder in (tmp_path / "made/for/it", tmp_path):
        with locked_folder(folder):
            done = subprocess.run(
                [sys.executable, "-c", command, folder], capture_output=True, check=False
            )
            assert b"BlockingIOError" in done.stderr
        with locked_folder(folder):
            pass
        assert names_in(tmp_path) == []


def test_a_folder_that_can_be_made_or_written_to_has_no_obstacle(tmp_path):
    assert obstacle(tmp_path) == obstacle(tmp_path / "not/made/yet") == ""
    assert list(tmp_path.iterdir()) == []


def test_what_is_in_the_way_of_a_folder_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    assert obstacle(tmp_path / "file/inside") == f"{tmp_path}/file is not a folder"
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    assert obstacle(tmp_path / "link") == f"{tmp_path}/link is not a folder"
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert obstacle(tmp_path / "new") == f"{tmp_path} is not writable"


def test_bytes_are_read_to_the_last_however_few_come_at_once(tmp_path, monkeypatch):
    real = os.preadv
    monkeypatch.setattr(os, "preadv", lambda fd, b, offset: real(fd, [b[0][:7]], offset))
    (tmp_path / "file").write_bytes(bytes(range(100)))
    descriptor = os.open(tmp_path / "file", os.O_RDONLY)
    try:
        found = bytearray(90)
        assert read_into(descriptor, memoryview(found), 10) == 0
        assert found == bytes(range(10, 100))
        assert read_into(descriptor, memoryview(found), 40) == 30
        assert found[:60] == bytes(range(40, 100))
    finally:
        os.close(descriptor)
