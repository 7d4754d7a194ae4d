"""Sketches: the error that is stated is the error there is, and nothing exact comes of them."""

import numpy as np
import pytest

from tests.gradient_noise.networks import classification
from tests.gradient_noise.oracle import found, truth, write_run
from trajscope.errors import OptionError


@pytest.mark.parametrize("size", [20, 60])
@pytest.mark.parametrize("name", ["batch norm", "convolution"])
def test_the_stated_errors_are_those_against_the_dense_matrix(name, size, tmp_path):
    problem = classification(name, 90)
    result = found(write_run(tmp_path, problem.model), problem, sketch=size, chunk=17)
    exact = truth(problem).eigenvalues
    sketch = result["eigenvalue"].values
    sketch = sketch[np.isfinite(sketch)]
    assert np.isfinite(sketch).sum() == size
    stated = result["sketch_trace_error"]
    np.testing.assert_allclose(stated, sketch.sum() / exact.sum() - 1, atol=1e-9)
    assert abs(stated) < 0.5
    # What it is held against falls short of the exact eigenvalue by what v misses, squared.
    stated, true = float(result["sketch_lambda_max_error"]), sketch[0] / exact[0] - 1
    assert true - 1e-9 <= stated < true + 0.02 * (1 + true)
    np.testing.assert_allclose(
        result["gradient_norm"],
        np.linalg.norm(truth(problem).mean) / np.sqrt(result.attrs["n_weights"]),
        rtol=1e-9,
    )


def test_a_sketch_is_marked_and_has_no_rank(tmp_path):
    problem = classification("linear", 60)
    folder = write_run(tmp_path, problem.model)
    result = found(folder, problem, sketch=8)
    assert result.attrs["sketch"] == 8
    assert "sketch" in result["eigenvalue"].attrs["long_name"]
    for name in ("rank_eps32", "rank_eps64", "score", "group_rank_eps32"):
        assert np.isnan(result[name]).all()
    assert result["group"].values.tolist() == ["all"]
    exact = found(folder, problem)
    assert exact.attrs["sketch"] == 0
    assert "sketch_trace_error" not in exact


def test_sketches_are_right_on_average_and_other_seeds_give_others(tmp_path):
    problem = classification("linear", 60)
    folder = write_run(tmp_path, problem.model)
    traces = [float(found(folder, problem, sketch=12, seed=seed)["trace"]) for seed in range(30)]
    assert len(set(traces)) == 30
    error = np.std(traces) / np.sqrt(29)
    assert abs(np.mean(traces) - truth(problem).eigenvalues.sum()) < 4 * error


def test_a_sketch_of_batches_works_in_train_mode(tmp_path):
    problem = classification("batch norm", 60)
    folder = write_run(tmp_path, problem.model)
    options = {"mode": "train", "batch_size": 6, "samples": 50}
    result = found(folder, problem, sketch=30, **options)
    exact = found(folder, problem, **options)
    expected = float(result["trace"] / exact["trace"]) - 1
    np.testing.assert_allclose(result["sketch_trace_error"], expected, atol=1e-9)


@pytest.mark.parametrize(
    ("size", "message"), [(21, "the exact matrix is not larger"), (1, "at le")]
)
def test_sketches_that_gain_nothing_are_refused(size, message, tmp_path):
    problem = classification("linear", 60)
    with pytest.raises(OptionError, match=message):
        found(write_run(tmp_path, problem.model), problem, sketch=size)
