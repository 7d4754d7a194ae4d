"""Hashes in the names of checkpoints, another in every one."""

import hashlib

import numpy as np
import pytest
from safetensors.numpy import save_file

from trajscope import TrajectoryError, open_trajectory

STEPS = [0, 10, 20, 100, 110, 1000]


def digest(number, length, *, capital=False):
    text = hashlib.sha1(str(number).encode()).hexdigest()[:length]
    return text.upper() if capital else text


def write(folder, names):
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(names):
        path = folder / f"{name}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({"w": np.full((2, 2), number, np.float32)}, path)


def opened(folder, **options):
    run = open_trajectory(folder, **options)
    return run["step"].values.tolist(), run["weights"].values[:, 0].tolist()


@pytest.mark.parametrize("capital", [False, True])
@pytest.mark.parametrize("length", [6, 7, 8, 12])
@pytest.mark.parametrize("layout", ["ckpt_{0:04d}_{1}", "{1}-{0}", "step{0}.{1}"])
def test_steps_are_read_beside_hashes(layout, length, capital, tmp_path):
    names = [layout.format(step, digest(step, length, capital=capital)) for step in STEPS]
    write(tmp_path / "run", names)
    assert opened(tmp_path / "run") == (STEPS, list(range(6)))


def test_a_run_among_others_is_chosen_by_its_name(tmp_path):
    for run in ("a", "b"):
        write(tmp_path / "runs", [f"{run}/ckpt_{step}_{digest(step, 8)}" for step in STEPS])
    assert opened(tmp_path / "runs", run="a") == (STEPS, list(range(6)))


@pytest.mark.parametrize(
    ("layout", "steps"),
    [
        ("ba{0}", [1000, 2000, 3000, 4000]),  # batches, in hexadecimal digits
        ("ep1-ba{0}", [100000, 200000, 300000, 400000]),
        ("e{0}", [100000, 200000, 300000, 400000]),
        ("step_{0}b", [1000000, 2000000, 3000000, 4000000]),
        ("ckpt_{0}", [123456, 234567, 345678, 456789]),
    ],
)
def test_words_of_hexadecimal_digits_that_count_still_do(layout, steps, tmp_path):
    write(tmp_path / "run", [layout.format(step) for step in steps])
    found, _ = opened(tmp_path / "run")
    assert [step / found[0] for step in found] == [step / steps[0] for step in steps]


def test_folders_called_by_hashes_are_runs_however_many_files_they_hold(tmp_path):
    write(tmp_path / "sweep", [f"{digest(step, 8)}/step_{step}" for step in STEPS])
    with pytest.raises(TrajectoryError, match="holds 6 runs"):
        open_trajectory(tmp_path / "sweep")


def test_files_of_the_same_step_are_runs_called_by_their_hashes(tmp_path):
    write(tmp_path / "sweep", [f"{digest(run, 8)}_step_{10 * (run // 2)}" for run in range(8)])
    with pytest.raises(TrajectoryError, match="runs; one is expected"):
        open_trajectory(tmp_path / "sweep")


def test_checkpoints_that_are_folders_may_have_hashes(tmp_path):
    write(tmp_path / "run", [f"checkpoint-{step}-{digest(step, 8)}/model" for step in STEPS])
    assert opened(tmp_path / "run") == (STEPS, list(range(6)))


def test_branches_named_by_commits_are_still_runs(tmp_path):
    write(
        tmp_path / "runs",
        [f"{digest(commit, 8)}/step_{step}" for commit in range(3) for step in STEPS],
    )
    steps, _ = opened(tmp_path / "runs", run=digest(1, 8))
    assert steps == STEPS
