"""What a history holds after growth, interruption and damage; what is read is always the run."""

import json
import os
import pickle
import signal
import subprocess
import sys
from time import time_ns

import numpy as np
import pytest

from trajscope.history import kept, rows
from trajscope.history.kept import remembered
from trajscope.trajectory import open_trajectory


@pytest.fixture
def read(tmp_path):
    """What is told and read of a run with the history beside it, compared with the run itself."""

    def compared(run, *, expected=None, always=True, folder=tmp_path / "history", **selection):
        trajectory = open_trajectory(run.folder, **selection)
        values = trajectory["weights"].to_numpy() if expected is None else expected
        with remembered(trajectory, folder, always=always) as found:
            np.testing.assert_array_equal(found.trajectory["weights"], values)
            picked = found.trajectory["weights"][::-1, 2:5]
            np.testing.assert_array_equal(picked, values[::-1, 2:5])
        return found.line

    return compared


def index(tmp_path):
    return json.loads((tmp_path / "history/history.json").read_bytes())


def data(tmp_path):
    (path,) = (tmp_path / "history").glob("weights-*.raw")
    assert path.name == index(tmp_path)["data"]
    return path


def test_a_history_travels_to_workers(make_run, tmp_path):
    run = make_run().write(1, 2)
    trajectory = open_trajectory(run.folder)
    with remembered(trajectory, tmp_path / "history") as found:
        sent = pickle.loads(pickle.dumps(found.trajectory["weights"].variable))
        run.forbid(1, 2)
        np.testing.assert_array_equal(sent.to_numpy(), found.trajectory["weights"])
        assert not (sent.to_numpy() == trajectory["weights"].to_numpy()).any()


def test_only_new_checkpoints_are_read(dtype, make_run, read, tmp_path):
    run = make_run(7, dtype).write(1, 2, 3)
    where = tmp_path / "history"
    assert read(run) == f"Read 3 checkpoints; 3 are kept in the history in {where}."
    run.write(4)
    expected = open_trajectory(run.folder)["weights"].to_numpy()
    run.forbid(1, 2, 3)
    assert read(run, expected=expected) == f"Read 1 new checkpoint; 3 from the history in {where}."
    run.forbid(4)
    told = read(run, expected=expected)
    assert told == f"All 4 checkpoints were read from the history in {where}."


