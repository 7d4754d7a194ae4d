"""Entropy production and rotation against closed forms, and their intervals against the truth."""

import numpy as np
import pytest

from tests.theory.test_forward import PLAIN
from trajscope.kernels.vector_autoregression import VectorAutoregression
from trajscope.theory.entropy import (
    angle,
    entropy,
    production_by_frequency,
    production_of,
    spectral_production,
    turning_most,
    uncertainty_bound,
)
from trajscope.theory.law import response

RATE, TURN = 0.05, 0.08


def rotating(rate=RATE, turn=TURN):
    """A plane that relaxes by `rate` and turns by `turn` radians a step."""
    decay = np.exp(-rate)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return VectorAutoregression(decay * rotation, (1 - decay**2) * np.eye(2))


def test_a_slowly_sampled_rotation_produces_two_omega_squared_over_the_rate():
    fine = rotating(0.001, 0.002)
    assert production_of(fine) == pytest.approx(2 * 0.002**2 / 0.001, rel=0.01)
    assert angle(fine) == pytest.approx(0.002)


def test_a_symmetric_transition_produces_nothing():
    model = VectorAutoregression(np.diag([0.9, 0.5]), np.eye(2))
    assert production_of(model) == pytest.approx(0, abs=1e-12)
    np.testing.assert_allclose(spectral_production(model), 0, atol=1e-12)


def test_bands_of_frequency_add_up_to_the_whole():
    model = rotating()
    assert spectral_production(model).sum() == pytest.approx(production_of(model), rel=0.02)


def test_cross_spectra_of_a_long_path_have_the_production_of_every_band():
    model = rotating(0.3, 0.4)
    path = np.concatenate(list(model.simulated(60_000, 1, np.random.default_rng(0))))
    # Too large by what averaging few periodograms adds: k^2 over their number, in every band.
    np.testing.assert_allclose(
        production_by_frequency(path), spectral_production(model), rtol=0.1, atol=0.02
    )


def law_of(k=4):
    rows = np.random.default_rng(0).standard_normal((9, k)) + 1.2
    curvatures = np.geomspace(0.5, 4, k)[::-1]
    return response(curvatures, PLAIN, updates=2).law(rows.T @ rows / 9)


def test_intervals_hold_the_truth():
    law = law_of(3)
    rotations, productions, bounds = [], [], []
    for seed in range(8):
        rng = np.random.default_rng([seed, 7])
        found = entropy(law.paths(1, 2500, rng)[0], law, rng)
        assert found.production is not None
        rotations.append(found.rotation.low <= found.rotation.predicted <= found.rotation.high)
        each = found.production
        productions.append(each.low <= each.predicted <= each.high)
        bounds.append(found.bound <= each.predicted * 1.5)
    assert sum(productions) >= 6
    assert sum(rotations) >= 6
    assert all(bounds)


def test_the_bound_lies_below_the_production_of_a_rotation():
    law = law_of()
    path = law.paths(1, 20_000, np.random.default_rng(1))[0]
    found = entropy(path, law, np.random.default_rng(2))
    bound = uncertainty_bound(path[:, found.chosen], law.of(found.chosen))
    assert 0 < bound < found.production.predicted * 1.2


def test_a_short_window_has_no_entropy_production():
    law = law_of()
    found = entropy(law.paths(1, 300, np.random.default_rng(1))[0], law, np.random.default_rng(2))
    assert found.production is None
    assert np.isnan(found.by_frequency).all()


def test_the_directions_are_those_of_the_largest_predicted_currents():
    law = response(np.array([4.0, 3.0, 2.0, 0.5]), PLAIN, updates=2)
    diffusion = np.eye(4)
    diffusion[1, 3] = diffusion[3, 1] = 0.6
    assert turning_most(law.law(diffusion), 2).tolist() == [1, 3]
