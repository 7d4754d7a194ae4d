"""The closed forms against sums over every batch that can be drawn, and against each other."""

from itertools import permutations, product

import numpy as np
import pytest

from trajscope.errors import OptionError
from trajscope.simulate import (
    Optimizer,
    circulation_matrix,
    diffusion_matrix,
    inverse_temperature,
    lagged_covariance,
    quadratic_loss,
    signed_area_rates,
    stationary_covariance,
)
from trajscope.simulate.steady_state import state_covariance

HESSIAN = np.array([[1.2, 0.4], [0.4, 0.7]])
DIFFUSION = np.array([[1.0, -0.6], [-0.6, 2.0]])
MOMENTA = [(0.0, False), (0.6, False), (0.6, True)]
in_every_way = pytest.mark.parametrize(("momentum", "nesterov"), MOMENTA)


def loss_of(n_samples=12):
    return quadratic_loss(HESSIAN, DIFFUSION, n_samples=n_samples, seed=0)


def antisymmetric(matrix):
    return (matrix - matrix.T) / 2


def symmetric(matrix):
    return (matrix + matrix.T) / 2


def updated(loss, optimizer, state, batches):
    """Position and velocity after the batches, one after another, as on paper."""
    position, velocity = state[:2], state[2:]
    for batch in batches:
        gradient = np.mean([loss.sample_gradients(position)[i] for i in batch], axis=0)
        velocity = optimizer.momentum * velocity + gradient
        step = gradient + optimizer.momentum * velocity if optimizer.nesterov else velocity
        position = position - optimizer.learning_rate * step
    return np.concatenate([position, velocity])


def expected_covariance(loss, optimizer, covariance, courses):
    """Covariance of the state after one course of batches, each as likely, from `covariance`."""
    from_rest = np.array([updated(loss, optimizer, np.zeros(4), course) for course in courses])
    from_unit = np.array([updated(loss, optimizer, unit, courses[0]) for unit in np.eye(4)])
    transition = (from_unit - from_rest[0]).T
    return transition @ covariance @ transition.T + from_rest.T @ from_rest / len(courses)


@in_every_way
def test_an_update_on_every_possible_batch_leaves_the_covariance_as_it_is(momentum, nesterov):
    loss = loss_of(n_samples=4)
    optimizer = Optimizer(0.3, 2, momentum, nesterov)
    courses = [[batch] for batch in product(range(4), repeat=2)]
    covariance = state_covariance(loss, optimizer)
    after = expected_covariance(loss, optimizer, covariance, courses)
    np.testing.assert_allclose(after, covariance, rtol=0, atol=1e-13)


@in_every_way
def test_an_epoch_in_every_possible_order_leaves_the_covariance_as_it_is(momentum, nesterov):
    loss = loss_of(n_samples=6)
    optimizer = Optimizer(0.3, 2, momentum, nesterov, with_replacement=False)
    courses = [[order[:2], order[2:4], order[4:]] for order in permutations(range(6))]
    covariance = state_covariance(loss, optimizer)
    after = expected_covariance(loss, optimizer, covariance, courses)
    np.testing.assert_allclose(after, covariance, rtol=0, atol=1e-13)


@in_every_way
def test_a_full_batch_without_replacement_comes_to_rest(momentum, nesterov):
    optimizer = Optimizer(0.3, 12, momentum, nesterov, with_replacement=False)
    np.testing.assert_allclose(stationary_covariance(loss_of(), optimizer), 0, atol=1e-15)


