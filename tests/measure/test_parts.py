"""Parts of a pass that are kept: what is taken up, to the last bit, and what is not believed."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from trajscope import save_checkpoint
from trajscope.analysis.run import analyze
from trajscope.measure import parts
from trajscope.measure.executor import executor
from trajscope.measure.measurement import measure
from trajscope.trajectory import open_trajectory

N_STEPS, N_WEIGHTS = 40, 220_000


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    rng = np.random.default_rng(0)
    weights = np.zeros(N_WEIGHTS, np.float32)
    for step in range(N_STEPS):
        weights += rng.standard_normal(N_WEIGHTS, np.float32)
        tensors = {
            "a.weight": weights[:90_000],
            "b.weight": weights[90_000:],
            "b.bias": weights[:5],
        }
        save_checkpoint(folder, {name: each.copy() for name, each in tensors.items()}, step=step)
    return folder


@pytest.fixture(autouse=True)
def small_tasks(monkeypatch):
    """Chunks of three tasks of some 12,000 weights; every part is written at once."""
    monkeypatch.setattr("trajscope.measure.room._BLOCK_BYTES", 1)
    monkeypatch.setattr("trajscope.measure.plan.CHUNK_TASKS", 3)
    monkeypatch.setattr("trajscope.measure.plan.MIB", 1 << 13)
    monkeypatch.setattr("trajscope.measure.stream._TASKS_PER_WORKER", 1)
    monkeypatch.setattr(parts, "_SHARE", 0)


def measured(run, folder=None, *, memory=1 << 31, seen=None, **options):
    def progress(done, total):
        if seen is not None:
            seen.append((done, total))

    with executor(None, None) as running:
        return measure(
            open_trajectory(run), running, memory=memory, seed=0, progress=progress, parts=folder,
            **options,
        )  # fmt: skip


class StopError(Exception):
    pass


def stopped(run, folder, after, **options):
    """A pass that ends after so many tasks."""

    def progress(done, total):
        if done >= after:
            raise StopError

    with executor(None, None) as running, pytest.raises(StopError):
        measure(
            open_trajectory(run), running, memory=1 << 31, seed=0, progress=progress, parts=folder,
            **options,
        )  # fmt: skip


def assert_same_bits(one, other):
    for a, b in zip(one, other, strict=True):
        assert a.reductions.identical(b.reductions)
        assert a.observables.identical(b.observables)
        for x, y in zip(a.factors, b.factors, strict=True):
            assert x.tobytes() == y.tobytes()
        if a.evidence is not None:
            trace, same = a.evidence.trace, b.evidence.trace
            np.testing.assert_array_equal(trace.checks, same.checks)
            np.testing.assert_array_equal(trace.bits, same.bits)
            np.testing.assert_array_equal(trace.changed, same.changed)
            assert trace.n_units == same.n_units
            assert trace.returned.keys() == same.returned.keys()


def part_files(folder):
    return sorted(folder.glob("*/part-*"))


@pytest.mark.parametrize("after", [1, 7, 13])
@pytest.mark.parametrize("windows", [(), ((0, 15), (10, 40))])
def test_a_pass_goes_on_from_its_parts_to_the_same_bits(after, windows, run, tmp_path):
    stopped(run, tmp_path, after, windows=windows)
    n_kept = len(part_files(tmp_path))
    seen = []
    found = measured(run, tmp_path, windows=windows, seen=seen)
    assert_same_bits(found, measured(run, windows=windows))
    assert seen[0][0] == 3 * n_kept
    assert (after > 3) == bool(n_kept)


def test_a_finished_pass_reads_nothing_again(run, tmp_path):
    first = measured(run, tmp_path)
    seen = []
    assert_same_bits(measured(run, tmp_path, seen=seen), first)
    assert {done for done, _ in seen} == {seen[0][1]}


def flipped(path):
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)


def cut(path):
    path.write_bytes(path.read_bytes()[:-8])


def emptied(path):
    path.write_bytes(b"")


def linked(path):
    path.unlink()
    path.symlink_to("/dev/zero")


def piped(path):
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("damage", [flipped, cut, emptied, linked, piped])
def test_a_part_that_is_damaged_is_made_again(damage, run, tmp_path):
    stopped(run, tmp_path, 13)
    assert len(part_files(tmp_path)) >= 3
    damage(part_files(tmp_path)[1])
    seen = []
    assert_same_bits(measured(run, tmp_path, seen=seen), measured(run))
    assert seen[0][0] == 3


def test_the_plan_of_the_killed_pass_is_taken_if_it_fits(run, tmp_path):
    stopped(run, tmp_path, 7)
    seen = []
    assert_same_bits(measured(run, tmp_path, memory=2 << 30, seen=seen), measured(run))
    assert seen[0][0] > 0


def test_another_memory_limit_that_it_does_not_fit_begins_anew(run, tmp_path):
    stopped(run, tmp_path, 7)
    (path,) = tmp_path.glob("*/size.json")
    known = json.loads(path.read_bytes())
    path.write_text(json.dumps(known | {"workers": 10_000, "memory": 1 << 40}))
    seen = []
    assert_same_bits(measured(run, tmp_path, seen=seen), measured(run))
    assert seen[0][0] == 0
    assert json.loads(path.read_bytes())["workers"] < 10_000


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"memory": -1}', '{"memory": "x"}'])
def test_a_size_that_nobody_wrote_begins_anew(text, run, tmp_path):
    stopped(run, tmp_path, 7)
    (path,) = tmp_path.glob("*/size.json")
    path.write_text(text)
    assert_same_bits(measured(run, tmp_path), measured(run))


def test_another_state_of_the_files_has_other_parts(run, tmp_path):
    stopped(run, tmp_path, 7)
    path = run / "step-5.safetensors"
    os.utime(path, (1, 1))
    seen = []
    measured(run, tmp_path, seen=seen)
    assert seen[0][0] == 0


def test_where_writing_takes_too_long_or_fails_the_pass_goes_on(run, tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "_SHARE", 1e9)
    assert_same_bits(measured(run, tmp_path), measured(run))
    assert part_files(tmp_path) == []
    (tmp_path / "file").write_text("")
    assert_same_bits(measured(run, tmp_path / "file"), measured(run))


def test_a_finished_analysis_leaves_no_parts_and_no_other_file_of_the_folder_is_touched(
    run, tmp_path
):
    (tmp_path / "mine").write_text("")
    analyze(run, resume=tmp_path, n_surrogates=199, phases="none")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    analyze(run, resume=tmp_path / "parts", n_surrogates=199, phases="none")
    assert not (tmp_path / "parts").exists()


KILLED = """
import os, signal, sys
from pathlib import Path
from trajscope.measure import parts, plan, room, stream
from trajscope.measure.executor import executor
from trajscope.measure.measurement import measure
from trajscope.trajectory import open_trajectory

room._BLOCK_BYTES, plan.CHUNK_TASKS, plan.MIB, stream._TASKS_PER_WORKER = 1, 3, 1 << 13, 1
parts._SHARE = 0
rename, left = Path.replace, 4

def counted(self, target):
    global left
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    return rename(self, target)

Path.replace = counted
with executor(None, None) as running:
    measure(open_trajectory(sys.argv[1]), running, memory=1 << 31, seed=0,
            progress=lambda *_: None, parts=Path(sys.argv[2]))
"""


def test_a_pass_that_is_killed_while_it_writes_a_part_goes_on(run, tmp_path):
    killed = [sys.executable, "-c", KILLED, run, tmp_path]
    assert subprocess.run(killed, check=False).returncode == -signal.SIGKILL
    assert len(part_files(tmp_path)) == 2
    seen = []
    assert_same_bits(measured(run, tmp_path, seen=seen), measured(run))
    assert seen[0][0] == 6
