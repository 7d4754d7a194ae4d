"""The spectrum of D against the dense matrix from single backward passes."""

import numpy as np
import pytest
import torch
from torch import nn

from tests.gradient_noise.networks import NETWORKS, classification, language
from tests.gradient_noise.oracle import classify, found, inertia, regress, truth, write_run
from trajscope import Problem, diffusion
from trajscope.simulate import quadratic_loss

EPS32, EPS64 = 2.0**-23, 2.0**-52


def check(result, expected, *, exact=1e-10):
    """`exact` is relative to the largest eigenvalue: what float64 products of float64 leave."""
    values, d = expected.eigenvalues, expected.gradients.shape[1]
    n = len(expected.gradients)
    assert result["eigenvalue"].shape == (min(n - 1, d),)
    bound = exact * max(values[0], 1e-300)
    np.testing.assert_allclose(result["eigenvalue"], values[: min(n - 1, d)], atol=bound)
    np.testing.assert_allclose(result["eigenvalue_mean"], values.mean(), rtol=1e-8)
    np.testing.assert_allclose(result["eigenvalue_std"], values.std(), rtol=1e-8)
    np.testing.assert_allclose(result["trace"], np.trace(expected.matrix), rtol=1e-8)
    np.testing.assert_allclose(result["lambda_max"], values[0], rtol=1e-8)
    np.testing.assert_allclose(
        result["participation_ratio"], values.sum() ** 2 / (values**2).sum(), rtol=1e-8
    )
    norm = np.linalg.norm(expected.mean) / np.sqrt(d)
    np.testing.assert_allclose(result["gradient_norm"], norm, rtol=1e-8)
    np.testing.assert_allclose(result["loss"], expected.losses.mean(), rtol=1e-10)
    assert result["rank_eps32"] == (values > values[0] * d * EPS32).sum()


@pytest.mark.parametrize("n_samples", [12, 260])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_layer_gives_the_spectrum_of_the_dense_matrix(name, n_samples, tmp_path):
    if name == "recurrent":
        n_samples = min(n_samples, 40)  # one by one
    problem = classification(name, n_samples)
    result = found(write_run(tmp_path, problem.model), problem)
    check(result, truth(problem))


@pytest.mark.parametrize("n_samples", [20, 400])
@pytest.mark.parametrize("tied", [True, False])
def test_a_language_model_with_broadcast_positions_counts_tied_weights_once(
    tied, n_samples, tmp_path
):
    problem = language(n_samples, tied=tied)
    result = found(write_run(tmp_path, problem.model), problem)
    expected = truth(problem)
    assert result.attrs["n_weights"] == expected.gradients.shape[1] == (360 if tied else 448)
    check(result, expected)


def test_every_number_comes_with_its_words_and_what_to_compare_it_with(tmp_path):
    problem = classification("batch norm", 20)
    result = found(write_run(tmp_path, problem.model), problem)
    d = result.attrs["n_weights"]
    by_group = {str(name) for name in result if f"group_{name}" in result}
    by_group -= {"eigenvalue", "rank_eps32_threshold", "rank_eps64_threshold"}
    assert set(result.attrs["numbers"]) == by_group | {"loss"}
    for name in result.attrs["numbers"]:
        told = result[name].attrs
        assert all(told[key] for key in ("label", "units", "long_name", "compare_with")), name
        assert told["shown_as"] in {"number", "count", "share"}
    assert result["participation_ratio"].attrs["compare_with"] == f"{d} if D were isotropic"
    assert result["rank_eps32"].attrs["compare_with"] == f"threshold {d * EPS32:.2g} λ_max"
    assert "compare_with" not in result["group_trace"].attrs
    assert result["group_trace"].attrs["label"] == "trace"


@pytest.mark.parametrize("n_samples", [15, 300])
def test_every_layer_has_a_spectrum_of_its_own(n_samples, tmp_path):
    problem = classification("batch norm", n_samples)
    result = found(write_run(tmp_path, problem.model), problem)
    expected = truth(problem)
    assert result["group"].values.tolist() == ["all", "0", "1", "3"]
    assert result["group_size"].values.tolist() == [111, 63, 18, 30]
    for group in ("0", "1", "3"):
        own = expected.of(lambda name, group=group: name.startswith(f"{group}."))
        values = own.eigenvalues
        some = result.sel(group=group)
        kept = min(n_samples - 1, len(values))
        np.testing.assert_allclose(
            some["group_eigenvalue"][:kept], values[:kept], atol=1e-10 * values[0]
        )
        assert np.isnan(some["group_eigenvalue"][kept:]).all()
        np.testing.assert_allclose(some["group_trace"], values.sum(), rtol=1e-8)
        assert some["group_rank_eps32"] == (values > values[0] * len(values) * EPS32).sum()
    np.testing.assert_array_equal(result["group_eigenvalue"].sel(group="all"), result["eigenvalue"])


