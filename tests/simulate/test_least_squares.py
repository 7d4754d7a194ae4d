"""Descent on least squares against its own closed form, and that against long runs."""

import numpy as np
import pytest

from trajscope import OptionError, simulate
from trajscope.optimizer import Optimizer

CURVATURES = np.array([2.0, 1.0, 0.5])
OPTIMIZERS = {
    "replacement": Optimizer(0.2, 4, 0.0, with_replacement=True),
    "heavy ball": Optimizer(0.05, 4, 0.9, with_replacement=True),
    "nesterov": Optimizer(0.05, 4, 0.9, nesterov=True, with_replacement=True),
    "shuffled": Optimizer(0.05, 4, 0.0, with_replacement=False),
    "shuffled, heavy ball": Optimizer(0.01, 4, 0.9, with_replacement=False),
}


def loss():
    return simulate.least_squares(CURVATURES, n_samples=40, seed=0)


def test_the_hessian_has_the_curvatures_and_the_minimum_is_at_zero():
    made = loss()
    np.testing.assert_allclose(made.hessian, np.diag(CURVATURES), atol=1e-12)
    np.testing.assert_allclose(made.inputs.T @ made.residuals, 0, atol=1e-10)


def test_the_mean_noise_is_that_of_many_positions():
    made, covariance = loss(), 0.3 * np.eye(3)
    rng = np.random.default_rng(0)
    total = np.zeros((3, 3))
    for x in np.sqrt(0.3) * rng.standard_normal((4000, 3)):
        total += np.cov((made.inputs * (made.inputs @ x - made.residuals)[:, None]).T, bias=True)
    np.testing.assert_allclose(made.diffusion(covariance), total / 4000, rtol=0.05, atol=0.05)


def test_without_momentum_the_law_solves_its_own_equation():
    made, optimizer = loss(), OPTIMIZERS["replacement"]
    found = simulate.least_squares_covariance(made, optimizer)[:3, :3]
    kept = np.eye(3) - 0.2 * made.hessian
    expected = kept @ found @ kept.T + 0.2**2 / 4 * made.diffusion(found)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    constant = simulate.stationary_covariance(made.noise_at_minimum(), optimizer)
    assert np.trace(found) > 1.05 * np.trace(constant)  # the noise grows with the distance


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_long_runs_have_the_stationary_law(name):
    made, optimizer = loss(), OPTIMIZERS[name]
    run = simulate.descent_on_least_squares(
        4000, loss=made, optimizer=optimizer, seed=1, updates_per_checkpoint=10
    )
    expected = simulate.least_squares_covariance(made, optimizer)[:3, :3]
    found = np.cov(run.values.T, bias=True)
    scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    if optimizer.is_shuffled:  # a lower bound, near in steep directions
        shares = np.diag(found) / np.diag(expected)
        assert (shares > 0.85).all()
        assert shares[0] < 1.4
        return
    np.testing.assert_allclose(found / scale, expected / scale, atol=0.2)


def test_the_same_seed_gives_the_same_run_in_any_weights():
    made, optimizer = loss(), OPTIMIZERS["replacement"]
    modes, weights = (
        simulate.descent_on_least_squares(20, n, loss=made, optimizer=optimizer, seed=3)
        for n in (None, 12)
    )
    vectors = simulate.orthonormal_map(3, 12, seed=3)
    np.testing.assert_allclose(weights.values @ vectors.T, modes.values, atol=1e-10)


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"inputs": np.ones((2, 3))}, "inputs="), ({"residuals": np.ones(7)}, "residuals=")],
)
def test_what_is_no_least_squares_is_refused(changes, words):
    made = loss()
    given = {"inputs": made.inputs, "residuals": made.residuals} | changes
    with pytest.raises(OptionError, match=words):
        simulate.LeastSquares(**given)


def test_a_rate_at_which_the_noise_grows_is_refused():
    made = loss()
    with pytest.raises(OptionError, match="learning_rate="):
        simulate.least_squares_covariance(made, Optimizer(0.9, 1, 0.0, with_replacement=True))
