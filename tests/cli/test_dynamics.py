"""The test of the theory on the command line: numbers, and every refusal with its code."""

import json

import numpy as np
import pytest

from tests.theory.problems import SETTINGS, quadratic, run_of
from trajscope import open_results, save_checkpoint

pytestmark = pytest.mark.slow  # processes, problems, pages: seconds each

PROBLEM = """
from tests.theory.problems import problem_of, quadratic


def make_problem():
    return problem_of(quadratic())
"""
GIVEN = {
    "--lr": 0.1, "--batch-size": 5, "--momentum": 0, "--sampling": "replacement",
}  # fmt: skip
QUICK = (
    "--surrogates",
    "99",
    "--alpha",
    "0.05",
    "--at",
    "100%",
    "--every",
    "0",
    "--phases",
    "none",
)


def written(folder, run):
    for step, row in zip(run["step"].values, run.values, strict=True):
        save_checkpoint(folder, {"x": row.astype(np.float32)}, step=int(step))
    return folder


@pytest.fixture(scope="module")
def problem(tmp_path_factory):
    path = tmp_path_factory.mktemp("problem") / "problem.py"
    path.write_text(PROBLEM)
    return f"{path}:make_problem"


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    return written(
        tmp_path_factory.mktemp("run"), run_of(quadratic(), SETTINGS["plain"], n_steps=200)
    )


def analyzed(trajscope, folder, problem, out, changes=None, *more):
    given = GIVEN | (changes or {})
    options = [str(part) for pair in given.items() if pair[1] is not None for part in pair]
    done = trajscope("analyze", folder, "--problem", problem, *QUICK, *options, *more, "-o", out)
    assert (done.code, done.err) == (0, "")
    return done.out, json.loads((out / "summary.json").read_text())["dynamics"]


@pytest.mark.slice
def test_a_run_that_obeys_the_theory_is_told_to(trajscope, checkpoints, problem, out):
    screen, told = analyzed(trajscope, checkpoints, problem, out)
    assert "Does the theory hold here?" in screen
    assert "the variance of the weights is" in " ".join(screen.split())
    low, high = told["volume_ratio_interval"]
    assert low < 1 < high
    assert low < told["volume_ratio"] < high
    assert [each["code"] for each in told["guards"]][-1] == "single_run_free_energy"
    page = (out / "report.html").read_text()
    assert "Does the theory hold here?" in page
    assert "single_run_free_energy" in page
    results = open_results(out / "results.zarr")
    assert results["dynamics"]["projection"].dims == ("step", "direction")
    assert "projection" not in results["reductions"]


def test_without_a_problem_there_is_what_needs_none(trajscope, checkpoints, out):
    done = trajscope(
        "analyze", checkpoints, "--lr", 0.1, "--batch-size", 5, "--momentum", 0, "--sampling",
        "replacement", "--phases", "none", "--alpha", "0.05", "--surrogates", 99, "-o", out,
    )  # fmt: skip
    assert (done.code, done.err) == (0, "")
    told = json.loads((out / "summary.json").read_text())["dynamics"]
    assert told["guards"][0]["code"] == "problem_missing"
    assert told["volume_ratio"] is None
    assert 0 < told["p_reversible"] <= 1
    curvatures = told["unpredicted"]
    page = (out / "report.html").read_text()
    for text in (page, " ".join(done.out.split())):
        assert "that looks the same backwards" in text
        assert "Curvature of the potential Phi along principal directions 1" in text
        assert "problem_missing" in text
    for low, value, high in zip(
        *(curvatures[f"potential_curvature{end}"] for end in ("_low", "", "_high")), strict=True
    ):
        assert low < value < high


def test_without_any_setting_there_is_no_section(trajscope, run, out):
    done = trajscope("analyze", run, "--momentum", "0.9", "-o", out)
    assert done.code == 0
    assert json.loads((out / "summary.json").read_text())["dynamics"] is None