def test_groups_may_be_single_tensors_or_everything(tmp_path):
    problem = classification("batch norm", 15)
    folder = write_run(tmp_path, problem.model)
    single = found(folder, problem, by="tensor")
    assert single["group"].values.tolist()[:3] == ["all", "0.weight", "0.bias"]
    own = truth(problem).of(lambda name: name == "0.weight").eigenvalues
    np.testing.assert_allclose(single["group_trace"].sel(group="0.weight"), own.sum(), rtol=1e-8)
    one = found(folder, problem, by="none")
    assert one["group"].values.tolist() == ["all"]
    np.testing.assert_allclose(one["eigenvalue"], single["eigenvalue"], atol=1e-12)


def test_frozen_parameters_are_no_weights_of_d(tmp_path):
    problem = classification("batch norm", 20)
    problem.model[0].requires_grad_(False)
    result = found(write_run(tmp_path, problem.model), problem)
    assert result.attrs["n_weights"] == 48
    check(result, truth(problem))


def test_float32_gradients_give_the_rank_of_float64_ones_at_the_threshold_of_float32(tmp_path):
    problem = classification("batch norm", 500)
    result = found(write_run(tmp_path, problem.model), problem, dtype="float32")
    values = truth(problem).eigenvalues
    assert result["rank_eps32"] == (values > values[0] * 111 * EPS32).sum()
    # float32 gradients are right to 1e-6 of the largest.
    np.testing.assert_allclose(result["eigenvalue"], values, atol=1e-5 * values[0])
    assert result["rank_eps64"] <= 111


@pytest.mark.parametrize("n_samples", [40, 300])
@pytest.mark.parametrize("name", ["batch norm", "convolution", "few positions"])
def test_rank_mean_and_deviation_agree_with_what_needs_no_eigenvalues(name, n_samples, tmp_path):
    problem = classification(name, n_samples)
    result = found(write_run(tmp_path, problem.model), problem)
    gram, d = truth(problem).gram, result.attrs["n_weights"]
    for rank in ("rank_eps32", "rank_eps64"):
        threshold = float(result["lambda_max"] * result[f"{rank}_threshold"])
        # At float64's threshold eigenvalues of the Gram matrix that are zero lie closely below.
        slack = 0 if rank == "rank_eps32" else 2
        assert abs(inertia(gram, threshold) - int(result[rank])) <= slack
    mean, square = np.trace(gram) / d, np.linalg.norm(gram) ** 2 / d
    np.testing.assert_allclose(result["trace"], np.trace(gram), rtol=1e-10)
    np.testing.assert_allclose(result["eigenvalue_mean"], mean, rtol=1e-10)
    np.testing.assert_allclose(result["eigenvalue_std"], np.sqrt(square - mean**2), rtol=1e-9)


def test_the_quadratic_has_exactly_the_diffusion_matrix_it_was_made_with(tmp_path):
    noise = np.diag([4.0, 1.0, 0.25, 0.0])  # of rank three
    loss = quadratic_loss(np.diag([1.0, 2.0, 3.0, 4.0]), noise, n_samples=30, seed=0)
    hessian = torch.as_tensor(loss.hessian)

    class Position(nn.Module):
        def __init__(self):
            super().__init__()
            self.x = nn.Parameter(torch.tensor([1.0, -1.0, 0.5, 2.0], dtype=torch.float64))

    def of_batch(model, batch):
        return model.x @ hessian @ model.x / 2 + batch[0] @ model.x

    problem = Problem(Position(), (torch.as_tensor(loss.gradients_at_minimum),), of_batch)
    result = found(write_run(tmp_path, problem.model), problem)
    np.testing.assert_allclose(result["eigenvalue"], [4, 1, 0.25, 0], atol=1e-12)
    assert result["rank_eps32"] == result["rank_eps64"] == 3
    gradient = loss.hessian @ problem.model.x.detach().numpy()
    np.testing.assert_allclose(result["gradient_norm"], np.linalg.norm(gradient) / 2, rtol=1e-12)


