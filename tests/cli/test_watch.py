"""The command that looks at a run until it is interrupted."""

import json
import os
import signal
import subprocess
import time
import urllib.request
from contextlib import contextmanager

import numpy as np
import pytest

from tests.cli.running import COMMAND, in_process, interruptible, write_run
from trajscope import save_checkpoint

pytestmark = pytest.mark.slow  # processes that wait


def settled(folder):
    for path in folder.rglob("*"):
        os.utime(path, (path.stat().st_mtime - 60,) * 2)


@contextmanager
def running(command, **how):
    """A process that is no longer there after a test that failed, either."""
    with interruptible(command, **how) as process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise


def until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_the_example_shows_each_new_checkpoint_and_ends_in_a_word(tmp_path):
    folder = tmp_path / "runs/resnet18/checkpoints"
    for step in range(9):
        weights = np.random.default_rng(step).normal(size=(9, 30))
        save_checkpoint(folder, {"fc.weight": weights}, step=step)
    settled(folder)
    page = tmp_path / "trajscope-watch/watch.html"
    with running(
        [COMMAND, "watch", "runs/resnet18/checkpoints", "--interval", "1"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
    ) as process:
        until(lambda: page.exists() and "9 checkpoints, each once" in page.read_text())
        save_checkpoint(folder, {"fc.weight": np.full((9, 30), np.nan)}, step=9)
        settled(folder)
        out = ""
        while "NaN or infinity" not in out or not out.rstrip().endswith("watch.html"):
            out += process.stdout.readline()  # the page is written before the screen
        assert "NaN or infinity" in page.read_text()
        process.send_signal(signal.SIGINT)
        rest, err = process.communicate()
        out += rest
    assert (process.returncode, err) == (130, "Aborted!\n")
    assert "NaN or infinity  step 9: 270 weights are NaN or infinite" in out
    assert out.rstrip().endswith("page             trajscope-watch/watch.html")
    assert sorted(path.name for path in page.parent.iterdir()) == ["watch.html", "watched"]


def test_a_change_is_a_line_of_json_where_that_is_asked(tmp_path):
    write_run(tmp_path / "run")
    settled(tmp_path / "run")
    arguments = ["watch", tmp_path / "run", "-o", tmp_path / "out", "--json", "--interval", "1"]
    with running([COMMAND, *map(str, arguments)]) as process:
        lines = [json.loads(process.stdout.readline())]
        while lines[-1]["checkpoints"] < 12:
            lines.append(json.loads(process.stdout.readline()))
        process.send_signal(signal.SIGINT)
    assert lines[-1]["last_step"] == 110
    assert lines[-1]["alarms"] == []
    assert lines[-1]["page"] == str(tmp_path / "out" / "watch.html")


def test_the_page_is_served_on_request_and_an_output_is_held(tmp_path):
    write_run(tmp_path / "run")
    settled(tmp_path / "run")
    arguments = ["watch", tmp_path / "run", "-o", tmp_path / "out", "--serve", "127.0.0.1:0"]
    with running([COMMAND, *map(str, arguments)]) as process:
        for line in process.stdout:
            if line.startswith("page"):
                break
        with urllib.request.urlopen(line.split()[1]) as answer:
            assert "12 checkpoints, each once" in answer.read().decode()
        second = in_process(*arguments)
        assert second.code == 2
        assert second.err.startswith("Error: Another trajscope is writing to")
        process.terminate()
    assert process.returncode == 143


def test_json_is_one_line_for_each_state(tmp_path):
    write_run(tmp_path / "run")
    settled(tmp_path / "run")
    arguments = ["watch", tmp_path / "run", "-o", tmp_path / "out", "--json"]
    with running([COMMAND, *map(str, arguments)]) as process:
        told = json.loads(process.stdout.readline())
        process.terminate()
    assert told["page"].endswith("watch.html")
    assert told["alarms"] == []
    assert (told["code"], told["last_step"]) == ("too_short", 110)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--serve", "0.0.0.0:80"], "--serve 0.0.0.0:80 is invalid: 127.0.0.1:PORT is expected"),
        (["--interval", "0"], "Invalid value for '--interval'"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(options, words, tmp_path):
    write_run(tmp_path / "run")
    done = in_process("watch", tmp_path / "run", "-o", tmp_path / "out", *options)
    assert done.code == 2
    assert words in done.err
    assert not (tmp_path / "out").exists()
