"""The example of replicas: on a made-up IDX folder, and its statistic on known processes."""

import importlib.util
import subprocess
import sys

import numpy as np
import pytest

from tests.examples.idx import EXAMPLES, write_folder


@pytest.fixture
def agreeing(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    spec = importlib.util.spec_from_file_location("replicas", EXAMPLES / "replicas.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.agreeing


def paths_of(seed, turn):
    """Ten independent paths of twenty planes from one point, (path, step, direction)."""
    rng = np.random.default_rng(seed)
    step = np.exp(-0.1 + 1j * turn)
    z = np.zeros((10, 130, 20), complex)
    for t in range(1, 130):
        noise = rng.standard_normal((2, 10, 20))
        z[:, t] = step * z[:, t - 1] + noise[0] + 1j * noise[1]
    return np.concatenate([z.real, z.imag], axis=2)


def test_areas_of_replicas_agree_where_they_turn_and_else_do_not(agreeing):
    agreement, p, cosine = agreeing(paths_of(0, 0.1))
    assert (agreement > 4, p, cosine > 0.1) == (True, 2.0**-9, True)
    still = [agreeing(paths_of(seed, 0.0))[0] for seed in range(20)]
    assert abs(np.mean(still)) < 4 / 20**0.5
    assert np.std(still) == pytest.approx(1, abs=0.5)


@pytest.mark.slow
def test_a_recipe_is_replicated_both_ways_and_told_in_a_table(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (5000, 28, 28), dtype=np.uint8)
    write_folder(tmp_path / "data", images, (np.arange(5000) % 10).astype(np.uint8), packed=True)
    done = subprocess.run(
        [sys.executable, EXAMPLES / "replicas.py", "--recipe", "softmax, SGD", "--replicas", "4"],
        cwd=tmp_path, env={"MNIST_DIR": "data", "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [row.split("|")[2].strip() for row in done.stdout.splitlines()] == [
        "batches", "---", "by epochs", "with replacement",
    ]  # fmt: skip