def test_a_deficient_rank_is_found_from_both_sides(tmp_path):
    for n_samples in (8, 90):
        torch.manual_seed(0)
        inputs = torch.randn(n_samples, 3) @ torch.randn(3, 10)  # three directions of ten
        problem = Problem(nn.Linear(10, 1, bias=False), (inputs, torch.randn(n_samples)), regress)
        folder = tmp_path / str(n_samples)
        folder.mkdir()
        result = found(write_run(folder, problem.model), problem)
        assert result["rank_eps32"] == 3
        assert result["rank_eps64"] == 3


def test_linear_regression_has_the_noise_of_its_normal_equations(tmp_path):
    torch.manual_seed(0)
    inputs, targets = torch.randn(40, 6), torch.randn(40)
    model = nn.Linear(6, 1, bias=False)
    result = found(
        write_run(tmp_path, model), Problem(model, (inputs, targets), regress), by="none"
    )
    x, w = inputs.double().numpy(), model.weight.detach().double().numpy()[0]
    residual = x @ w - targets.double().numpy()
    gradients = residual[:, np.newaxis] * x
    expected = np.cov(gradients.T, bias=True)
    np.testing.assert_allclose(result["eigenvalue"], np.linalg.eigvalsh(expected)[::-1], atol=1e-12)
    gradient = x.T @ residual / 40
    np.testing.assert_allclose(result["gradient_norm"], np.linalg.norm(gradient) / np.sqrt(6))
    np.testing.assert_allclose(
        result["signal_to_noise"], gradient @ gradient / np.trace(expected), rtol=1e-10
    )
    np.testing.assert_allclose(
        result["gradient_diversity"],
        (gradients**2).sum() / (gradients.sum(axis=0) ** 2).sum(),
        rtol=1e-10,
    )


@pytest.mark.parametrize("n_samples", [3, 30])
def test_equal_gradients_have_no_noise(n_samples, tmp_path):
    inputs = torch.ones(n_samples, 6) * 0.3
    problem = Problem(nn.Linear(6, 1), (inputs, torch.zeros(n_samples)), regress)
    result = found(write_run(tmp_path, problem.model), problem)
    assert (result["eigenvalue"] == 0).all()
    assert result["rank_eps32"] == result["rank_eps64"] == result["trace"] == 0
    assert np.isnan(result["participation_ratio"])
    assert result["gradient_norm"] > 0


def test_one_sample_has_no_noise_and_no_eigenvalues(tmp_path):
    problem = classification("linear", 1)
    result = found(write_run(tmp_path, problem.model), problem)
    assert result["eigenvalue"].shape == (0,)
    assert result["trace"] == result["rank_eps64"] == 0
    expected = truth(problem)
    np.testing.assert_allclose(
        result["gradient_norm"], np.linalg.norm(expected.mean) / np.sqrt(21), rtol=1e-10
    )


def test_near_zero_loss_the_rank_is_right_in_float64(tmp_path):
    problem = classification("batch norm", 200)
    with torch.no_grad():  # sure of the label it gives
        outputs = problem.model(problem.data[0])
        problem.model[3].weight *= 1000
        problem.model[3].bias *= 1000
    sure = Problem(problem.model, (problem.data[0], outputs.argmax(dim=1)), classify)
    expected = truth(sure)
    result = found(write_run(tmp_path, sure.model), sure)
    values = expected.eigenvalues
    assert result["rank_eps32"] == (values > values[0] * 111 * EPS32).sum()
    assert result["rank_eps64"] == (values > values[0] * 111 * EPS64).sum()


def test_a_loss_that_is_no_number_is_said_and_spoils_its_own_step_only(tmp_path):
    problem = classification("linear", 10)
    last = problem.model[0].bias[0].item()

    def loss(model, batch):
        # The first bias is larger by 0.01 at step 0; at step 1 this is the logarithm of -0.005.
        return classify(model, batch) + 0 * torch.log(model[0].bias[0] - last - 0.005)

    broken = Problem(problem.model, problem.data, loss)
    folder = write_run(tmp_path, problem.model)
    with pytest.warns(match="The loss is not finite at step 1;"):
        result = diffusion(folder, broken, at=[0, 1], dtype="float64", every=0)
    assert np.isfinite(result["eigenvalue"].sel(step=0)).all()
    assert np.isnan(result["eigenvalue"].sel(step=1)).all()
    for name in ("trace", "rank_eps32", "participation_ratio", "directions_90", "score", "loss"):
        assert np.isnan(result[name].sel(step=1))