def test_no_old_file_is_opened_for_its_weights(make_run, tmp_path):
    """Counted by the kernel: what a second reading takes is headers and the history."""
    run = make_run(300_000).write(*range(4))
    code = """
import sys
from trajscope.history.kept import remembered
from trajscope.trajectory import open_trajectory
def taken():
    return int(open("/proc/self/io").read().split("rchar:")[1].split()[0])
trajectory = open_trajectory(sys.argv[1])
for _ in range(2):
    before = taken()
    with remembered(trajectory, sys.argv[2], progress=lambda *_: print("read", end=" ")):
        print(taken() - before)
"""
    command = [sys.executable, "-c", code, run.folder, tmp_path / "history"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    first, second = done.stdout.splitlines()
    size = 4 * 300_000 * 4
    assert size <= int(first.removeprefix("read ")) < 1.01 * size
    assert size <= int(second) < 1.01 * size  # the history itself, against its checksums


def test_a_checkpoint_written_again_is_read_again(make_run, read, tmp_path):
    run = make_run().write(1, 2, 3)
    read(run)
    run.write(2, salt=1, at=1_700_000_000)
    assert read(run).startswith("Read 1 new checkpoint, 1 of them written again; 2 from")
    os.link(run.path(3), tmp_path / "kept")  # so that its inode is not given out again
    run.path(3).unlink()
    run.write(3, salt=1)  # of the same size, under the same time, but another file
    assert read(run).startswith("Read 1 new checkpoint, 1 of them written again; 2 from")
    run.spoil(1)  # in the same file too: the time of its inode's last change tells
    assert read(run).startswith("Read 1 new checkpoint, 1 of them written again; 2 from")


def test_one_written_a_moment_ago_is_not_trusted_yet(make_run, read):
    run = make_run().write(1, 2)
    now = time_ns() // 10**9
    run.write(3, at=now - 3)
    assert "; 2 are kept in" in read(run)
    run.spoil(3)  # within the same tick of the clock
    assert read(run).startswith("Read 1 new checkpoint; 2 from")


def test_vanished_checkpoints_make_room_in_time(make_run, read, tmp_path):
    run = make_run(1000).write(*range(10))
    read(run)
    for step in range(8):
        run.path(step).unlink()
        run.write(10 + step)
        expected = open_trajectory(run.folder)["weights"].to_numpy()
        run.forbid(9 + step)
        assert read(run, expected=expected).startswith("Read 1 new checkpoint; 9 from")
        run.write(9 + step)
        read(run)
    assert data(tmp_path).stat().st_size <= 2 * 10 * 4000


def test_other_tensors_begin_another_history(make_run, read):
    run = make_run().write(1, 2)
    read(run)
    assert "the old one cannot be used: the tensors or their dtype changed" in read(
        run, include="out*"
    )
    assert "were read from the history" in read(run, include="out*")
    run.dtype = np.float64
    run.write(3)
    assert "the old one cannot be used: the tensors or their dtype changed" in read(run)


def test_another_choice_of_the_same_names_is_told_apart(make_run, read, tmp_path):
    run = make_run()
    for step in (1, 2):
        path = run.folder / f"ckpt_{step}.npz"
        state = {"model/w": np.full(6, float(step)), "model_ema/w": np.full(6, step + 10.0)}
        np.savez(path, **state)
        os.utime(path, (1e9, 1e9))
    assert read(run, weights="live").startswith("Read 2 checkpoints")
    assert read(run, weights="ema").startswith("Read 2 checkpoints")
    assert read(run, weights="ema").startswith("All 2 checkpoints were read")


def test_rows_longer_than_a_piece_are_written_in_pieces(make_run, read, monkeypatch):
    monkeypatch.setattr(rows, "_PIECE_BYTES", 64)
    run = make_run(37).write(*range(5))
    read(run)
    run.write(5, 6)
    read(run)
    assert read(run).startswith("All 7 checkpoints were read")


def test_a_half_written_checkpoint_is_taken_once_it_is_whole(make_run, read):
    run = make_run().write(1, 2, 3)
    whole = run.path(3).read_bytes()
    run.path(3).write_bytes(whole[:-5])
    with pytest.warns(match="1 of 3 checkpoints cannot be read"):
        assert read(run).startswith("Read 2 checkpoints")
    run.write(3)
    assert read(run).startswith("Read 1 new checkpoint; 2 from")


@pytest.mark.parametrize("written", [1, 4])
def test_a_kill_costs_the_new_checkpoints_alone(written, make_run, read, tmp_path):
    run = make_run(100).write(1, 2, 3)
    read(run)
    run.write(4, 5, 6, 7, 8)
    code = """
import os, signal, sys
from trajscope.history import rows
from trajscope.history.kept import remembered
from trajscope.trajectory import open_trajectory
rows._PIECE_BYTES = 400
def progress(done, total):
    if done >= int(sys.argv[3]) * 100:
        os.kill(os.getpid(), signal.SIGKILL)
with remembered(open_trajectory(sys.argv[1]), sys.argv[2], progress=progress):
    pass
"""
    command = [sys.executable, "-c", code, run.folder, tmp_path / "history", str(written)]
    assert subprocess.run(command, check=False, timeout=60).returncode == -signal.SIGKILL
    expected = open_trajectory(run.folder)["weights"].to_numpy()
    run.forbid(1, 2, 3)
    assert read(run, expected=expected).startswith("Read 5 new checkpoints; 3 from")


@pytest.mark.parametrize("first", [True, False])
def test_an_interruption_leaves_no_room_taken(first, make_run, read, tmp_path):
    run = make_run(100).write(1, 2)
    if not first:
        read(run)
    run.write(3)
    before = sorted((p.name, p.stat().st_size) for p in (tmp_path / "history").glob("weights*"))

    def stop(done, total):
        raise KeyboardInterrupt

    trajectory = open_trajectory(run.folder)
    with (
        pytest.raises(KeyboardInterrupt),
        remembered(trajectory, tmp_path / "history", progress=stop),
    ):
        pass
    after = sorted((p.name, p.stat().st_size) for p in (tmp_path / "history").glob("weights*"))
    assert after == before


def test_an_index_cut_or_changed_anywhere_is_made_again(make_run, read, tmp_path):
    run = make_run().write(1, 2)
    read(run)
    path = tmp_path / "history/history.json"
    good = path.read_bytes()
    for at in range(0, len(good), 17):
        path.write_bytes(good[:at])
        assert "the index cannot be read" in read(run)
        path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        assert read(run)


def test_any_other_byte_in_the_weights_is_noticed(make_run, read, tmp_path):
    run = make_run().write(1, 2)
    read(run)
    for at in range(0, 2 * 6 * 4, 5):
        path = data(tmp_path)
        changed = bytearray(path.read_bytes())
        changed[at] ^= 64
        path.write_bytes(bytes(changed))
        assert "the old one cannot be used: the weights differ from what was written" in read(run)


def forged(tmp_path, **claims):
    known = index(tmp_path) | claims
    (tmp_path / "history/history.json").write_text(json.dumps(known))


@pytest.mark.parametrize(
    "claims",
    [
        {"data": "../run/step-1.safetensors"},
        {"data": "/etc/passwd"},
        {"data": 7},
        {"rows": 7},
        {"rows": [7]},
        {"rows": [{"path": "x", "fingerprint": 3, "checksum": 3}]},
        {"rows": [{"path": "x", "fingerprint": "3", "checksum": "3"}]},
        {"version": 2},
        {"columns": None},
        {"rows": None},
    ],
    ids=str,
)
def test_a_forged_index_is_not_believed(claims, make_run, read, tmp_path):
    run = make_run().write(1, 2)
    read(run)
    kept_before = run.path(1).read_bytes()
    forged(tmp_path, **claims)
    assert "the old one cannot be used: the index cannot be read" in read(run)
    assert run.path(1).read_bytes() == kept_before
    assert "were read from the history" in read(run)


def test_nesting_without_end_is_no_index(make_run, read, tmp_path):
    run = make_run().write(1, 2)
    read(run)
    (tmp_path / "history/history.json").write_text("[" * 200_000)
    assert "the index cannot be read" in read(run)


def link(path, target):
    path.unlink()
    path.symlink_to(target)


def pipe(path, _):
    path.unlink()
    os.mkfifo(path)


def folder(path, _):
    path.unlink()
    path.mkdir()


def shorter(path, _):
    os.truncate(path, 5)


def gone(path, _):
    path.unlink()


@pytest.mark.parametrize("damage", [link, pipe, folder, shorter, gone])
def test_weights_that_are_something_else_are_not_read(damage, make_run, read, tmp_path):
    run = make_run().write(1, 2)
    read(run)
    other = tmp_path / "precious"
    other.write_bytes(b"precious" * 100)
    damage(data(tmp_path), other)
    run.write(3)
    read(run)
    assert other.read_bytes() == b"precious" * 100
    read(run)


@pytest.mark.parametrize("damage", [link, pipe, folder])
@pytest.mark.parametrize("name", ["history.json", "lock"])
def test_an_index_or_lock_that_is_something_else_does_no_harm(
    name, damage, make_run, read, tmp_path
):
    run = make_run().write(1, 2)
    read(run)
    other = tmp_path / "precious"
    other.write_bytes(b"precious" * 100)
    damage(tmp_path / "history" / name, other)
    assert read(run)
    assert other.read_bytes() == b"precious" * 100


def test_two_at_once_do_not_write_into_one_history(make_run, read, tmp_path):
    run = make_run().write(1, 2)
    with remembered(open_trajectory(run.folder), tmp_path / "history"):
        assert "another analysis is using it" in read(run)
    assert "were read from the history" in read(run)


def test_unless_always_it_keeps_what_is_small(make_run, read, tmp_path, monkeypatch):
    run = make_run(100).write(1, 2)
    monkeypatch.setattr(kept, "MOST_BYTES", 799)
    assert "it would take 0.0 GiB. Use --history always to keep it." in read(run, always=False)
    assert not (tmp_path / "history").exists()
    monkeypatch.setattr(kept, "MOST_BYTES", 800)
    assert read(run, always=False).startswith("Read 2 checkpoints")
    run.write(3)
    assert "it would take" in read(run, always=False)
    assert read(run, always=True).startswith("Read 1 new checkpoint; 2 from")


def test_a_full_disk_costs_the_history_alone(make_run, read, tmp_path):
    import resource

    run = make_run(1000).write(1, 2)
    read(run)
    run.write(3)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (9000, limits[1]))
        assert read(run).startswith("No history is kept in")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert read(run).startswith("Read 1 new checkpoint; 2 from")


def test_a_store_has_no_history(make_run, read, tmp_path):
    from trajscope.packing import pack

    run = make_run().write(1, 2)
    run.folder = pack(run.folder, tmp_path / "run.zarr")
    assert "changes of these checkpoints cannot be detected" in read(run)
    assert "changes of these checkpoints cannot be detected" in read(run, always=False)
