import json
import resource

import numpy as np
import pytest
from simulated_results import TENSORS, brownian, make_results

from trajscope.errors import ResultsError
from trajscope.report import summary, trajectory_summary, write_summary


def strict(path):
    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(path.read_text(), parse_constant=refuse)


def test_the_keys_are_the_documented_ones(results):
    told = summary(results)
    assert list(told) == [
        "trajscope", "trajectory", "audit", "observables", "tests", "verdict", "phases",
        "layers", "diffusion", "dynamics", "spectra",
    ]  # fmt: skip
    assert list(told["trajectory"]) == [
        "checkpoints", "steps", "step_unit", "step_source", "weights", "tensors", "left_out",
        "skipped", "run",
    ]  # fmt: skip
    assert (told["tests"], told["verdict"], told["diffusion"]) == ({}, None, None)
    assert list(told["observables"]) == [
        "diffusion_exponent", "path_length", "displacement", "increment_rms",
        "zero_increment_fraction", "rounding_floor", "norm_first", "norm_last", "norm_balance",
        "relative_increment", "rotation_angle", "rotation_angle_equilibrium",
        "cosine_first_last", "river_window",
        "river_share", "river_share_walk", "river_cosine", "river_cosine_walk",
        "hill_energy_ratio", "river_speed_ratio", "phase_area", "phase_area_p",
        "weights_never_moving",
        *(f"explained_variance_{k}" for k in range(1, 11)),
    ]  # fmt: skip


def test_the_numbers_are_those_of_the_trajectory():
    x = brownian(30, 100)
    x[:, :7] = 1.0
    told = summary(make_results(x))["observables"]
    increments = np.diff(x, axis=0)
    assert told["displacement"] == pytest.approx(np.linalg.norm(x[-1] - x[0]))
    assert told["path_length"] == pytest.approx(np.linalg.norm(increments, axis=1).sum())
    assert told["increment_rms"] == pytest.approx(np.sqrt(np.mean(increments**2)))
    assert told["weights_never_moving"] == 7
    assert (told["norm_first"], told["norm_last"]) == pytest.approx(
        (np.linalg.norm(x[0]), np.linalg.norm(x[-1]))
    )
    ends = np.linalg.norm(x[0]) * np.linalg.norm(x[-1])
    assert told["cosine_first_last"] == pytest.approx(x[0] @ x[-1] / ends)
    assert told["zero_increment_fraction"] == pytest.approx(0.07)
    shares = [told[f"explained_variance_{k}"] for k in range(1, 11)]
    assert shares == sorted(shares, reverse=True)


def test_whole_steps_are_integers_and_others_stay_as_they_are(results):
    steps = summary(results)["trajectory"]["steps"]
    assert steps[:2] == [1000, 1100]
    assert all(isinstance(step, int) for step in steps)
    halves = make_results(brownian(4, 100), steps=[0.5, 1.0, 1.5, 2.0])
    assert summary(halves)["trajectory"]["steps"] == [0.5, 1, 1.5, 2]


def test_what_could_not_be_measured_is_null_and_the_file_is_strict_json(tmp_path):
    frozen = make_results(np.ones((12, 100)))
    told = strict(write_summary(frozen, tmp_path / "summary.json"))
    assert told["observables"]["diffusion_exponent"] is None
    assert told["trajectory"]["tensors"] == list(TENSORS)


def test_an_observable_that_a_result_does_not_hold_is_null(results):
    bare = results.copy()
    bare["observables"] = bare["observables"].to_dataset().drop_vars("rounding_floor")
    assert summary(bare)["observables"]["rounding_floor"] is None


def test_names_that_are_no_utf8_are_written_as_escapes(tmp_path):
    hostile = make_results(brownian(4, 100))
    hostile["trajectory"].attrs["skipped"] = [{"path": "half\udcff", "reason": "unreadable"}]
    told = strict(write_summary(hostile, tmp_path / "summary.json"))
    assert told["trajectory"]["skipped"] == [{"path": "half\\udcff", "reason": "unreadable"}]


def test_a_failed_write_keeps_the_old_summary(results, tmp_path):
    path = write_summary(results, tmp_path / "summary.json")
    before = path.read_bytes()

    most, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))  # Python ignores the signal
    try:
        with pytest.raises(ResultsError, match="cannot be written: File too large"):
            write_summary(results, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["summary.json"]


def test_an_opened_trajectory_is_summarised_as_its_part_of_the_result(results):
    part = results["trajectory"].to_dataset()
    assert trajectory_summary(part) == summary(results)["trajectory"]
