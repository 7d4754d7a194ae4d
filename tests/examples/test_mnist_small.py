"""The MNIST examples with a diffusion matrix, on a made-up, tiny IDX folder."""

import importlib
import json
import re
import subprocess
import sys

import numpy as np
import pytest

from tests.examples.idx import EXAMPLES, write_folder

NETWORKS = [
    ("mnist_small_lenet", "small_lenet", 13_338),
    ("mnist_small_fc", "small_fc", 3_978),
    ("mnist_small_fc", "deep_fc", 8_266),
]


@pytest.fixture
def digits(tmp_path):
    """A folder of random images with the labels 0, 1, ..., 9, 0, 1, ...."""
    chance = np.random.default_rng(0)
    for part, n in (("train", 1200), ("t10k", 100)):
        images = chance.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        write_folder(tmp_path / "data", images, (np.arange(n) % 10).astype(np.uint8), part=part)
    return tmp_path / "data"


def imported(name, monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    return importlib.import_module(name)


@pytest.mark.parametrize(("script", "function", "n_weights"), NETWORKS)
def test_the_networks_have_the_papers_sizes(script, function, n_weights, monkeypatch):
    network = getattr(imported(script, monkeypatch), function)()
    assert sum(weights.numel() for weights in network.parameters()) == n_weights


@pytest.mark.parametrize("script", ["mnist_small_lenet", "mnist_small_fc"])
def test_images_are_standardised_and_have_the_networks_shape(script, digits, monkeypatch):
    module = imported(script, monkeypatch)
    monkeypatch.setenv("MNIST_DIR", str(digits))
    problem = module.make_problem()
    images, labels = problem.data
    assert (len(images), labels.tolist()) == (1200, [i % 10 for i in range(1200)])
    assert float(images.mean()) == pytest.approx(0, abs=1e-5)  # float32
    assert float(images.std()) == pytest.approx(1, abs=1e-5)
    assert problem.model(images[:3]).shape == (3, 10)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "options", "name", "paper"),
    [
        ("mnist_small_fc", [], "small-fc, d = 3,978", "0.9 ± 18.5"),
        ("mnist_small_fc", ["--deep"], "deep-fc, d = 8,266", "0.9 ± 18.5"),
        ("mnist_small_lenet", [], "small-lenet, d = 13,338", "0.3 ± 2.11"),
    ],
)
def test_the_script_trains_analyzes_and_prints_the_papers_table(
    script, options, name, paper, digits, tmp_path
):
    done = subprocess.run(
        [sys.executable, EXAMPLES / f"{script}.py", "--data", digits, "--out", tmp_path / "run",
         "--epochs", "5", "--every", "5", "--samples", "50", *options],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert not done.stderr, done.stderr
    assert done.returncode == 0
    # 1,200 images in batches of 500: three steps an epoch, fifteen in all; 20% and 40% are kept.
    steps = sorted(
        int(path.stem.split("-")[1]) for path in (tmp_path / "run" / "checkpoints").iterdir()
    )
    assert steps == [0, 3, 5, 6, 10, 15]
    table = done.stdout[done.stdout.index(f"\n{name}; D from 50 of 1,200 images") :]
    rows = re.findall(r"^step (\d+) +([\d.]+) +([\d.e-]+) ± [\d.e-]+ +([\d.]+)%", table, re.M)
    found = json.loads((tmp_path / "run" / "report" / "summary.json").read_text())["diffusion"]
    assert [int(row[0]) for row in rows] == found["steps"] == [3, 6, 15]
    means = [numbers["eigenvalue_mean"] * 1e3 for numbers in found["checkpoints"]]
    assert [float(row[2]) for row in rows] == pytest.approx(means, rel=1e-2)
    assert re.search(rf"^paper +{paper} +", table, re.M)


def test_training_that_did_not_end_is_not_taken_for_a_run(digits, tmp_path, monkeypatch):
    module = imported("mnist_small_fc", monkeypatch)
    monkeypatch.setenv("MNIST_DIR", "")
    (tmp_path / "run" / "unfinished").mkdir(parents=True)
    with pytest.raises(SystemExit, match=r"unfinished holds a training that did not end\. Remove"):
        module.main(module.SMALL_FC, ["--data", str(digits), "--out", str(tmp_path / "run")])


def test_a_problem_needs_to_know_where_the_images_are(monkeypatch):
    module = imported("mnist_small_fc", monkeypatch)
    monkeypatch.delenv("MNIST_DIR", raising=False)
    with pytest.raises(SystemExit, match="in the environment variable MNIST_DIR where MNIST's"):
        module.make_problem()
