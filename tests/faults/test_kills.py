"""Processes that are killed while they write a report, and what the next call makes of it."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.cli.running import COMMAND, in_process, write_run
from tests.trajectories import brownian
from trajscope import TrajscopeWarning, analyze, open_results, write_report
from trajscope.report.files.completeness import mark_of
from trajscope.report.files.marks import of_another_result

pytestmark = pytest.mark.slow

KILLED = """
import os, signal, sys
from pathlib import Path
from trajscope import open_results
from trajscope.report.files import write

write._renderer = lambda _: lambda _: "<html><head></head></html>"
left, rename = int(sys.argv[3]), Path.replace

def counted(self, target):
    global left
    if Path(target).parent == Path(sys.argv[2]):  # not within the store
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
    return rename(self, target)

Path.replace = counted
write.write_report(open_results(sys.argv[1]), sys.argv[2])
"""


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="module")
def results():
    return [analyze(brownian(20, 30, seed), n_surrogates=19, alpha=0.1) for seed in range(2)]


@pytest.mark.parametrize(
    "done",  # renames: of the page, of the summary, of the old store out of the way, of the new one
    [0, pytest.param(1, marks=pytest.mark.slice), 2, 3],
)
def test_a_report_of_which_some_files_are_older_is_told_of_and_made_whole(done, results, tmp_path):
    old, new = tmp_path / "out", tmp_path / "new"
    for each, folder in zip(results, (old, new), strict=True):
        write_report(each, folder)
    killed = [sys.executable, "-c", KILLED, new / "results.zarr", old, str(done)]
    assert subprocess.run(killed, check=False).returncode == -signal.SIGKILL
    stale = ["summary.json", "report.html"][2 - min(done, 2) :]
    if stale:
        with pytest.warns(TrajscopeWarning, match="of another analysis") as told:
            there = open_results(old / "results.zarr").load()
        assert all(name in str(told[0].message) for name in stale)
    else:
        there = open_results(old / "results.zarr").load()
    assert there.attrs["created"] == results[0].attrs["created"]  # put back where it was set aside
    write_report(there, old)
    assert of_another_result(old, mark_of(old / "results.zarr")) == []
    assert names_in(old) == ["report.html", "results.zarr", "summary.json"]


def test_the_command_says_what_it_writes_again(results, tmp_path):
    write_report(results[0], tmp_path)
    killed = [sys.executable, "-c", KILLED, tmp_path / "results.zarr", tmp_path / "other", "9"]
    subprocess.run(killed, check=True)
    page = (tmp_path / "report.html").read_text()
    other = write_report(results[1], tmp_path / "other").read_text()
    (tmp_path / "report.html").write_text(other)
    done = in_process("report", tmp_path / "results.zarr")
    assert done.code == 0
    assert "Of another analysis, and written again: report.html\n" in done.out
    assert (tmp_path / "report.html").read_text() == page
    assert "written again" not in in_process("report", tmp_path / "results.zarr").out


def test_two_analyses_of_one_output_do_not_meet(tmp_path):
    write_run(tmp_path / "run")
    out = tmp_path / "out"
    arguments = ["analyze", tmp_path / "run", "-o", out]
    with subprocess.Popen([COMMAND, *map(str, arguments)], stdout=subprocess.PIPE) as first:
        first.stdout.readline()  # it has begun
        os.kill(first.pid, signal.SIGSTOP)
        for command in (arguments, ["report", out / "results.zarr"]):
            second = in_process(*command)
            assert second.code == 2
        second = in_process(*arguments)
        assert re.fullmatch(
            rf"Error: Another trajscope is writing to {out}\. Wait until it has finished, or "
            r"choose another folder with --output\.\n",
            second.err,
        )
        os.kill(first.pid, signal.SIGCONT)
        first.communicate()
    assert first.returncode == 0
    assert in_process(*arguments, "--quiet") == (0, "", "")


def test_a_result_survives_twenty_kills_at_random_moments(results, tmp_path):
    """Whatever is there afterwards is whole: the old result or the new, and no debris for long."""
    write_run(tmp_path / "run")
    out = tmp_path / "out"
    command = [COMMAND, "analyze", tmp_path / "run", "-o", out, "--quiet"]
    begun = time.monotonic()
    subprocess.run(command, check=True)
    took = time.monotonic() - begun
    for share in np.random.default_rng(0).uniform(0.5, 1, 20):
        with subprocess.Popen(command) as process:
            time.sleep(share * took)
            process.kill()
        if not (out / "results.zarr").exists():
            assert [name for name in names_in(out) if name.startswith(".results.zarr.old-")]
        open_whole(out)
    subprocess.run(command, check=True)
    assert names_in(out) == ["report.html", "results.zarr", "summary.json"]
    with Path(out, "summary.json").open() as file:
        assert json.load(file)["result"] == mark_of(out / "results.zarr")


def open_whole(out):
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TrajscopeWarning)
        found = open_results(out / "results.zarr").load()
    assert found["trajectory"].sizes["step"] == 12
