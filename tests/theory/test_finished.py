"""The theory tested on a finished result: the same numbers, other settings, clear refusals."""

from dataclasses import replace

import numpy as np
import pytest

from tests.theory.problems import SETTINGS, problem_of, quadratic, run_of
from trajscope import OptionError, analyze, dynamics, open_results
from trajscope.model.compute import Compute
from trajscope.optimizer import Optimizer
from trajscope.report.files.storage import save_results
from trajscope.theory.prepare import prepare

PLAIN = SETTINGS["plain"]


@pytest.fixture(scope="module")
def run():
    return run_of(quadratic(), PLAIN, n_steps=200)


@pytest.fixture(scope="module")
def results(run):
    tested = prepare(run, problem_of(quadratic()), PLAIN, Compute()).with_curvature(lambda *_: None)
    found = analyze(
        run, directions=tested.directions, n_surrogates=99, alpha=0.05, phases="none"
    )  # fmt: skip
    tested.add_to(found)
    return found


def test_a_finished_result_says_the_same_again(results, tmp_path):
    stored = open_results(save_results(results, tmp_path / "results.zarr"))
    for found in (dynamics(results), dynamics(stored), dynamics(tmp_path)):
        assert found.sizes == results["dynamics"].sizes
        for name in found.data_vars:
            np.testing.assert_array_equal(found[name], results["dynamics"][name])
        assert found.attrs["guards"] == results["dynamics"].attrs["guards"]


def test_other_settings_are_compared_with_the_same_h_and_d(results, run):
    told = replace(PLAIN, learning_rate=0.05, momentum=0.5, nesterov=True)
    again = dynamics(results, optimizer=told)
    anew = dynamics(run, problem_of(quadratic()), told)
    for name in ("variance_predicted", "volume_ratio", "p_phi_is_f"):
        np.testing.assert_allclose(again[name], anew[name])
    assert again.attrs["nesterov"]
    assert dynamics(results, optimizer=Optimizer(0.05)).attrs["momentum"] == 0


def test_what_a_result_does_not_hold_is_refused(results):
    with pytest.raises(OptionError, match="has no weights"):
        dynamics(results, problem_of(quadratic()))
    with pytest.raises(OptionError, match=r"batch_size=10 was given.*are of batch_size=5"):
        dynamics(results, optimizer=Optimizer(batch_size=10))
    with pytest.raises(OptionError, match="weight_decay"):
        dynamics(results, optimizer=Optimizer(weight_decay=0.1))


def test_a_result_without_the_theory_says_what_the_trajectory_alone_does(run):
    found = dynamics(analyze(run, n_surrogates=99, alpha=0.05, phases="none"), optimizer=PLAIN)
    assert found.attrs["guards"][0]["code"] == "problem_missing"
    assert "p_reversible" in found
    assert found.drop_attrs().equals(dynamics(run, optimizer=PLAIN).drop_attrs())
