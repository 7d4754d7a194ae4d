"""Loss and gradient norm over the checkpoints, their trend, and how alike checkpoints are."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from tests.gradient_noise.networks import classification, language
from tests.gradient_noise.oracle import classify, found, truth, write_run
from trajscope import Problem, diffusion
from trajscope.gradient_noise.curve import curve_rows
from trajscope.gradient_noise.overlap import spectrum_distance, subspace_overlap
from trajscope.gradient_noise.trend import correlation_time, trend


def at_step(problem, shift):
    """The problem at the weights that `write_run` wrote `shift` steps before the last."""
    model = copy.deepcopy(problem.model)
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.is_floating_point():
                tensor.add_(0.01 * shift)
    return Problem(model, problem.data, problem.loss)


@pytest.mark.parametrize("name", ["batch norm", "convolution", "recurrent", "language"])
def test_the_curve_is_the_loss_and_the_norm_of_its_gradient(name, tmp_path):
    problem = language(13, tied=True) if name == "language" else classification(name, 13)
    folder = write_run(tmp_path, problem.model, steps=(0, 1, 2))
    result = found(folder, problem, every=2, chunk=5)
    assert result["checkpoint"].values.tolist() == [0, 2]
    for step in (0, 2):
        expected = truth(at_step(problem, 2 - step))
        some = result.sel(checkpoint=step)
        norm = np.linalg.norm(expected.mean) / np.sqrt(expected.gradients.shape[1])
        # The shift was rounded to float32.
        np.testing.assert_allclose(some["checkpoint_loss"], expected.losses.mean(), rtol=1e-6)
        np.testing.assert_allclose(some["checkpoint_gradient_norm"], norm, rtol=1e-5)
    last = result.isel(checkpoint=-1)
    np.testing.assert_allclose(last["checkpoint_gradient_norm"], result["gradient_norm"])


@pytest.mark.parametrize(
    ("n_steps", "every", "rows"),
    [
        (5, 1, [0, 1, 2, 3, 4]),
        (5, 2, [0, 2, 4]),
        (6, 4, [1, 5]),
        (7, 0, []),
        (7, None, [0, 2, 4, 6]),
        (4, None, [0, 1, 2, 3]),
    ],
)
def test_the_curve_counts_from_the_last_checkpoint(n_steps, every, rows):
    assert curve_rows(n_steps, every, 4) == rows


@pytest.mark.parametrize("n_samples", [12, 300])
def test_leading_eigenspaces_are_compared_as_subspaces_of_the_dense_matrices(n_samples, tmp_path):
    problem = classification("batch norm", n_samples)
    folder = write_run(tmp_path, problem.model)
    result = diffusion(folder, problem, at=[0, 1], dtype="float64", every=0)
    matrices = [truth(at_step(problem, shift)).matrix for shift in (1, 0)]
    vectors = [np.linalg.eigh(matrix)[1][:, ::-1][:, :10] for matrix in matrices]
    expected = np.linalg.norm(vectors[0].T @ vectors[1]) ** 2 / 10
    overlap = result["eigenspace_overlap"]
    assert overlap.attrs["n_directions"] == 10
    np.testing.assert_allclose(overlap.values, [[1, expected], [expected, 1]], atol=1e-5)
    spectra = [np.linalg.eigvalsh(matrix)[::-1] for matrix in matrices]
    shares = [values / values.sum() for values in spectra]
    distance = np.abs(shares[0] - shares[1]).sum() / 2
    np.testing.assert_allclose(result["spectrum_distance"].values[0, 1], distance, rtol=1e-4)
    assert result["spectrum_distance"].values[1, 1] == 0


def test_subspaces_of_other_dimensions_or_of_no_noise():
    first = torch.eye(4)[:3]
    assert subspace_overlap(first, first[:1]) == 1
    assert subspace_overlap(first[:1], torch.eye(4)[3:]) == 0
    assert np.isnan(subspace_overlap(first[:0], first))
    assert np.isnan(spectrum_distance(np.zeros(3), np.ones(3)))
    assert spectrum_distance(np.array([1.0, 0.0]), np.array([2.0, 2.0])) == 0.5


def autoregressive(n, tau, seed):
    rng = np.random.default_rng(seed)
    series, noise = np.zeros(n + 200), rng.standard_normal(n + 200)
    for t in range(1, len(series)):
        series[t] = np.exp(-1 / tau) * series[t - 1] + noise[t]
    return series[200:]


def test_correlated_noise_is_rarely_called_a_trend():
    steps = np.arange(600.0)
    p_values = [trend(steps, autoregressive(600, 5, seed)).p_value for seed in range(150)]
    # 5% of 150 is 7.5; more than 17 happens once in a thousand times.
    assert sum(p < 0.05 for p in p_values) <= 17
    times = [correlation_time(autoregressive(4000, 5, seed)) for seed in range(20)]
    assert 4.5 < np.mean(times) < 5.5


def test_a_fall_through_noise_is_found_with_its_slope():
    steps = 10.0 * np.arange(400)
    series = autoregressive(400, 2, seed=0) - 0.01 * steps
    found_trend = trend(steps, series)
    assert found_trend.p_value < 1e-6
    assert found_trend.slope_low < -0.01 < found_trend.slope_high < 0


@pytest.mark.parametrize(
    ("series", "p_value"),
    [
        (np.ones(30), 1.0),
        (np.arange(30.0) / 3, 0.0),
        (np.arange(5.0), np.nan),
        (np.full(30, np.nan), np.nan),
    ],
)
def test_series_without_a_question_have_an_answer(series, p_value):
    found_trend = trend(np.arange(len(series)) * 1.0, series)
    np.testing.assert_allclose(found_trend.p_value, p_value, atol=1e-9)


def test_the_temperature_is_that_of_the_rate_and_the_batch(tmp_path):
    problem = classification("linear", 20)
    folder = write_run(tmp_path, problem.model)
    result = found(folder, problem, lr=0.1, batch_size=5, samples=12)
    assert result["temperature"] == pytest.approx(0.01)
    assert result["temperature_without_replacement"] == pytest.approx(0.01 * (1 - 5 / 20))
    assert result["noise_scale"] == pytest.approx(0.02 * float(result["eigenvalue_mean"]))
    assert result.attrs["n_samples"] == 12
    assert "temperature" not in found(folder, problem)


@pytest.mark.slow
def test_train_mode_without_batch_norm_estimates_the_same_matrix(tmp_path):
    problem = classification("linear", 60)
    folder = write_run(tmp_path, problem.model)
    expected = truth(problem).eigenvalues
    result = found(folder, problem, mode="train", batch_size=6, samples=2000)
    assert result.attrs["mode"] == "train"
    # The trace of 2,000 batches has a relative error of 2%.
    np.testing.assert_allclose(result["trace"], expected.sum(), rtol=0.06)
    np.testing.assert_allclose(result["lambda_max"], expected[0], rtol=0.12)


def test_train_mode_takes_the_statistics_of_the_batch_and_drops_out(tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 9), nn.BatchNorm1d(9), nn.Dropout(0.4), nn.Linear(9, 3))
    problem = Problem(model.eval(), (torch.randn(40, 6), torch.randint(3, (40,))), classify)
    folder = write_run(tmp_path, model)
    options = {"mode": "train", "batch_size": 10, "samples": 60}
    result = found(folder, problem, **options)
    # By hand: the same batches, dropout drawn from the same seeds.
    rng = np.random.default_rng(0)
    rows = []
    copied = copy.deepcopy(model).double().train()
    for batch in range(60):
        chosen = rng.choice(40, 10, replace=False)
        torch.manual_seed(batch)
        loss = classify(copied, (problem.data[0][chosen].double(), problem.data[1][chosen]))
        rows.append(
            np.concatenate(
                [g.numpy().ravel() for g in torch.autograd.grad(loss, list(copied.parameters()))]
            )
        )
    covariance = np.cov(np.stack(rows).T) * 10 * 39 / 30
    np.testing.assert_allclose(result["trace"], np.trace(covariance), rtol=1e-8)
    again = found(folder, problem, **options)
    np.testing.assert_array_equal(result["eigenvalue"], again["eigenvalue"])
