"""The example of ordinary recipes on a made-up IDX folder."""

import json
import subprocess
import sys

import numpy as np
import pytest

from tests.examples.idx import EXAMPLES, write_folder


@pytest.mark.slow
def test_a_recipe_is_trained_both_ways_and_told_in_a_table(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (5000, 28, 28), dtype=np.uint8)
    write_folder(tmp_path / "data", images, (np.arange(5000) % 10).astype(np.uint8), packed=True)
    command = [
        sys.executable, "-W", "ignore", EXAMPLES / "ordinary_runs.py", "--out", "runs",
        "--recipe", "softmax, SGD", "--seeds", "1", "--surrogates", "199",
    ]  # fmt: skip
    done = subprocess.run(
        command, cwd=tmp_path, env={"MNIST_DIR": "data", "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = done.stdout.splitlines()
    assert len(rows) == 4
    assert "| by epochs |" in rows[2]
    assert "| with replacement |" in rows[3]
    told = json.loads((tmp_path / "runs" / "table.json").read_text())
    assert [row["replaced"] for row in told] == [False, True]
    assert {"code", "noise", "course", "rest", "unseen"} <= set(told[0])
    assert list((tmp_path / "runs").iterdir()) == [tmp_path / "runs" / "table.json"]
