"""Analysing a run again from the command line, after more checkpoints came."""

import json
import os

import numpy as np
import pytest

from tests.cli.running import write_run
from tests.history.conftest import Run

pytestmark = pytest.mark.slow  # processes, problems, pages: seconds each


@pytest.fixture
def grows(tmp_path):
    return Run(tmp_path / "grows", 40, np.float32).write(*range(12))


def summary(folder):
    told = json.loads((folder / "summary.json").read_text())
    return {part: told[part] for part in ("observables", "tests", "verdict", "trajectory")}


def test_nothing_is_kept_unless_it_is_asked_for(trajscope, grows, out):
    done = trajscope("analyze", grows.folder, "-o", out)
    assert "history" not in done.out
    assert not (out / "history").exists()


@pytest.mark.parametrize("choice", ["auto", pytest.param("always", marks=pytest.mark.slow)])
def test_a_second_analysis_reads_only_what_is_new(choice, trajscope, grows, out, tmp_path):
    first = trajscope("analyze", grows.folder, "-o", out, "--history", choice)
    assert f"Read 12 checkpoints; 12 are kept in the history in {out}/history." in first.out
    grows.write(*range(12, 15))
    trajscope("analyze", grows.folder, "-o", tmp_path / "scratch")
    second = trajscope("analyze", grows.folder, "-o", out, "--history", choice)
    assert f"\nRead 3 new checkpoints; 12 from the history in {out}/history.\n" in second.out
    assert summary(out) == summary(tmp_path / "scratch")
    third = trajscope("analyze", grows.folder, "-o", out, "--history", choice, "--quiet")
    assert (third.code, third.out, third.err) == (0, "", "")
    assert summary(out) == summary(tmp_path / "scratch")


def test_a_history_in_the_way_does_not_stop_an_analysis(trajscope, grows, out):
    out.mkdir()
    os.mkfifo(out / "history")
    done = trajscope("analyze", grows.folder, "-o", out, "--history", "always")
    assert done.code == 0
    assert f"No history is kept in {out}/history: " in done.out


def test_a_report_and_its_history_beside_the_checkpoints_are_not_taken_for_any(trajscope, tmp_path):
    write_run(tmp_path / "run")
    command = ("analyze", tmp_path / "run", "-o", tmp_path / "run/report", "--history", "always")
    trajscope(*command)
    done = trajscope(*command)
    assert "Found     12 checkpoints" in done.out
