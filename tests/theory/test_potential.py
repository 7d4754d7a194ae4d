"""The potential against the loss: closed forms, levels of the tests, and what they notice."""

import numpy as np
import pytest

from tests.theory.test_forward import PLAIN, K, noise_matrix
from trajscope import simulate
from trajscope.theory.law import response
from trajscope.theory.potential import commutator, cosine, potential, sphericity, turning
from trajscope.theory.scaling import scaling
from trajscope.theory.statistics import moments, windows_of

CURVATURES = np.geomspace(0.4, 4, K)[::-1]


def made(diffusion, *, seed, n_steps=300, path=None):
    respond = response(CURVATURES, PLAIN, updates=5)
    law = respond.law(diffusion)
    rng = np.random.default_rng([seed, 5])
    path = law.paths(1, n_steps, rng)[0] if path is None else path
    windows = windows_of(path, law, 100, rng)
    return windows, potential(windows, respond, CURVATURES, rng)


def test_angle_and_rotation_of_a_law_are_those_of_its_matrices():
    covariance = response(CURVATURES, PLAIN, updates=5).law(noise_matrix()).covariance
    force = np.diag(CURVATURES)
    samples = np.random.default_rng(0).multivariate_normal(np.zeros(K), covariance, 200_000)
    of_phi, of_loss = samples @ np.linalg.inv(covariance), samples @ force
    expected = (of_phi * of_loss).sum() / np.sqrt((of_phi**2).sum() * (of_loss**2).sum())
    assert cosine(covariance, CURVATURES) == pytest.approx(expected, rel=0.01)
    product = force @ covariance
    turned = np.linalg.norm(product - product.T) / np.linalg.norm(product + product.T)
    assert np.sqrt(turning(covariance, CURVATURES)) == pytest.approx(turned)


def test_noise_like_the_hessian_turns_nothing_though_phi_is_not_f():
    covariance = response(CURVATURES, PLAIN, updates=5).law(np.diag(CURVATURES)).covariance
    assert turning(covariance, CURVATURES) == 0
    assert cosine(covariance, CURVATURES) < 0.9


def test_isotropic_noise_is_spherical_and_commutes():
    respond = response(CURVATURES, PLAIN, updates=5)
    law = respond.law(0.7 * np.eye(K))
    found = moments(law.paths(1, 50, np.random.default_rng(0)))
    exact = type(found)(law.covariance, law.lagged, *[np.ones(1)] * 3)
    assert sphericity(exact, np.diagonal(respond.gain[:, :, 0, 0])) == pytest.approx(0, abs=1e-12)
    assert commutator(exact, CURVATURES) == pytest.approx(0, abs=1e-12)


def test_tests_of_true_nulls_have_their_level():
    of_isotropic = [made(np.eye(K), seed=seed)[1] for seed in range(16)]
    for name in ("p_phi_is_f", "p_commuting"):
        p_values = np.array([getattr(each, name) for each in of_isotropic])
        assert (p_values <= 0.05).sum() <= 5  # binomial(16, 0.05): 1 in 1,000
        assert 0.2 < p_values.mean() < 0.8


def test_correlated_noise_is_noticed_and_its_angle_covered():
    found = [made(noise_matrix(), seed=seed, n_steps=600)[1] for seed in range(10)]
    assert sum(each.p_phi_is_f <= 0.02 for each in found) >= 7
    assert sum(each.p_commuting <= 0.02 for each in found) >= 7
    assert sum(each.angle.low < each.angle.predicted < each.angle.high for each in found) >= 7
    rotation = [each.rotation for each in found]
    assert sum(each.low < each.predicted < each.high for each in rotation) >= 7


def test_scaling_of_the_law_is_covered():
    inside = []
    for seed in range(10):
        windows, _ = made(noise_matrix(), seed=seed)
        found = scaling(windows, CURVATURES)
        for name in ("exponent", "confinement"):
            ratios, predicted = getattr(found, name), getattr(found, f"{name}_predicted")
            inside += list((ratios.low < predicted) & (predicted < ratios.high))
        slope = found.variance_slope
        inside.append(slope.low < slope.predicted < slope.high)
    assert 0.88 < np.mean(inside) <= 1


def test_a_free_walk_has_the_exponent_one_and_no_confinement():
    path = np.random.default_rng(0).standard_normal((4000, K)).cumsum(axis=0)
    found = moments(path)
    exponent = np.log2(found.displacements[1] / found.displacements[0])
    np.testing.assert_allclose(exponent, 1, atol=0.08)


def test_two_wells_are_told_from_a_normal_law_and_a_normal_law_is_not():
    law = response(CURVATURES[:2], PLAIN, updates=5).law(np.eye(2))
    wells = simulate.double_well(4001, strength=0.0, seed=0).values[1:, ::-1]
    assert windows_of(wells, law, 200, np.random.default_rng(0)).not_normal()
    spoken = 0
    for seed in range(15):
        rng = np.random.default_rng([seed, 9])
        spoken += bool(windows_of(law.paths(1, 300, rng)[0], law, 200, rng).not_normal())
    assert spoken <= 2
