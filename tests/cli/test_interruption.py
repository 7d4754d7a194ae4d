import os
import signal
import subprocess
import time

import pytest

from tests.cli.running import COMMAND, in_process, interruptible, write_large_run, write_run
from trajscope import open_results

pytestmark = pytest.mark.slow  # processes, problems, pages: seconds each


def start(*arguments):
    """The command as a terminal starts it: a group of its own, which an interrupt goes to."""
    return interruptible(
        [COMMAND, *map(str, arguments)], stderr=subprocess.PIPE, start_new_session=True
    )


def until_it_reads(process, seconds):
    for line in process.stdout:
        if line == "\n":  # what was found has been told
            break
    time.sleep(seconds)  # workers take some to start


SIGNALS = {
    "an interrupt": (signal.SIGINT, 130, "Aborted!\n"),
    "a termination": (signal.SIGTERM, 143, "Terminated: what was unfinished is removed.\n"),
}


@pytest.mark.parametrize(
    ("kind", "workers"),
    [
        pytest.param("an interrupt", 0, marks=pytest.mark.slice),
        pytest.param("a termination", 0, marks=pytest.mark.slice),
        ("an interrupt", 2),
        ("a termination", 2),
    ],
)
def test_a_signal_during_the_pass_ends_at_once_and_leaves_nothing(kind, workers, tmp_path):
    write_large_run(tmp_path / "run", 300, 20_000_000)
    number, code, words = SIGNALS[kind]
    options = ("--workers", workers) if workers else ()
    with start("analyze", tmp_path / "run", "-o", tmp_path / "out", *options) as process:
        until_it_reads(process, 8 if workers else 1)
        # A terminal sends an interrupt to all processes, a batch system ends the first.
        if number == signal.SIGINT:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        _, errors = process.communicate(timeout=20)  # the pass takes minutes
    assert process.returncode == code
    assert errors == words
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def stop_while_writing(how, arguments, out):
    """Send a signal as soon as the store is being written, and say whether it came in time."""
    with start(*arguments) as process:
        while process.poll() is None:
            if any(path.is_dir() for path in out.glob(".tmp-*")):
                os.killpg(process.pid, how)
                break
        process.communicate(timeout=60)
    return process.returncode != 0


@pytest.mark.parametrize(
    "how", [signal.SIGINT, signal.SIGTERM, pytest.param(signal.SIGKILL, marks=pytest.mark.slow)]
)
def test_no_half_result_is_left_when_writing_is_stopped(tmp_path, how):
    write_run(tmp_path / "run")
    out = tmp_path / "out"
    out.mkdir()
    arguments = ("analyze", tmp_path / "run", "-o", out)
    stopped = stop_while_writing(how, arguments, out)
    whole = set() if stopped else {"report.html", "summary.json", "results.zarr"}
    assert {path.name for path in out.iterdir() if path.name[0] != "."} == whole
    if how != signal.SIGKILL:
        assert [path for path in out.iterdir() if path.name[0] == "."] == []
    assert in_process(*arguments, "--quiet") == (0, "", "")
    assert in_process("report", out / "results.zarr", "--quiet") == (0, "", "")


@pytest.mark.parametrize(
    "how", [signal.SIGINT, pytest.param(signal.SIGKILL, marks=pytest.mark.slow)]
)
def test_an_earlier_result_outlives_one_that_is_stopped(tmp_path, how):
    write_run(tmp_path / "run")
    out = tmp_path / "out"
    arguments = ("analyze", tmp_path / "run", "-o", out)
    assert in_process(*arguments, "--quiet").code == 0
    before = open_results(out / "results.zarr").load()
    stopped = stop_while_writing(how, (*arguments, "--burn-in", "4"), out)
    after = open_results(out / "results.zarr").load()
    assert after.identical(before) is stopped
    assert after["trajectory"].sizes["step"] == (12 if stopped else 8)
    names = {path.name for path in out.iterdir() if path.name[0] != "." or how == signal.SIGINT}
    assert names == {"report.html", "summary.json", "results.zarr"}
