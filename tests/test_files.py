"""Files and folders that are written whole or not at all, watched while they are written."""

import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from trajscope.files import obstacle, read_into, replaced
from trajscope.trajectory import open_trajectory


def fill_file(path, text):
    path.write_text(text)


def fill_folder(path, text):
    path.mkdir()
    (path / "inside").write_text(text)


def content(path):
    return (path / "inside" if path.is_dir() else path).read_text()


FILLED = pytest.mark.parametrize("fill", [fill_file, fill_folder])
ALONE = pytest.mark.parametrize("alone", [False, True])


@FILLED
@ALONE
def test_a_target_is_the_old_one_until_it_is_the_new_one(fill, alone, tmp_path):
    target = tmp_path / "made/for/it"
    for text in ("old", "new"):
        with replaced(target, alone=alone) as unfinished:
            fill(unfinished, text)
            assert unfinished.parent == target.parent
            assert target.exists() is (text == "new")
            if text == "new":
                assert content(target) == "old"
        assert content(target) == text
        assert [path.name for path in target.parent.iterdir()] == ["it"]


@FILLED
@ALONE
@pytest.mark.parametrize("error", [OSError("full"), KeyboardInterrupt()], ids=repr)
def test_a_failure_leaves_the_old_one_and_nothing_else(fill, alone, error, tmp_path):
    fill(tmp_path / "it", "old")

    def fails():
        with replaced(tmp_path / "it", alone=alone) as unfinished:
            fill(unfinished, "new")
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

    fill_folder(tmp_path / "it", "old")
    monkeypatch.setattr(Path, "replace", fails_for_the_new_one)
    with (
        pytest.raises(OSError, match="Input/output error"),
        replaced(tmp_path / "it") as unfinished,
    ):
        fill_folder(unfinished, "new")
    assert content(tmp_path / "it") == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["it"]


def test_an_old_folder_that_a_process_of_the_same_number_left_is_not_in_the_way(tmp_path):
    fill_folder(tmp_path / f".it.old-{os.getpid()}", "left by a process that was killed")
    fill_folder(tmp_path / "it", "old")
    with replaced(tmp_path / "it") as unfinished:
        fill_folder(unfinished, "new")
    assert content(tmp_path / "it") == "new"


@ALONE
def test_what_is_being_written_is_never_read_as_a_checkpoint(alone, tmp_path):
    for step in (1, 2):
        save_file({"w": np.full(2, step, "f4")}, tmp_path / f"step-{step}.safetensors")
    with replaced(tmp_path / "step-3.safetensors", alone=alone) as unfinished:
        save_file({"w": np.ones(2, "f4")}, unfinished)
        assert list(open_trajectory(tmp_path)["step"].values) == [1, 2]
    assert list(open_trajectory(tmp_path)["step"].values) == [1, 2, 3]


def test_a_file_is_on_disk_before_it_is_renamed_where_that_is_asked_for(tmp_path, monkeypatch):
    seen = []

    def look(descriptor):
        seen.append((os.fstat(descriptor).st_size, (tmp_path / "it").exists()))

    monkeypatch.setattr(os, "fsync", look)
    with replaced(tmp_path / "it", durable=True) as unfinished:
        unfinished.write_text("new")
    assert seen == [(3, False)]
    with replaced(tmp_path / "it") as unfinished:
        unfinished.write_text("newer")
    assert seen == [(3, False)]


@FILLED
@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_permissions_are_those_of_any_new_file(fill, mask, tmp_path):
    former = os.umask(mask)
    try:
        with replaced(tmp_path / "it") as unfinished:
            fill(unfinished, "new")
        fill(tmp_path / "beside", "new")
    finally:
        os.umask(former)
    assert (tmp_path / "it").stat().st_mode == (tmp_path / "beside").stat().st_mode


def test_two_that_write_the_same_target_do_not_meet(tmp_path):
    with replaced(tmp_path / "it") as first, replaced(tmp_path / "it") as second:
        first.write_text("first")
        second.write_text("second")
    assert (tmp_path / "it").read_text() == "first"  # whoever ends last


@FILLED
def test_one_that_writes_alone_clears_away_what_a_killed_one_left(fill, tmp_path):
    with replaced(tmp_path / "it", alone=True) as unfinished:
        unfinished.write_text("new")
    fill(unfinished, "left by a process that was killed")
    with replaced(tmp_path / "it", alone=True) as again:
        assert again == unfinished
        assert not again.exists()
        again.write_text("newer")
    assert [path.name for path in tmp_path.iterdir()] == ["it"]


def test_a_link_where_it_is_written_is_not_followed(tmp_path):
    (tmp_path / "precious").write_text("precious")
    (tmp_path / ".tmp-it").symlink_to(tmp_path / "precious")
    with replaced(tmp_path / "it", alone=True) as unfinished:
        unfinished.write_text("new")
    assert (tmp_path / "precious").read_text() == "precious"
    assert not (tmp_path / "it").is_symlink()


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
