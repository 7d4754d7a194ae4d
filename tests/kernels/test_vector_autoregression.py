import numpy as np
import pytest

from trajscope.kernels.vector_autoregression import VectorAutoregression, fitted

ROTATION = np.array([[0.9, -0.2], [0.2, 0.9]])
MIXED = np.array([[0.9, 0.1, 0.0], [0.0, 0.8, 0.05], [0.0, 0.0, 0.7]])


def path_of(model, n_steps, seed):
    """A path of the definition, by a loop, from rest."""
    rng = np.random.default_rng(seed)
    shaping = np.linalg.cholesky(model.noise)
    x = [np.zeros(len(model.noise))]
    for _ in range(n_steps + 500):
        x.append(model.transition @ x[-1] + shaping @ rng.standard_normal(len(model.noise)))
    return np.array(x[-n_steps:])


@pytest.mark.parametrize("transition", [ROTATION, MIXED])
def test_the_covariance_solves_its_equation_and_is_that_of_paths(transition):
    k = len(transition)
    noise = np.eye(k) + 0.3
    model = VectorAutoregression(transition, noise)
    found = model.covariance
    np.testing.assert_allclose(
        found, transition @ found @ transition.T + noise, rtol=1e-9, atol=1e-9
    )
    # 100,000 steps of a time of 15: standard error 1.2%.
    np.testing.assert_allclose(np.cov(path_of(model, 100_000, 0).T), found, rtol=0.08, atol=0.2)


def test_the_correlation_time_is_that_of_the_slowest_mode():
    model = VectorAutoregression(np.diag([np.exp(-1 / 20), 0.1]), np.eye(2))
    assert model.correlation_time == pytest.approx(20)


def test_the_bias_of_one_direction_is_the_textbook_s():
    # Kendall 1954: -(1 + 3 rho) / T; 400 paths of 50 steps, standard error .006.
    rho, n = 0.8, 50
    model = VectorAutoregression(np.array([[rho]]), np.eye(1))
    raw, corrected = [], []
    for seed in range(400):
        x = path_of(model, n, seed)
        x0 = x - x.mean()
        raw.append(float(x0[1:, 0] @ x0[:-1, 0] / (x0[:-1, 0] @ x0[:-1, 0])))
        found = fitted(x)
        corrected.append(rho if found is None else float(found.transition[0, 0]))
    assert np.mean(raw) - rho == pytest.approx(-(1 + 3 * rho) / n, abs=0.02)
    assert np.mean(corrected) == pytest.approx(rho, abs=0.02)


def test_whitened_covariances_of_simulated_paths_are_the_identity_on_average():
    model = VectorAutoregression(ROTATION, np.array([[2.0, 0.5], [0.5, 1.0]]))
    draws = model.covariances(2000, 400, np.random.default_rng(1))
    # About their mean: lower by twice the time (about 12 steps) over the length.
    np.testing.assert_allclose(draws.mean(axis=0), np.eye(2), atol=0.03)
    assert draws.shape == (400, 2, 2)


def test_a_walk_that_grows_and_a_path_that_stands_still_have_no_model():
    grows = np.cumsum(np.ones((100, 2)), axis=0) ** 2
    grows[:, 1] += np.random.default_rng(0).standard_normal(100)
    still = np.zeros((100, 2))
    still[:, 0] = np.random.default_rng(0).standard_normal(100)
    assert fitted(still) is None
    assert fitted(np.random.default_rng(0).standard_normal((4, 2))) is None
    found = fitted(grows)
    assert found is None or found.correlation_time > 20
