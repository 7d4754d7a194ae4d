"""The predicted stationary law against closed forms, simulated descent, and another solver."""

import numpy as np
import pytest

from trajscope import simulate
from trajscope.optimizer import Optimizer
from trajscope.theory.law import is_stable, response, stability_limit

CURVATURES = np.array([4.0, 1.5, 0.6, 0.2])
ETA, BATCH, SAMPLES = 0.1, 5, 40


def random_diffusion(k=4, seed=0):
    rows = np.random.default_rng(seed).standard_normal((3 * k, k))
    return rows.T @ rows / len(rows)


OPTIMIZERS = {
    "plain": Optimizer(ETA, BATCH, 0.0, with_replacement=True),
    "heavy ball": Optimizer(ETA, BATCH, 0.9, with_replacement=True),
    "nesterov": Optimizer(ETA, BATCH, 0.9, nesterov=True, with_replacement=True),
    "shuffled": Optimizer(ETA, BATCH, 0.0, with_replacement=False),
    "shuffled, heavy ball": Optimizer(ETA, BATCH, 0.5, with_replacement=False),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_it_is_the_law_of_descent_on_a_quadratic_loss(name):
    optimizer, diffusion = OPTIMIZERS[name], random_diffusion()
    loss = simulate.quadratic_loss(np.diag(CURVATURES), diffusion, n_samples=SAMPLES, seed=1)
    for updates in (8, 24):
        law = response(CURVATURES, optimizer, updates=updates, n_samples=SAMPLES).law(diffusion)
        expected = simulate.stationary_covariance(loss, optimizer)
        np.testing.assert_allclose(law.covariance, expected, rtol=1e-8, atol=1e-12)
        carried = simulate.lagged_covariance(loss, optimizer, updates)
        np.testing.assert_allclose(law.lagged, carried, rtol=1e-8, atol=1e-10)


def test_without_momentum_it_is_the_closed_form_of_every_pair():
    diffusion = random_diffusion()
    law = response(CURVATURES, OPTIMIZERS["plain"], updates=3).law(diffusion)
    h, g = CURVATURES[:, None], CURVATURES[None]
    expected = ETA * diffusion / BATCH / (h + g - ETA * h * g)
    np.testing.assert_allclose(law.covariance, expected, rtol=1e-12)
    np.testing.assert_allclose(law.lagged, (1 - ETA * h) ** 3 * expected, rtol=1e-12)


def test_heavy_ball_has_the_scalar_variance_and_the_identities_of_one_update():
    mu, diffusion = 0.9, random_diffusion()
    law = response(CURVATURES, OPTIMIZERS["heavy ball"], updates=1).law(diffusion)
    scalar = (
        ETA * np.diag(diffusion) * (1 + mu)
        / (BATCH * CURVATURES * (1 - mu) * (2 * (1 + mu) - ETA * CURVATURES))
    )  # fmt: skip
    np.testing.assert_allclose(np.diag(law.covariance), scalar, rtol=1e-10)
    product, difference = CURVATURES[:, None] * law.covariance, law.covariance - law.lagged
    np.testing.assert_allclose(
        difference + difference.T, ETA / (1 + mu) * (product + product.T), rtol=1e-9, atol=1e-14
    )
    np.testing.assert_allclose(
        law.lagged - law.lagged.T, -ETA / (1 - mu) * (product - product.T), rtol=1e-9, atol=1e-14
    )


def test_the_effective_diffusion_of_discrete_time_is_d_and_half_a_curvature():
    diffusion, beta = random_diffusion(), 2 * BATCH / ETA
    covariance = response(CURVATURES, OPTIMIZERS["plain"], updates=1).law(diffusion).covariance
    force, scale = np.diag(CURVATURES), np.linalg.inv(covariance) / beta
    product = beta * force @ covariance
    effective = diffusion + ETA / 2 * force @ np.linalg.inv(scale) @ force
    np.testing.assert_allclose((product + product.T) / 2, effective, rtol=1e-10, atol=1e-12)


def test_noise_proportional_to_the_hessian_drives_no_current():
    for optimizer in OPTIMIZERS.values():
        law = response(CURVATURES, optimizer, updates=8, n_samples=SAMPLES)
        lagged = law.law(np.diag(0.3 * CURVATURES)).lagged
        np.testing.assert_allclose(lagged, lagged.T, atol=1e-15)


def test_isotropic_noise_makes_the_covariance_that_undoes_the_curvature():
    law = response(CURVATURES, OPTIMIZERS["plain"], updates=1).law(np.eye(4))
    rates = ETA * CURVATURES
    np.testing.assert_allclose(rates * (2 - rates) * np.diag(law.covariance), ETA**2 / BATCH)


def test_a_shuffled_epoch_adds_nothing_on_a_flat_loss():
    tiny = np.array([1e-3, 2e-3])
    law = response(tiny, OPTIMIZERS["shuffled"], updates=8, n_samples=SAMPLES).law(np.eye(2))
    rate, n = ETA * tiny, SAMPLES // BATCH
    with_replacement = response(tiny, OPTIMIZERS["plain"], updates=8).law(np.eye(2))
    share = np.diag(law.covariance) / np.diag(with_replacement.covariance)
    factor = (SAMPLES - BATCH) / (SAMPLES - 1) * n / (n - 1) * (1 - 1 / n**2)
    np.testing.assert_allclose(share, factor * (rate * n) ** 2 / 12, rtol=3e-3)


@pytest.mark.parametrize("name", ["plain", "heavy ball", "nesterov"])
def test_paths_have_its_covariances(name):
    law = response(CURVATURES, OPTIMIZERS[name], updates=4).law(random_diffusion())
    paths = law.paths(400, 100, np.random.default_rng(0))
    found = np.einsum("rti,rtj->ij", paths, paths) / (400 * 100)
    lagged = np.einsum("rti,rtj->ij", paths[:, 1:], paths[:, :-1]) / (400 * 99)
    scale = np.sqrt(np.outer(np.diag(law.covariance), np.diag(law.covariance)))
    # 400 runs of a hundred checkpoints, some tens of which are independent: errors of 2%.
    np.testing.assert_allclose(found / scale, law.covariance / scale, atol=0.06)
    np.testing.assert_allclose(lagged / scale, law.lagged / scale, atol=0.06)


@pytest.mark.parametrize("nesterov", [False, True])
def test_the_limit_of_stability_is_where_the_update_stops_to_forget(nesterov):
    optimizer = Optimizer(ETA, 1, 0.7, nesterov=nesterov)
    limit = stability_limit(optimizer) / ETA
    assert is_stable(np.array([0.999, 1.001, -0.1]) * limit, optimizer).tolist() == [
        True, False, False,
    ]  # fmt: skip


def test_the_correlation_time_is_that_of_the_rate():
    law = response(CURVATURES, OPTIMIZERS["plain"], updates=10).law(np.eye(4))
    np.testing.assert_allclose(
        law.correlation_times, -1 / (10 * np.log(1 - ETA * CURVATURES)), rtol=1e-9
    )


def test_dampening_is_a_smaller_learning_rate():
    damped = Optimizer(ETA, BATCH, 0.6, dampening=0.3)
    same = damped.undampened()
    np.testing.assert_allclose(damped.eta * damped.response(), same.eta * same.response())
    assert damped.temperature == pytest.approx(ETA * 0.7 / (2 * BATCH * 0.4))
    assert Optimizer(ETA, BATCH, 0.0, dampening=0.3).undampened().learning_rate == ETA
    assert Optimizer(ETA).temperature is None
