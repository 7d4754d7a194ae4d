"""A watcher that is killed while a run grows and is rotated, and started again each time."""

import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from trajscope import save_checkpoint
from trajscope.analysis.watch import Watcher

pytestmark = pytest.mark.slow

LOOKING = """
import sys
from pathlib import Path
from trajscope.analysis.watch import Watcher

while True:
    watcher = Watcher(sys.argv[1], Path(sys.argv[2]), {})
    watcher._decide = lambda: None
    print(flush=True)
    for _ in range(20):
        for _ in watcher.look():
            pass
"""


def rotate(folder):
    """Delete what the watcher has seen, but for three."""
    log = folder / "out/watched/log.json"
    if log.exists():
        for row in json.loads(log.read_bytes())["rows"][:-3]:
            (folder / f"run/step-{row['step']:.0f}.safetensors").unlink(missing_ok=True)


@pytest.mark.parametrize("kills", [pytest.param(2, marks=pytest.mark.slice), 20])
def test_numbers_are_those_of_a_watcher_that_was_never_killed(kills, tmp_path):
    walk = np.random.default_rng(0).normal(size=(20 * kills, 3000)).cumsum(axis=0)
    moments = np.random.default_rng(1).uniform(0, 0.4, kills)
    written = 0
    for moment in moments:
        with subprocess.Popen(
            [sys.executable, "-c", LOOKING, tmp_path / "run", tmp_path / "out"],
            stdout=subprocess.PIPE,
        ) as process:
            process.stdout.readline()  # it looks
            end = time.monotonic() + moment
            while written < len(walk) and (time.monotonic() < end or written < 2):
                path = save_checkpoint(tmp_path / "run", {"w": walk[written]}, step=written)
                os.utime(path, (1_600_000_000 + written,) * 2)
                written += 1
                rotate(tmp_path)
                time.sleep(0.005)
            process.kill()
    *_, state = Watcher(tmp_path / "run", tmp_path / "out", {}).look()
    rows = state["step"].values.astype(int)
    np.testing.assert_array_equal(rows, np.arange(written))
    moved = np.linalg.norm(np.diff(walk[:written], axis=0), axis=1)
    np.testing.assert_allclose(state["increment"][1:], moved, rtol=1e-12)
    far = np.linalg.norm(walk[:written] - walk[0], axis=1)
    np.testing.assert_allclose(state["displacement"], far, rtol=1e-12)
    assert not state["estimated"].any()
    assert sorted(path.suffix for path in (tmp_path / "out/watched").iterdir()) == [
        ".json", ".raw", ".raw", ".raw",
    ]  # fmt: skip