@pytest.mark.parametrize("n_modes", [2, 12])
def test_plain_descent_solves_its_equations_in_eigenvectors_of_the_hessian(n_modes):
    rng = np.random.default_rng(n_modes)
    vectors, _ = np.linalg.qr(rng.standard_normal((n_modes, n_modes)))
    curvature, rate, batch = np.geomspace(1e-3, 2.7, n_modes), 0.7, 3
    root = rng.standard_normal((n_modes, n_modes))
    hessian, diffusion = vectors * curvature @ vectors.T, root @ root.T
    loss = quadratic_loss(hessian, diffusion, n_samples=20, seed=0)
    h_i, h_j, d = curvature[:, None], curvature[None, :], vectors.T @ diffusion @ vectors
    s = vectors.T @ stationary_covariance(loss, Optimizer(rate, batch)) @ vectors
    expected = rate * d / (batch * (h_i + h_j - rate * h_i * h_j))
    np.testing.assert_allclose(s, expected, rtol=1e-8)
    q = vectors.T @ circulation_matrix(loss, Optimizer(rate, batch)) @ vectors
    expected = d * (h_i - h_j) / (h_i + h_j - rate * h_i * h_j)
    np.testing.assert_allclose(q, expected, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("rate", [0.01, 0.5, 1.9])
def test_one_mode_with_momentum_has_its_scalar_variance(momentum, rate):
    loss = quadratic_loss(np.eye(1), 3 * np.eye(1), n_samples=5, seed=0)
    variance = rate * 3 * (1 + momentum) / (2 * (1 - momentum) * (2 * (1 + momentum) - rate))
    actual = stationary_covariance(loss, Optimizer(rate, 2, momentum))
    np.testing.assert_allclose(actual, variance)


@pytest.mark.parametrize("momentum", [0.0, 0.6, 0.95])
def test_one_update_shows_both_halves_of_the_hessian_times_the_covariance(momentum):
    loss, optimizer = loss_of(), Optimizer(0.2, 3, momentum)
    s, after = stationary_covariance(loss, optimizer), lagged_covariance(loss, optimizer, 1)
    np.testing.assert_allclose(
        symmetric(s - after), 0.2 / (1 + momentum) * symmetric(HESSIAN @ s), rtol=1e-10
    )
    turned = -0.2 / (1 - momentum) * antisymmetric(HESSIAN @ s)
    np.testing.assert_allclose(antisymmetric(after), turned, rtol=1e-10)


@in_every_way
def test_the_covariance_at_no_lag_is_the_stationary_one_and_is_forgotten_at_long_lags(
    momentum, nesterov
):
    loss, optimizer = loss_of(), Optimizer(0.2, 3, momentum, nesterov)
    s = stationary_covariance(loss, optimizer)
    np.testing.assert_array_equal(lagged_covariance(loss, optimizer, 0), s)
    np.testing.assert_allclose(lagged_covariance(loss, optimizer, 500), 0, atol=1e-15)
    np.testing.assert_allclose(s, s.T, rtol=0, atol=0)


def test_the_hessian_splits_into_effective_diffusion_and_circulation():
    loss, optimizer = loss_of(), Optimizer(0.4, 3)
    beta = inverse_temperature(loss, optimizer)
    s = stationary_covariance(loss, optimizer)
    u = np.linalg.inv(s) / beta
    q = circulation_matrix(loss, optimizer)
    d_eff = DIFFUSION + 0.4 / 2 * HESSIAN @ np.linalg.inv(u) @ HESSIAN
    np.testing.assert_allclose((d_eff + q) @ u, HESSIAN)
    np.testing.assert_allclose(q, -q.T)


@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [
        (Optimizer(0.1, 4), 80),
        (Optimizer(0.1, 4, momentum=0.9), 8),
        (Optimizer(0.1, 4, with_replacement=False), 80 * 11 / 8),
    ],
)
def test_the_inverse_temperature_follows_the_learning_rate_batch_and_momentum(optimizer, expected):
    assert inverse_temperature(loss_of(), optimizer) == pytest.approx(expected)


COMMUTING = {"isotropic": np.eye(2), "the Hessian": HESSIAN, "its square": HESSIAN @ HESSIAN}


@pytest.mark.parametrize("diffusion", COMMUTING.values(), ids=COMMUTING)
@pytest.mark.parametrize("with_replacement", [True, False])
def test_nothing_circulates_where_noise_and_curvature_commute(diffusion, with_replacement):
    loss = quadratic_loss(HESSIAN, diffusion, n_samples=12, seed=0)
    optimizer = Optimizer(0.3, 4, 0.5, with_replacement=with_replacement)
    np.testing.assert_allclose(circulation_matrix(loss, optimizer), 0, atol=1e-13)
    np.testing.assert_allclose(signed_area_rates(loss, optimizer, 3), 0, atol=1e-13)


def test_areas_grow_with_the_lag_and_tend_to_the_circulation_of_continuous_time():
    rate, batch = 1e-4, 3
    loss, optimizer = loss_of(), Optimizer(rate, batch)
    curvature, vectors = np.linalg.eigh(HESSIAN)
    d = vectors.T @ DIFFUSION @ vectors
    q = d * (curvature[:, None] - curvature) / (curvature[:, None] + curvature)
    # E[x_i dx_j - x_j dx_i] = 2 Q_ij / beta per unit of time, of which an update takes eta.
    expected = vectors @ (2 * q * rate / (2 * batch)) @ vectors.T * rate
    for lag in (1, 5):
        areas = signed_area_rates(loss, optimizer, lag)
        np.testing.assert_allclose(areas, lag * expected, rtol=1e-3, atol=1e-20)
        np.testing.assert_array_equal(areas, -areas.T)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: stationary_covariance(loss_of(), Optimizer(2.0, 3)),
         r"^learning_rate=2\.0, under which an update multiplies a mode by 1\.\d+: a factor "
         r"below 1 \(lower the rate, or use a positive definite Hessian\) expected\.$"),
        (lambda: stationary_covariance(
            quadratic_loss(np.diag([1.0, 0.0]), np.eye(2), n_samples=9, seed=0),
            Optimizer(0.1, 3, 0.9)), r"multiplies a mode by 1: a factor below 1"),
        (lambda: lagged_covariance(loss_of(), Optimizer(0.1, 3), -1),
         r"^lag=-1: a number of updates of at least 0 expected\.$"),
        (lambda: signed_area_rates(loss_of(), Optimizer(0.1, 3, with_replacement=False), 6),
         r"^lag=6: without replacement, a multiple of 4 updates expected\.$"),
        (lambda: inverse_temperature(loss_of(), Optimizer(0.1, 12, with_replacement=False)),
         r"^batch_size=12: without replacement, below the 12 samples \(else there is no noise\) "
         r"expected\.$"),
    ],
)  # fmt: skip
def test_what_has_no_steady_state_or_no_closed_form_is_refused(call, message):
    with pytest.raises(OptionError, match=message):
        call()


def test_a_single_sample_has_no_noise():
    loss = type(loss_of())(np.eye(2), np.zeros((1, 2)))
    np.testing.assert_array_equal(diffusion_matrix(loss), np.zeros((2, 2)))
    with pytest.raises(OptionError, match="else there is no noise"):
        inverse_temperature(loss, Optimizer(0.1, 1, with_replacement=False))
